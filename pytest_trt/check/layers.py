"""Judge a deep network layer by layer, each on the engine's own inputs of that layer.

End-to-end limits of deep networks are too wide to see a fault; a layer fed with what the engine itself gave it has the
sharp limit of a single operator at any depth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS, Graph
from pytest_trt.check.interpret import HANDLERS, HEAVY, Memo, interpret, is_fusable
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure, measure_slices
from pytest_trt.records import CONFORMS, SUSPICIOUS, VIOLATES

# From how many sums of products in one graph on the composed limits are given up for those of single layers: composed hard
# bounds grow by one to two orders of magnitude a convolution.
DEEP = 4
# Rungs whose sums are added up directly, so that the deviation of their errors is known.
LIKELY_RUNGS = ("direct", "unfused")
_STILL = frozenset({"Constant", "ConstantOfShape", "Shape", "Identity"})


def is_deep(graph: Graph) -> bool:
    """Tell whether a graph has to be judged layer by layer."""
    return sum(graph.count(HEAVY).values()) >= DEEP or any(node.op not in HANDLERS for node in graph.nodes)


def choose_marks(graph: Graph, there: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the inner tensors to mark as outputs: those that exist between fused groups.

    `there` names the tensors of the network that is built, where that is another one than the typed graph (weak typing).

    A tensor that a builder would keep in registers is left alone, so that the marked engine fuses like the plain one. In an
    INT8 graph the quantised tensors are marked, and not their dequantised copies.
    """
    marks = []
    constant = _constants(graph)
    for node in graph.nodes:
        if node.op in _STILL or node.op == "DequantizeLinear" or node.outputs[0] in constant:
            continue
        for name in node.outputs:
            kind = graph.kinds.get(name)
            readers = graph.readers.get(name, ())
            if not name or not readers or name in graph.outputs or (there is not None and name not in there):
                continue
            if node.op == "QuantizeLinear":
                marks.append(name)
            elif kind in FLOAT_KINDS and not is_fusable(graph, node, name):
                if any(reader.op != "QuantizeLinear" for reader in readers):
                    marks.append(name)
    return tuple(marks)


def breaks_fusion(graph: Graph, there: Collection[str] | None = None) -> str | None:
    """Return an inner tensor that a builder would fuse away, else one that it keeps, else None: what to mark once more."""
    for node in graph.nodes:
        name = node.outputs[0]
        if there is not None and name not in there:
            continue
        if graph.kinds.get(name) in FLOAT_KINDS and is_fusable(graph, node, name):
            return name
    marks = choose_marks(graph, there)
    return marks[len(marks) // 2] if marks else None


def _constants(graph: Graph) -> set[str]:
    known = set(graph.initializers)
    for node in graph.nodes:
        if node.op == "Constant" or all(name in known for name in node.inputs if name):
            known.update(node.outputs)
    return known


@dataclass(frozen=True)
class JudgedLayer:
    """How one tensor inside of a network lies, given the engine's own values before it.

    Attributes
    ----------
    tensor, layer : str
        The tensor, and the node that made it (its operator and tensor where it has no name).
    status : str
        `conforms`, `suspicious` (inside the hard limit, outside the statistical one) or `violates`.
    rung : str
        The rung of the ladder that admits it.
    measure : Measure
    limits : Bound or None
        What it was held against; None where shapes differ.
    """

    tensor: str
    layer: str
    status: str
    rung: str
    measure: Measure
    limits: Bound | None = None


@dataclass
class LayerReport:
    """What the layers of one run showed.

    Attributes
    ----------
    judged : list of JudgedLayer
        Layers with a limit, in graph order.
    unjudged : Counter of str
        Operators without one, by name.
    known : dict of str to Bound
        The engine's own tensors, inputs included.
    """

    judged: list[JudgedLayer] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)
    known: dict[str, Bound] = field(default_factory=dict)

    @property
    def bad(self) -> list[JudgedLayer]:
        """The layers outside their limits, in graph order: the first is where to look."""
        return [entry for entry in self.judged if entry.status != CONFORMS]

    def before(self, tensor: str) -> dict[str, Bound]:
        """Return all tensors of the run but one: what that one was judged on."""
        return {name: bound for name, bound in self.known.items() if name != tensor}


