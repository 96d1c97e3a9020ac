"""Types of single layers and tensors in a weakly typed network, as a builder takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.graph import Graph, load

if TYPE_CHECKING:
    from pytest_trt.emulator.config import BuilderConfig
    from pytest_trt.emulator.network import Network

_CONSTRAINTS = ("OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")
_WORDS = {"fp16": "fp16", "bf16": "bf16", "int8": "Int8"}
# The first operator set with bfloat16 in Cast.
_BF16_CAST = 13


def layer_types(network: Network, config: BuilderConfig) -> tuple[dict[str, str], dict[str, str]]:
    """Return the types that nodes are computed in, and those that tensors are stored in.

    Both are empty without one of the two flags: types are then no more than a wish, which this builder does not follow.
    INT8 is not among them: it is where scales are.

    Raises
    ------
    Refusal
        A type whose builder flag is not set, in TensorRT's words.
    """
    types = {name: dtypes.short_of(elem) for name, elem in network._precisions.items()}
    outputs = {place: dtypes.short_of(elem) for place, elem in network._output_types.items()}
    for kind in (*types.values(), *outputs.values()):
        if kind in _WORDS and not config._has(kind.upper()):
            raise Refusal(
                "INVALID_CONFIG",
                f"{_WORDS[kind]} precision has been set for a layer or layer output,"
                f" but {kind} is not configured in the builder",
            )
    if not any(config._has(flag) for flag in _CONSTRAINTS):
        return {}, {}
    graph = network._parsed()
    nodes = {node.name: node for node in graph.nodes}
    stored = {
        nodes[name].output[slot]: kind
        for (name, slot), kind in outputs.items()
        if kind in ("fp32", "fp16", "bf16")
    }
    return {name: kind for name, kind in types.items() if kind in ("fp32", "fp16", "bf16")}, stored


def without_pairs(graph: Graph, before: Graph, types: dict[str, str]) -> Graph:
    """Return the graph in which nodes with a floating type of their own read what they did before INT8 was written in."""
    if graph is before or not types:
        return graph
    inputs = {node.name: list(node.input) for node in before.nodes}
    for node in graph.model.graph.node:
        if node.name in types and node.name in inputs:
            del node.input[:]
            node.input.extend(inputs[node.name])
    return graph


def lifted(graph: Graph, kinds: set[str]) -> Graph:
    """Return the graph at an operator set whose Cast has bfloat16, where one of the types is that and the set is older.

    Raises
    ------
    Refusal
        ONNX cannot convert it: a limit of the emulator.
    """
    sets = [entry.version for entry in graph.model.opset_import if entry.domain in ("", "ai.onnx")]
    if "bf16" not in kinds or max(sets, default=1) >= _BF16_CAST:
        return graph
    try:
        model = onnx.version_converter.convert_version(graph.model, _BF16_CAST)
    except Exception as error:  # bare RuntimeErrors of its C++ half
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise Refusal(
            "UNSUPPORTED_STATE",
            f"The emulator computes bf16 at operator set {_BF16_CAST}, and ONNX cannot lift the model to it: {words[0]}",
        ) from None
    changed = load(model)
    changed.outputs = list(graph.outputs)
    changed.own_outputs = graph.own_outputs
    return changed
