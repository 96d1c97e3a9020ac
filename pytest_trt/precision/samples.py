"""Look at calibration data sample by sample: how many, which are the same, which are blank, which classes they are of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.errors import InputError
from pytest_trt.precision.calibration import count_rows

Array = NDArray[Any]


@dataclass(frozen=True)
class SampleFacts:
    """What a set of samples is like. A sample is a row that all inputs share; a batch without such rows is one.

    Attributes
    ----------
    count : int
        How many samples there are.
    duplicates : tuple of (int, int)
        Sample and the earlier one that has the same bits.
    blank : tuple of int
        Samples with one value throughout, in each input that holds more than one.
    nonfinite : tuple of int
        Samples with a NaN or an infinity.
    classes : mapping of int to int
        Label to how many samples have it; empty without labels.
    """

    count: int
    duplicates: tuple[tuple[int, int], ...] = ()
    blank: tuple[int, ...] = ()
    nonfinite: tuple[int, ...] = ()
    classes: Mapping[int, int] = field(default_factory=dict)

    @property
    def distinct(self) -> int:
        """How many samples there are without those that repeat one."""
        return self.count - len(self.duplicates)


def describe_samples(data: Iterable[Mapping[str, Array]], labels: Iterable[int] | None = None) -> SampleFacts:
    """Return what calibration data are like.

    Parameters
    ----------
    data : iterable of mapping of str to ndarray
        Batches; read once.
    labels : iterable of int, optional
        The class of each sample.

    Raises
    ------
    InputError
        The labels are not as many as the samples, or are not whole numbers.
    """
    seen: dict[bytes, int] = {}
    duplicates: list[tuple[int, int]] = []
    blank: list[int] = []
    nonfinite: list[int] = []
    count = 0
    for sample in _samples(data):
        digest = _digest(sample)
        if digest in seen:
            duplicates.append((count, seen[digest]))
        else:
            seen[digest] = count
        if _is_blank(sample):
            blank.append(count)
        if not all(np.isfinite(array).all() for array in sample.values() if array.dtype.kind == "f"):
            nonfinite.append(count)
        count += 1
    classes = Counter[int]()
    if labels is not None:
        given = read_labels(labels)
        if len(given) != count:
            raise InputError(
                f"{len(given)} labels for {count} samples of calibration data",
                why="each sample has one label, in the order of the data",
            )
        classes.update(int(label) for label in given)
    return SampleFacts(
        count, tuple(duplicates), tuple(blank), tuple(nonfinite), dict(sorted(classes.items()))
    )


def read_labels(labels: Iterable[int]) -> Array:
    """Return labels as a one-dimensional array of int64.

    Raises
    ------
    InputError
        They are no whole numbers from 0 on, or have more than one dimension.
    """
    made = np.asarray(labels if isinstance(labels, np.ndarray) else list(labels))
    if made.ndim != 1 or (made.size and (made.dtype.kind not in "iu" or int(made.min()) < 0)):
        raise InputError(
            f"labels have type {made.dtype} and shape {made.shape}, and should be a row of class numbers",
            why="each label is the index of the right class in the model's output",
            mend="labels=[3, 0, 7, ...]; of one-hot rows take argmax(axis=1)",
        )
    return made.astype(np.int64)


def _samples(data: Iterable[Mapping[str, Array]]) -> Iterator[dict[str, Array]]:
    for feed in data:
        arrays = {name: np.asarray(array) for name, array in feed.items()}
        rows = count_rows(arrays)
        if rows == 1:
            yield arrays
        else:
            yield from ({name: array[row] for name, array in arrays.items()} for row in range(rows))


def _digest(sample: Mapping[str, Array]) -> bytes:
    total = hashlib.sha256()
    for name in sorted(sample):
        array = sample[name]
        # Not the shape: row 3 of a batch and the same image in a batch of its own are one sample.
        total.update(f"{name}\n{array.dtype.str}\n{array.size}\n".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.digest()


def _is_blank(sample: Mapping[str, Array]) -> bool:
    wide = [array for array in sample.values() if array.size > 1]
    return bool(wide) and all((array == array.reshape(-1)[0]).all() for array in wide)
