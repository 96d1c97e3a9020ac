"""Relations that hold for any correct engine, whatever it computes: no reference is needed.

Each returns the relation's name and, where it is broken, how. Rows that may differ by rounding (another batch size may pick
another kernel) are held against the limits of the row they must equal; where a tensor has no limits, bit equality is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph, Node
from pytest_trt.check.interpret import map_parts
from pytest_trt.check.subject import Subject, wider
from pytest_trt.errors import UnsupportedError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure
from pytest_trt.records import VIOLATES

IDENTICAL_ROWS = "identical rows give identical rows"
BATCH_ONE = "batch N equals N times batch 1"
PERMUTATION = "rows permute with the batch"
EXTRA_OUTPUT = "one more output changes nothing"
WIDER_PROFILE = "a wider profile changes nothing"
REPEAT = "a repeated run gives the same bits"
SCALED = "inputs times a power of two give outputs times it"

# Operators that compute each row of their first input from that row alone.
_ROW_WISE = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization Relu LeakyRelu Clip Sigmoid "
    "Tanh HardSigmoid HardSwish Elu Exp Sqrt Neg Abs Erf Cast Identity QuantizeLinear DequantizeLinear Constant "
    "Gelu Mish Softplus Softsign Selu Celu ThresholdedRelu Log Reciprocal Floor Ceil Round Sign Sin Cos InstanceNormalization "
    "GroupNormalization LRN".split()
)
_PAIRS = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"})


def works_row_by_row(graph: Graph) -> bool:
    """Tell whether every operator of a graph is known to treat the rows of its first axis separately."""
    return all(_keeps_rows(graph, node) for node in graph.nodes)


def _keeps_rows(graph: Graph, node: Node) -> bool:
    if node.op in _ROW_WISE:
        return True
    if node.op in _PAIRS:
        # A constant with an extent on the batch axis of its own would tie rows to their places.
        ranks = [len(graph.values[n][1]) for n in node.inputs if n in graph.values]
        fixed = [n for n in node.inputs if n in graph.initializers]
        return (
            len(ranks) == len(node.inputs)
            and all(len(graph.values[n][1]) < max(ranks) or graph.values[n][1][0] == 1 for n in fixed)
            and len({rank for n, rank in zip(node.inputs, ranks, strict=True) if n not in fixed}) <= 1
        )
    if node.op == "MatMul":
        return node.inputs[1] in graph.initializers
    if node.op == "Gemm":
        return node.inputs[1] in graph.initializers and not node.attributes.get("transA", 0)
    if node.op in ("Softmax", "Concat"):
        shape = graph.values.get(node.outputs[0], ("", ()))[1]
        axis = int(node.attributes.get("axis", -1))
        return bool(shape) and axis % len(shape) != 0
    return False


@dataclass(frozen=True)
class Broken:
    """A relation that does not hold: on which tensor, how, and under which circumstances, in words."""

    relation: str
    tensor: str
    measure: Measure
    note: str = ""


@dataclass(frozen=True)
class Base:
    """The run that relations start from.

    Attributes
    ----------
    feeds, got : mapping of str to ndarray
        Inputs and outputs.
    limits : mapping of str to Bound
        Those of the outputs, where there are any, on the rung that admitted them: what the same engine may give.
    admissible : Admissible, optional
        What another engine for the same network may give, on any rung that passes.
    """

    feeds: Mapping[str, Array]
    got: Mapping[str, Array]
    limits: Mapping[str, Bound]
    admissible: Admissible | None = None

    @property
    def rows(self) -> int:
        """Length of the batch axis."""
        return int(next(iter(self.feeds.values())).shape[0])


def check_relations(
    subject: Subject, base: Base, *, has_batch: bool, inner: str | None
) -> Iterator[tuple[str, Broken | None]]:
    """Yield each relation that applies, with what breaks it.

    Parameters
    ----------
    has_batch : bool
        The first axis of every input and output is a batch whose rows do not touch.
    inner : str or None
        An inner tensor that can be marked as one more output.
    """
    yield REPEAT, compare_bits(REPEAT, subject.run(base.feeds), base.got)
    if has_batch:
        yield from _row_relations(subject, base)
        yield from _profile_relations(subject, base)
    if inner is not None:
        try:
            with subject.with_outputs((inner,)) as other:
                got = {name: values for name, values in other.run(base.feeds).items() if name in base.got}
        except UnsupportedError:
            return
        yield EXTRA_OUTPUT, compare_rows(EXTRA_OUTPUT, got, base, slice(None))


def _row_relations(subject: Subject, base: Base) -> Iterator[tuple[str, Broken | None]]:
    rows = base.rows
    if rows < 2:
        return
    same = np.zeros(rows, dtype=np.intp)
    yield IDENTICAL_ROWS, compare_rows(IDENTICAL_ROWS, subject.run(_rows(base.feeds, same)), base, same)
    order = np.roll(np.arange(rows), 1)
    yield PERMUTATION, compare_rows(PERMUTATION, subject.run(_rows(base.feeds, order)), base, order)


def _profile_relations(subject: Subject, base: Base) -> Iterator[tuple[str, Broken | None]]:
    if subject.profile is None:
        return
    with subject.with_profile(wider(subject.profile)) as other:
        yield WIDER_PROFILE, compare_rows(WIDER_PROFILE, other.run(base.feeds), base, slice(None))
        if base.rows < 2:
            return
        takes_one = all(least[0] <= 1 for least, _, _ in subject.profile.values())
        found: Broken | None = None
        for row in (0, base.rows - 1):
            place = slice(row, row + 1)
            got = (subject if takes_one else other).run(_rows(base.feeds, place))
            found = found or compare_rows(BATCH_ONE, got, base, place)
        yield BATCH_ONE, found


def check_scaling(subject: Subject, base: Base, power: int = 2) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether inputs times `2**power` give outputs times `2**power`, bit for bit.

    For networks without bias in a floating type, on data whose sums neither overflow nor become subnormal: every rounding
    then falls on the same bits.
    """
    factor = 2.0**power
    got = subject.run({name: (v * v.dtype.type(factor)) for name, v in base.feeds.items()})
    want = {name: values * values.dtype.type(factor) for name, values in base.got.items()}
    yield SCALED, compare_bits(SCALED, got, want)


