"""Whether an engine keeps the accuracy of the float32 model, on labelled data: a paired test, not two averages.

Under implicit INT8 this, and no deviation of single layers, decides: entropy calibration clips outliers on purpose, and the
scales are TensorRT's own choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.errors import ConformanceError, InputError, ModelError, SuspiciousWarning
from pytest_trt.numerics.paired import ACCEPTED, INCONCLUSIVE, REJECTED, PairedLoss, paired
from pytest_trt.precision.calibration import count_rows
from pytest_trt.precision.samples import read_labels
from pytest_trt.precision.sessions import plain_session

__all__ = [
    "ACCEPTED",
    "INCONCLUSIVE",
    "NOTE",
    "REJECTED",
    "Accuracy",
    "cut_batches",
    "measure_accuracy",
    "paired",
    "run_plainly",
]

Array = NDArray[Any]
Feed = Mapping[str, Array]
Outputs = Mapping[str, Array] | Sequence[Array] | NDArray[Any]
Run = Callable[[Feed], Outputs]

NOTE = (
    "the deviation of single layers is not the criterion for implicit INT8: calibration clips outliers on purpose, so only "
    "the accuracy of the task says whether it may"
)


@dataclass(frozen=True)
class Accuracy:
    """What the same labelled samples say of a reference and of an engine.

    Attributes
    ----------
    paired : PairedLoss
        n, lost, won, the loss, its limits and the outcome.
    reference_accuracy, engine_accuracy : float
        Shares of the samples with the right label among the `top` largest scores.
    changed : int
        Samples whose largest score is at another class; labels play no part.
    top : int
    note : str
        What the numbers do not say.
    """

    paired: PairedLoss
    reference_accuracy: float
    engine_accuracy: float
    changed: int
    top: int = 1
    note: str = NOTE

    @property
    def outcome(self) -> str:
        """`accepted`, `rejected` or `inconclusive`."""
        return self.paired.outcome

    @property
    def passed(self) -> bool:
        """True where a loss of the limit or more is excluded."""
        return self.outcome == ACCEPTED

    def describe(self) -> tuple[str, ...]:
        """Return lines for a reader: the verdict, then the evidence."""
        test = self.paired
        name = f"top-{self.top} loss"
        sure = f"{test.confidence:.0%}"
        first = {
            ACCEPTED: f"{name} {test.loss:.2%} is under {test.limit:.2%}, {sure} sure",
            REJECTED: f"{name} {test.loss:.2%} is not under {test.limit:.2%}",
            INCONCLUSIVE: f"{name} {test.loss:.2%}: {test.n} samples do not show that it is under {test.limit:.2%}",
        }[test.outcome]
        lines = [
            first,
            f"upper limit {test.upper:.2%}, lower {test.lower:.2%}, each {sure} sure: of {test.n} samples {test.lost} lost and "
            f"{test.won} won",
            f"accuracy {self.engine_accuracy:.2%}, reference {self.reference_accuracy:.2%}; {self.changed} samples have another "
            "first class",
        ]
        if test.outcome == INCONCLUSIVE and test.needed is not None:
            lines.append(f"at these rates about {test.needed} samples can show it")
        return (*lines, self.note)

    def tell(self) -> None:
        """Raise where the loss is rejected, warn where nothing is shown.

        Raises
        ------
        ConformanceError
            The outcome is `rejected`.
        """
        what, *why = self.describe()
        if self.outcome == REJECTED:
            raise ConformanceError(
                what,
                why=why,
                mend="audit the calibration (precision.audit), or leave the layers that lose most in 16 bits",
            )
        if self.outcome == INCONCLUSIVE:
            warnings.warn("\n  ".join([what, *why]), SuspiciousWarning, stacklevel=2)


def measure_accuracy(
    reference: Run,
    engine: Run,
    data: Iterable[Feed],
    labels: Iterable[int],
    *,
    top: int = 1,
    limit: float = 0.01,
    confidence: float = 0.95,
    output: str | None = None,
) -> Accuracy:
    """Return how much accuracy an engine loses against a reference on labelled data.

    Parameters
    ----------
    reference, engine : callable
        One batch of inputs to outputs: output name to array, a sequence of arrays, or one array. The scores have a row a sample
        and a column a class; further axes have length 1.
    data : iterable of mapping of str to ndarray
        Batches, preprocessed; read once. `cut_batches` makes them from whole arrays.
    labels : iterable of int
        The class of each sample, in the order of the data.
    top : int
        The label counts as found among so many largest scores. Equal scores count in the order of the classes; a row with a
        NaN is wrong.
    limit, confidence : float
        See `numerics.paired.paired`.
    output : str, optional
        Which output holds the scores; by default the first.

    Raises
    ------
    InputError
        There are no data, labels and samples are not as many, a label is no class, or the scores are no table.
    """
    given = read_labels(labels)
    if top < 1:
        raise InputError(f"top is {top!r}, and should be 1 or more")
    done = lost = won = right = kept = changed = 0
    for feed in data:
        rows = count_rows(feed)
        wanted = given[done : done + rows]
        if len(wanted) < rows:
            raise InputError(
                f"{len(given)} labels, and more samples than that",
                why=f"batch after sample {done} holds {rows}",
                mend="give one label a sample, in the order of the data",
            )
        first = _scores(reference(feed), output, rows, "the reference")
        second = _scores(engine(feed), output, rows, "the engine")
        if first.shape != second.shape:
            raise InputError(
                f"the reference gives scores of shape {first.shape}, and the engine {second.shape}",
                mend="name the same output of both: output=NAME",
            )
        if int(wanted.max(initial=0)) >= first.shape[1]:
            raise InputError(
                f"label {int(wanted.max())} is no class: the model has {first.shape[1]} of them",
                why="classes count from 0",
            )
        before, after = _is_right(first, wanted, top), _is_right(second, wanted, top)
        lost += int(np.count_nonzero(before & ~after))
        won += int(np.count_nonzero(~before & after))
        right += int(np.count_nonzero(before))
        kept += int(np.count_nonzero(after))
        changed += int(np.count_nonzero(_best(first) != _best(second)))
        done += rows
    if not done or done != len(given):
        raise InputError(
            f"{len(given)} labels for {done} samples",
            why="nothing was compared" if not done else "each sample has one label",
            mend="give one label a sample, in the order of the data; a generator can be read once only",
        )
    test = paired(lost, won, done, limit=limit, confidence=confidence)
    return Accuracy(test, right / done, kept / done, changed, top)


def cut_batches(inputs: Feed, batch: int) -> Iterator[dict[str, Array]]:
    """Yield whole arrays in batches along their first axis; the last may be smaller.

    Raises
    ------
    InputError
        `batch` is not positive, or the arrays differ in their first length.
    """
    lengths = {name: len(array) for name, array in inputs.items()}
    if batch < 1 or len(set(lengths.values())) != 1:
        raise InputError(
            f"arrays with lengths {lengths} cannot be cut in batches of {batch!r}",
            mend="give each input one row a sample",
        )
    for start in range(0, next(iter(lengths.values())), batch):
        yield {name: array[start : start + batch] for name, array in inputs.items()}


def run_plainly(model: ModelProto) -> Run:
    """Return a callable that runs a model as it is written, through ONNX Runtime on the CPU.

    Raises
    ------
    ModelError
        ONNX Runtime does not load the model.
    """
    try:
        session = plain_session(model)
    except Exception as error:  # ONNX Runtime raises types of its own C++ half
        raise ModelError("ONNX Runtime does not load the model", why=str(error)[:2000]) from error
    names = [value.name for value in session.get_outputs()]

    def run(feed: Feed) -> dict[str, Array]:
        try:
            return dict(zip(names, session.run(None, dict(feed)), strict=True))
        except Exception as error:  # ONNX Runtime raises types of its own C++ half
            raise InputError("a batch does not fit the model", why=str(error)[:2000]) from error

    return run


def _scores(outputs: Outputs, output: str | None, rows: int, which: str) -> Array:
    if isinstance(outputs, Mapping):
        name = output if output is not None else next(iter(outputs), "")
        if name not in outputs:
            raise InputError(
                f"{which} gives no output {name!r}", why=f"outputs: {', '.join(map(str, outputs)) or 'none'}"
            )
        made = np.asarray(outputs[name])
    else:
        made = np.asarray(outputs if isinstance(outputs, np.ndarray) else outputs[0])
    made = made.reshape(made.shape[:2]) if made.size and made.shape[2:] == (1,) * (made.ndim - 2) else made
    if made.ndim != 2 or made.shape[0] != rows or made.shape[1] < 2:
        raise InputError(
            f"{which} gives scores of shape {made.shape} for {rows} samples, and should give a row each",
            mend="name the output with one column a class: output=NAME",
        )
    return made.astype(np.float64)


def _is_right(scores: Array, labels: Array, top: int) -> Array:
    mine = scores[np.arange(len(labels)), labels][:, None]
    ahead = (scores > mine) | ((scores == mine) & (np.arange(scores.shape[1]) < labels[:, None]))
    found: Array = (ahead.sum(axis=1) < top) & ~np.isnan(scores).any(axis=1)
    return found


def _best(scores: Array) -> Array:
    found: Array = np.where(np.isnan(scores).any(axis=1), -1, np.argmax(scores, axis=1))
    return found
