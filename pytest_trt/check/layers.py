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
from pytest_trt.check.interpret import HANDLERS, HEAVY, interpret, is_fusable
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import Array
from pytest_trt.numerics.judge import Measure, measure

# From how many sums of products in one graph on the composed limits are given up for those of single layers: composed hard
# bounds grow by one to two orders of magnitude a convolution.
DEEP = 4
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


@dataclass
class LayerReport:
    """What the layers of one run showed.

    Attributes
    ----------
    judged : list of (tensor, Measure, rung)
        Layers with a limit.
    unjudged : Counter of str
        Operators without one, by name.
    """

    judged: list[tuple[str, Measure, str]] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)

    @property
    def bad(self) -> list[tuple[str, Measure, str]]:
        """The layers outside their limits, in graph order."""
        return [entry for entry in self.judged if entry[1].bad]


def judge_layers(
    graph: Graph,
    feeds: Mapping[str, Array],
    got: Mapping[str, Array],
    contract: Contract,
    rungs: Sequence[str] = ("direct", "unfused"),
) -> LayerReport:
    """Return how every marked tensor and output of a run lies, given the engine's own values before it.

    Parameters
    ----------
    graph : Graph
        The typed graph.
    feeds, got : mapping of tensor name to array
        Inputs of the run, and its outputs, marked tensors included.
    rungs : sequence of str
        Rungs of the ladder to try, in order.
    """
    report = LayerReport()
    contract = replace(contract, statistics=False)
    known = {
        name: Bound.exact(np.asarray(values, dtype=np.float64), graph.kinds.get(name, "fp32"))
        for name, values in (*feeds.items(), *got.items())
    }
    keep = frozenset(got)
    for name in got:
        given = known.pop(name)
        for rung in rungs:
            found = interpret(graph, known, contract.rung(rung), wanted=(name,), keep=keep)
            bound = found.tensors.get(name)
            if bound is None:
                report.unjudged.update(found.unknown)
                break
            if bound.mid.shape != given.mid.shape:
                report.judged.append(
                    (name, Measure(given.mid.size, 0, 0, bad=given.mid.size, cause="shape"), rung)
                )
                break
            result = measure(given.mid, bound)
            if not result.bad or rung == rungs[-1]:
                report.judged.append((name, result, rung))
                break
        known[name] = given
    return report