def judge_layers(
    graph: Graph,
    feeds: Mapping[str, Array],
    got: Mapping[str, Array],
    contract: Contract,
    rungs: Sequence[str] = ("direct", "unfused"),
    *,
    statistics: bool = False,
    same: Mapping[str, Array] | None = None,
) -> LayerReport:
    """Return how every tensor of a run that was seen lies, given the engine's own values before it.

    Parameters
    ----------
    graph : Graph
        The typed graph.
    feeds, got : mapping of tensor name to array
        Inputs of the run, and its outputs, marked or otherwise seen tensors included.
    rungs : sequence of str
        Rungs of the ladder to try, in order.
    statistics : bool
        The inputs do not depend on the order of summation: 12 standard deviations and the slices of each layer count as well.
    same : mapping of tensor name to array, optional
        Another run on the same inputs that has been judged. A tensor that has its bits there, as have all before it, is passed
        over.
    """
    order = {name: place for place, node in enumerate(graph.nodes) for name in node.outputs}
    names = sorted((name for name in got if name in order), key=order.__getitem__)
    report = LayerReport(
        known={
            name: Bound.exact(np.asarray(values, dtype=np.float64), graph.kinds.get(name, "fp32"))
            for name, values in (*feeds.items(), *((name, got[name]) for name in names))
        }
    )
    keep = frozenset(names)
    old = 0
    if same is not None:
        while old < len(names) and _has_bits(got[names[old]], same.get(names[old])):
            old += 1
    for name in names[old:]:
        layer = _Layer(graph, name, report.before(name), contract, keep)
        found = layer.climb(np.asarray(got[name]), tuple(rungs), statistics=statistics)
        if found is None:
            report.unjudged.update(layer.unknown)
        else:
            report.judged.append(found)
    return report


def _has_bits(got: Array, want: Array | None) -> bool:
    return want is not None and np.array_equal(got, want, equal_nan=got.dtype.kind == "f")


class _Layer:
    """One tensor and all that is known before it."""

    def __init__(
        self, graph: Graph, name: str, known: Mapping[str, Bound], contract: Contract, keep: frozenset[str]
    ) -> None:
        self.graph, self.name, self.known, self.keep = graph, name, known, keep
        self.contract = replace(contract, statistics=False, likely=False)
        self.unknown: Counter[str] = Counter()
        self._memo: Memo = {}
        node = graph.producer[name]
        self.title = node.name or f"{node.op} {name}"

    def _on(self, rung: str, *, likely: bool = False) -> Bound | None:
        contract = replace(self.contract.rung(rung), likely=likely)
        found = interpret(
            self.graph, self.known, contract, wanted=(self.name,), keep=self.keep, memo=self._memo
        )
        self.unknown = found.unknown
        return found.tensors.get(self.name)

    def climb(self, got: Array, rungs: Sequence[str], *, statistics: bool) -> JudgedLayer | None:
        """Return how the tensor lies on the first rung that admits it; None where it has no limit."""
        doubt: JudgedLayer | None = None
        last: JudgedLayer | None = None
        for rung in ("direct", *(r for r in rungs if r != "direct")):
            limits = self._on(rung)
            if limits is None:
                return None
            if limits.mid.shape != got.shape:
                wrong = Measure(got.size, 0, 0, bad=got.size, cause="shape")
                return JudgedLayer(self.name, self.title, VIOLATES, rung, wrong)
            found = measure(got, limits)
            status = VIOLATES if found.bad else CONFORMS
            entry = JudgedLayer(self.name, self.title, status, rung, found, limits)
            if found.bad:
                # What an honest builder needs is told, and not the width of an algorithm that few use.
                last = entry if last is None or rung in LIKELY_RUNGS else last
                continue
            if not statistics or rung not in LIKELY_RUNGS:
                # An algorithm that this layer cannot use does not clear it of a doubt.
                return entry if doubt is None or not _is_same(doubt.limits, limits) else doubt
            likely = self._likely(got, rung)
            if likely is None:
                return entry
            doubt = doubt or JudgedLayer(self.name, self.title, SUSPICIOUS, rung, likely, limits)
        return doubt or last

    def _likely(self, got: Array, rung: str) -> Measure | None:
        """Return what is outside of 12 standard deviations, or too large together; None where nothing is."""
        likely = self._on(rung, likely=True)
        if likely is None:
            return None
        found = measure(got, likely)
        if found.bad:
            return replace(found, cause="statistics")
        slices = measure_slices(got, likely)
        return slices if slices is not None and slices.bad else None


def _is_same(one: Bound | None, other: Bound) -> bool:
    return one is not None and (
        np.array_equal(one.low, other.low, equal_nan=True)
        and np.array_equal(one.high, other.high, equal_nan=True)
    )
