"""Relations that hold for any correct engine, whatever it computes: no reference is needed.

Each returns the relation's name and, where it is broken, how. Rows that may differ by rounding (another batch size may pick
another kernel) are held against the limits of the row they must equal; where a tensor has no limits, bit equality is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pytest_trt.check.graph import Graph, Node
from pytest_trt.check.interpret import map_parts
from pytest_trt.check.subject import Subject, wider
from pytest_trt.errors import UnsupportedError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure

IDENTICAL_ROWS = "identical rows give identical rows"
BATCH_ONE = "batch N equals N times batch 1"
PERMUTATION = "rows permute with the batch"
EXTRA_OUTPUT = "one more output changes nothing"
WIDER_PROFILE = "a wider profile changes nothing"
REPEAT = "a repeated run gives the same bits"


# Operators that compute each row of their first input from that row alone.
_ROW_WISE = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization Relu LeakyRelu Clip Sigmoid "
    "Tanh HardSigmoid HardSwish Elu Exp Sqrt Neg Abs Erf Cast Identity QuantizeLinear DequantizeLinear Constant".split()
)
_PAIRS = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min"})


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
    """A relation that does not hold: on which tensor, and how."""

    relation: str
    tensor: str
    measure: Measure


@dataclass(frozen=True)
class Base:
    """The run that relations start from: its inputs, outputs, and the outputs' limits where there are any."""

    feeds: Mapping[str, Array]
    got: Mapping[str, Array]
    limits: Mapping[str, Bound]

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
    yield REPEAT, _same_bits(REPEAT, subject.run(base.feeds), base.got)
    if has_batch:
        yield from _row_relations(subject, base)
        yield from _profile_relations(subject, base)
    if inner is not None:
        try:
            with subject.with_outputs((inner,)) as other:
                got = {name: values for name, values in other.run(base.feeds).items() if name in base.got}
        except UnsupportedError:
            return
        yield EXTRA_OUTPUT, _compare(EXTRA_OUTPUT, got, base, slice(None))


def _row_relations(subject: Subject, base: Base) -> Iterator[tuple[str, Broken | None]]:
    rows = base.rows
    if rows < 2:
        return
    same = np.zeros(rows, dtype=np.intp)
    yield IDENTICAL_ROWS, _compare(IDENTICAL_ROWS, subject.run(_rows(base.feeds, same)), base, same)
    order = np.roll(np.arange(rows), 1)
    yield PERMUTATION, _compare(PERMUTATION, subject.run(_rows(base.feeds, order)), base, order)


def _profile_relations(subject: Subject, base: Base) -> Iterator[tuple[str, Broken | None]]:
    if subject.profile is None:
        return
    with subject.with_profile(wider(subject.profile)) as other:
        yield WIDER_PROFILE, _compare(WIDER_PROFILE, other.run(base.feeds), base, slice(None))
        if base.rows < 2:
            return
        takes_one = all(least[0] <= 1 for least, _, _ in subject.profile.values())
        found: Broken | None = None
        for row in (0, base.rows - 1):
            place = slice(row, row + 1)
            got = (subject if takes_one else other).run(_rows(base.feeds, place))
            found = found or _compare(BATCH_ONE, got, base, place)
        yield BATCH_ONE, found


def _rows(feeds: Mapping[str, Array], place: np.ndarray | slice) -> dict[str, Array]:
    return {name: np.ascontiguousarray(values[place]) for name, values in feeds.items()}


def _compare(relation: str, got: Mapping[str, Array], base: Base, place: np.ndarray | slice) -> Broken | None:
    for name, values in got.items():
        want = base.got[name][place]
        if values.shape == want.shape and np.array_equal(values, want, equal_nan=values.dtype.kind == "f"):
            continue
        limit = base.limits.get(name)
        if limit is not None and values.shape == want.shape:
            result = measure(values, map_parts(limit, lambda part: part[place]))
        else:
            result = _difference(values, want)
        if result.bad:
            return Broken(relation, name, result)
    return None


def _same_bits(relation: str, got: Mapping[str, Array], want: Mapping[str, Array]) -> Broken | None:
    for name, values in got.items():
        if not np.array_equal(values, want[name], equal_nan=values.dtype.kind == "f"):
            return Broken(relation, name, _difference(values, want[name]))
    return None


def _difference(got: Array, want: Array) -> Measure:
    if got.shape != want.shape:
        return Measure(got.size, got.size, got.size, bad=got.size, cause="shape")
    return measure(got, Bound.exact(want.astype(np.float64), "fp32"))
