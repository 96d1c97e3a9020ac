"""The order of a graph's nodes, after a library has appended some at its end."""

from __future__ import annotations

from onnx import GraphProto, NodeProto

from pytest_trt.errors import ModelError
from pytest_trt.precision import graph as graphs


def sort_nodes(graph: GraphProto) -> None:
    """Put the nodes of a graph, and of the graphs inside of it, behind what they read; else their order stays.

    Raises
    ------
    ModelError
        Nodes read each other in a ring.
    """
    made = {name for node in graph.node for name in node.output if name}
    done: set[str] = set()
    waiting: list[NodeProto] = list(graph.node)
    ready: list[NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            needs = ({*node.input, *graphs.captured(node)} & made) - {""}
            if needs <= done:
                ready.append(node)
                done.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ModelError(
                "nodes of the graph read each other in a ring", why=f"among them {waiting[0].name!r}"
            )
        waiting = later
    copies = [NodeProto.FromString(node.SerializeToString()) for node in ready]
    del graph.node[:]
    graph.node.extend(copies)
    for node in graph.node:
        for inner in graphs.subgraphs(node):
            sort_nodes(inner)
