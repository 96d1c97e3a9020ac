"""Take a node that changes nothing out of a graph."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, NodeProto

from pytest_trt.precision import graph as graphs


def can_bypass(graph: GraphProto, node: NodeProto, source: str) -> bool:
    """Tell whether the readers of a node's first output may read `source` instead.

    An output of a graph needs a node that makes it: `source` has to come from one, and not be an output itself.
    """
    if not source or any(node.output[1:]):
        return False
    outputs = {value.name for value in graph.output}
    if node.output[0] not in outputs:
        return True
    made = {name for other in graph.node for name in other.output}
    return source in made and source not in outputs


def bypass(graph: GraphProto, node: NodeProto, source: str) -> None:
    """Remove a node for which `can_bypass` holds; an output of the graph keeps its name."""
    target = node.output[0]
    position = next(index for index, other in enumerate(graph.node) if other is node or other == node)
    del graph.node[position]
    if target in {value.name for value in graph.output}:
        rename(graph, {source: target})
        for other in graph.node:
            for index, name in enumerate(other.output):
                if name == source:
                    other.output[index] = target
    else:
        rename(graph, {target: source})
    gone = {target, source} - {value.name for value in graph.output}
    kept = [value for value in graph.value_info if value.name not in gone]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def rename(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Let every reader in a graph and in the graphs inside of it read a tensor by its new name."""
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
        for inner in graphs.subgraphs(node):
            rename(inner, names)
            for value in inner.output:
                value.name = names.get(value.name, value.name)


def prune(graph: GraphProto, kinds: tuple[str, ...]) -> None:
    """Drop nodes of some operators and initializers that nothing reads any more."""
    while True:
        read = {name for node in graph.node for name in (*node.input, *graphs.captured(node))}
        read |= {value.name for value in graph.output}
        kept = [node for node in graph.node if node.op_type not in kinds or read & set(node.output)]
        if len(kept) == len(graph.node):
            break
        del graph.node[:]
        graph.node.extend(kept)
    tensors = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
