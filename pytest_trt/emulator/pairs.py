"""The graph that implicit INT8 computes: Q/DQ pairs in front of convolutions and matrix products, weights in integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.constants import Constants
from pytest_trt.emulator.graph import Graph, load
from pytest_trt.emulator.lowering import is_tensor_core

_ZERO = "@int8_zero"
_EPSILON = 1e-5  # of ONNX's BatchNormalization


def tensors_without_scale(graph: Graph, scales: Mapping[str, Any]) -> list[str]:
    """Return the tensors that a layer would read in INT8 if they had a scale."""
    constants = Constants(graph)
    names = [
        node.input[0]
        for node in graph.nodes
        if _weights(node, constants) is not None and graph.tensor(node.input[0]).elem in (0, dtypes.FLOAT)
    ]
    return [name for name in dict.fromkeys(names) if name not in scales and constants.folded(name) is None]


def _weights(node: NodeProto, constants: Constants) -> NDArray[Any] | None:
    """Return the constant weights of a layer that can be INT8, None for any other layer."""
    if not is_tensor_core(node.op_type):
        return None
    weights = constants.folded(node.input[1])
    return weights if weights is not None and weights.ndim >= 2 else None


def insert_pairs(graph: Graph, scales: Mapping[str, Any]) -> Graph:
    """Return a copy of the graph with Q/DQ pairs on inputs and constant weights of convolutions and matrix products.

    A BatchNormalization that alone reads such a convolution is folded into its weights before they are quantized, as
    TensorRT's layer fusion does.

    Parameters
    ----------
    graph : Graph
        A float graph.
    scales : mapping of str to float
        Scale of each activation; an operator whose input has none stays as it is.
    """
    writer = _Writer(graph, scales)
    changed = load(writer.write())
    changed.outputs = list(graph.outputs)
    changed.own_outputs = graph.own_outputs
    return changed


class _Writer:
    def __init__(self, graph: Graph, scales: Mapping[str, Any]) -> None:
        self._graph, self._scales = graph, scales
        self._model = ModelProto()
        self._model.CopyFrom(graph.model)
        self._constants = Constants(graph)
        self._nodes: list[NodeProto] = []
        self._done: dict[str, str] = {}
        self._store(_ZERO, np.zeros((), np.int8))

    def write(self) -> ModelProto:
        folded: set[str] = set()
        for node in self._model.graph.node:
            if node.name in folded:
                continue
            weights = _weights(node, self._constants)
            if weights is not None and node.input[0] in self._scales:
                after = self._normalisation(node)
                if after is not None:
                    folded.add(after.name)
                    weights = self._fold(node, after, weights)
                node.input[0] = self._pair(node.input[0])
                node.input[1] = self._weight_pair(node, weights)
            self._nodes.append(node)
        del self._model.graph.node[:]
        self._model.graph.node.extend(self._nodes)
        return self._model

    def _store(self, name: str, array: NDArray[Any]) -> str:
        self._model.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _normalisation(self, node: NodeProto) -> NodeProto | None:
        """Return the BatchNormalization that alone reads a convolution and has constant parameters."""
        users = [user for user in self._graph.nodes if node.output[0] in user.input]
        if node.op_type != "Conv" or len(users) != 1 or node.output[0] in self._graph.outputs:
            return None
        if users[0].op_type != "BatchNormalization" or len([name for name in users[0].output if name]) != 1:
            return None
        biases = [name for name in (*node.input[2:3], *users[0].input[1:5]) if name]
        return users[0] if all(self._constants.folded(name) is not None for name in biases) else None

    def _fold(self, node: NodeProto, after: NodeProto, weights: NDArray[Any]) -> NDArray[Any]:
        """Give a convolution the bias and the output of its normalisation; return its weights, scaled."""
        gain, shift, mean, variance = (
            np.asarray(self._constants.folded(name), np.float64) for name in after.input[1:5]
        )
        epsilon = next((entry.f for entry in after.attribute if entry.name == "epsilon"), _EPSILON)
        factor = gain / np.sqrt(variance + epsilon)
        biased = len(node.input) > 2 and node.input[2]
        bias = np.asarray(self._constants.folded(node.input[2]), np.float64) if biased else 0.0
        inputs = [*node.input[:2], f"{node.name}@folded_bias"]
        self._store(inputs[2], ((bias - mean) * factor + shift).astype(np.float32))
        del node.input[:]
        node.input.extend(inputs)
        node.output[0] = after.output[0]
        scaled: NDArray[Any] = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
        return scaled.astype(np.float32)

    def _pair(self, name: str) -> str:
        if name not in self._done:
            scale = self._store(f"{name}@scale", np.float32(self._scales[name]).reshape(()))
            self._nodes.append(helper.make_node("QuantizeLinear", [name, scale, _ZERO], [f"{name}@q"]))
            self._nodes.append(
                helper.make_node("DequantizeLinear", [f"{name}@q", scale, _ZERO], [f"{name}@dq"])
            )
            self._done[name] = f"{name}@dq"
        return self._done[name]

    def _weight_pair(self, node: NodeProto, weights: NDArray[Any]) -> str:
        axis = _channel_axis(node, weights.ndim)
        others = tuple(i for i in range(weights.ndim) if i != axis)
        amax = np.abs(weights).max(axis=others, keepdims=True)
        scale = np.where(amax > 0, amax / np.float32(127), np.float32(1)).astype(np.float32)
        quantized = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
        scale = scale.reshape(() if axis is None else (-1,))
        base = f"{node.name}@weights"
        given = [self._store(f"{base}_q", quantized), self._store(f"{base}_scale", scale)]
        made = helper.make_node("DequantizeLinear", given, [f"{base}_dq"])
        if axis is not None:
            made.attribute.append(helper.make_attribute("axis", axis))
        self._nodes.append(made)
        return f"{base}_dq"


def _channel_axis(node: NodeProto, rank: int) -> int | None:
    """Return the axis of a node's weights that runs over output channels; None where one scale has to do."""
    if node.op_type == "MatMul":
        return 1 if rank == 2 else None
    if node.op_type == "Gemm":
        return 0 if any(entry.name == "transB" and entry.i for entry in node.attribute) else 1
    return 1 if node.op_type == "ConvTranspose" else 0
