"""What the width of an admissible interval is made of, worked out again for one tensor that failed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pytest_trt.check.graph import Graph, Node
from pytest_trt.check.interpret import HEAVY, interpret
from pytest_trt.numerics.bounds import Bound, Contract
from pytest_trt.numerics.formats import FORMATS, spacing

# Operators behind which an (N, C, *S) layout holds, and those that keep the layout of what they read.
_SPATIAL = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization InstanceNormalization "
    "Resize DepthToSpace SpaceToDepth".split()
)
_SIZES = {3: ("L",), 4: ("H", "W"), 5: ("D", "H", "W")}


def axes_of(graph: Graph, name: str, rank: int) -> tuple[str, ...]:
    """Return what the axes of a tensor are called: N, C, H, W in a network of images, else their numbers."""
    numbers = tuple(f"axis {axis}" for axis in range(rank))
    if rank not in _SIZES:
        return numbers
    seen: set[str] = set()
    todo = [name]
    while todo:
        tensor = todo.pop()
        node = graph.producer.get(tensor)
        if tensor in seen:
            continue
        seen.add(tensor)
        if any(
            reader.op in _SPATIAL and reader.inputs[0] == tensor for reader in graph.readers.get(tensor, ())
        ):
            return ("N", "C", *_SIZES[rank])
        if node is None or node.op in ("Transpose", "Reshape", "MatMul", "Flatten"):
            continue
        if node.op in _SPATIAL:
            return ("N", "C", *_SIZES[rank])
        todo += [n for n in node.inputs if n and n not in graph.initializers]
    return numbers


def last_products(graph: Graph, name: str, known: Mapping[str, Bound]) -> Node | None:
    """Return the sum of products that stands nearest before a tensor, among what is not known; None where there is none."""
    todo, seen = [name], set()
    while todo:
        tensor = todo.pop(0)
        node = graph.producer.get(tensor)
        if node is None or tensor in known or tensor in seen:
            continue
        seen.add(tensor)
        if node.op in HEAVY:
            return node
        todo += [n for n in node.inputs if n]
    return None


def count_terms(graph: Graph, node: Node) -> int | None:
    """Return how many products each output of a node sums; None where it sums none, or the shapes are not known."""
    shape = graph.values.get(node.inputs[1], ("", ()))[1] if node.op in HEAVY else ()
    if len(shape) < 2 or not all(isinstance(length, int) for length in shape):
        return None
    lengths = [int(length or 0) for length in shape]
    if node.op == "Conv":
        return int(np.prod(lengths[1:]))
    if node.op == "ConvTranspose":
        return lengths[0] // int(node.attributes.get("group", 1)) * int(np.prod(lengths[2:]))
    return lengths[-1] if node.attributes.get("transB", 0) else lengths[-2]


def list_sources(
    graph: Graph,
    known: Mapping[str, Bound],
    name: str,
    index: tuple[int, ...],
    contract: Contract,
    keep: frozenset[str] = frozenset(),
) -> tuple[tuple[str, float], ...]:
    """Return what makes the interval of one element as wide as it is: each part and its half-width, the largest first.

    Parameters
    ----------
    graph, known, contract, keep
        As `interpret` takes them; `contract` is that of the rung that was tried.
    name : str
        The tensor.
    index : tuple of int

    Notes
    -----
    The tensor is bounded again before it is stored, with one part switched off after the other; what each switch takes away is
    its share.
    """
    if name in known:
        return ()
    raw = _unstored(graph, name)

    def bounds(contract: Contract, cut: Mapping[str, Bound]) -> Mapping[str, Bound]:
        return interpret(raw, {**known, **cut}, contract, wanted=(name,), keep=keep - {name}).tensors

    whole = bounds(contract, {})
    if name not in whole or not np.isfinite(whole[name].mid[index]):
        return ()
    parts: list[tuple[str, float]] = []
    width = _reach(whole[name], index)
    cuts: dict[str, Bound] = {}

    def switch(label: str, contract: Contract, cut: Mapping[str, Bound]) -> None:
        nonlocal width
        cuts.update(cut)
        rest = _reach(bounds(contract, cuts)[name], index)
        if width > rest:
            parts.append((label, width - rest))
            width = rest

    if contract.algorithm != "direct":
        label, contract = f"algorithm {contract.algorithm}", replace(contract, algorithm="direct")
        switch(label, contract, {})
    if not contract.fused:
        contract = replace(contract, fused=True, integer=True)
        switch("stores between operators", contract, {})
    if contract.tf32:
        contract = replace(contract, tf32=False)
        switch("operands read as TF32", contract, {})
    heavy = last_products(graph, name, known)
    if heavy is not None:
        sharp = {n: _sharp(whole[n]) for n in heavy.inputs if n in whole}
        switch("inherited from the inputs' intervals", contract, sharp)
        is_int8 = any(n in whole and whole[n].scale is not None for n in heavy.inputs)
        label = "requantisation in FP32" if is_int8 else "accumulation"
        switch(label, contract, {heavy.outputs[0]: _sharp(whole[heavy.outputs[0]])})
    if width > 0.0:
        parts.append(("pointwise arithmetic" if heavy is not None else "arithmetic", width))
    kind = graph.kinds.get(name, "")
    if kind in FORMATS:
        step = float(spacing(np.asarray(whole[name].mid[index]), kind))
        parts.append((f"rounding to {kind}", step / 2))
    elif kind in ("int8", "uint8"):
        parts.append((f"rounding to {kind}", 0.5))
    return tuple(sorted(parts, key=lambda part: -part[1]))


def _sharp(bound: Bound) -> Bound:
    return Bound.exact(bound.mid, bound.kind, bound.scale)


def _reach(bound: Bound, index: tuple[int, ...]) -> float:
    with np.errstate(invalid="ignore"):
        reach = max(bound.high[index] - bound.mid[index], bound.mid[index] - bound.low[index])
    return float(reach) if np.isfinite(reach) else 0.0


def _unstored(graph: Graph, name: str) -> Graph:
    """Return the graph with one tensor in float64, so that nothing rounds it."""
    other = copy.copy(graph)
    other.__dict__["kinds"] = {**graph.kinds, name: "fp64"}
    return other


def with_node(graph: Graph, old: Node, new: Node) -> Graph:
    """Return the graph with one node in another's place; types and constants stay."""
    other = copy.copy(graph)
    other.__dict__["kinds"] = graph.kinds
    for name in ("producer", "readers"):
        other.__dict__.pop(name, None)
    other.nodes = tuple(new if node is old else node for node in graph.nodes)
    return other