def compare_engine(relation: str, got: Mapping[str, Array], base: Base) -> Broken | None:
    """Return how the answer of another engine for the same network breaks a relation.

    The same bits are right, and so is all that is admissible: another engine may have chosen another kernel. On data without
    rounding that is one value.
    """
    for name, values in got.items():
        if base.admissible is None or name not in base.limits or values.shape != base.got[name].shape:
            broken = compare_rows(relation, {name: values}, base)
        elif np.array_equal(values, base.got[name], equal_nan=values.dtype.kind == "f"):
            continue
        else:
            judged = base.admissible.judge(name, values, statistics=False)
            broken = Broken(relation, name, judged.measure) if judged.status == VIOLATES else None
        if broken is not None:
            return broken
    return None


def _rows(feeds: Mapping[str, Array], place: np.ndarray | slice) -> dict[str, Array]:
    return {name: np.ascontiguousarray(values[place]) for name, values in feeds.items()}


def compare_rows(
    relation: str, got: Mapping[str, Array], base: Base, place: np.ndarray | slice = slice(None)
) -> Broken | None:
    """Return how an answer breaks a relation: it differs from those rows of the base run, beyond their limits."""
    for name, values in got.items():
        want = base.got[name][place] if base.got[name].ndim else base.got[name]
        if values.shape == want.shape and np.array_equal(values, want, equal_nan=values.dtype.kind == "f"):
            continue
        limit = base.limits.get(name)
        if limit is not None and values.shape == want.shape:
            result = measure(values, map_parts(limit, lambda part: part[place] if part.ndim else part))
        else:
            result = _difference(values, want)
        if result.bad:
            return Broken(relation, name, result)
    return None


def compare_bits(relation: str, got: Mapping[str, Array], want: Mapping[str, Array]) -> Broken | None:
    """Return how an answer breaks a relation that asks for the same bits; NaN equals NaN."""
    for name, values in got.items():
        if not np.array_equal(values, want[name], equal_nan=values.dtype.kind == "f"):
            return Broken(relation, name, _difference(values, want[name]))
    return None


def first_broken(found: Iterable[Broken | None]) -> Broken | None:
    """Return the first that is broken; what comes behind it is not asked for."""
    return next((broken for broken in found if broken is not None), None)


def _difference(got: Array, want: Array) -> Measure:
    if got.shape != want.shape:
        return Measure(got.size, got.size, got.size, bad=got.size, cause="shape")
    return measure(got, Bound.exact(want.astype(np.float64), "fp32"))
