"""Nodes that carry graphs (If, Loop, Scan): what those read from outside, and how 16-bit ones are kept as they are."""

from __future__ import annotations

from onnx import GraphProto, NodeProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.graph import Graph


def native_parts(node: NodeProto, copy: NodeProto, graph: Graph) -> list[NodeProto]:
    """Keep a node with a 16-bit subgraph as it is, between Casts; its inside rounds by itself."""
    parts = []
    native = NodeProto()
    native.CopyFrom(node)
    native.name = ""
    for position, name in enumerate(copy.input):
        elem = graph.tensor(node.input[position]).elem
        if elem in dtypes.HALVES:
            native.input[position] = f"{name}@to_{node.name}"
            parts.append(helper.make_node("Cast", [name], [native.input[position]], to=elem))
    after = []
    for position, name in enumerate(copy.output):
        if graph.tensor(node.output[position]).elem in dtypes.HALVES:
            native.output[position] = f"{name}@native"
            after.append(helper.make_node("Cast", [native.output[position]], [name], to=dtypes.FLOAT))
        else:
            native.output[position] = name
    return [*parts, native, *after]


def outer_names(graph: GraphProto) -> list[str]:
    """Return the tensors that a subgraph reads and does not make."""
    own = {name for node in graph.node for name in node.output}
    own |= {value.name for value in graph.input}
    own |= {tensor.name for tensor in graph.initializer}
    used = [name for node in graph.node for name in node.input if name]
    used += [value.name for value in graph.output]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == attribute.GRAPH:
                used += outer_names(attribute.g)
    return [name for name in used if name not in own]


def holds_halves(graph: GraphProto) -> bool:
    """Tell whether a subgraph has 16-bit constants or casts to a 16-bit type."""
    if any(tensor.data_type in dtypes.HALVES for tensor in graph.initializer):
        return True
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == attribute.TENSOR and attribute.t.data_type in dtypes.HALVES:
                return True
            if attribute.type == attribute.INT and attribute.name == "to" and attribute.i in dtypes.HALVES:
                return True
            if attribute.type == attribute.GRAPH and holds_halves(attribute.g):
                return True
    return False
