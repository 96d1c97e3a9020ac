"""Small models for the emulator's tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def make(
    nodes: Sequence[NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Any],
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    elem: int = FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, elem, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, elem, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv(
    channels: int = 5, outputs: int = 7, size: int = 6, bias: bool = True, **attributes: Any
) -> onnx.ModelProto:
    """A convolution with a dynamic batch, pads (1, 0, 0, 1) unless given, and a ReLU."""
    rng = np.random.default_rng(3)
    attributes.setdefault("pads", [1, 0, 0, 1])
    constants = {
        "w": rng.standard_normal((outputs, channels // attributes.get("group", 1), 3, 2)).astype("f4")
    }
    if bias:
        constants["b"] = rng.standard_normal(outputs).astype("f4")
    nodes = [
        helper.make_node("Conv", ["x", *constants], ["c"], name="conv", **attributes),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    return make(nodes, {"x": ["N", channels, size, size]}, {"y": ["N", outputs, None, None]}, constants)


def quantized_conv(
    k: int = 3, weights: np.ndarray | None = None, channels: int = 5, outputs: int = 7
) -> onnx.ModelProto:
    """Q, DQ, convolution with per-channel int8 weights, ReLU, Q, DQ."""
    rng = np.random.default_rng(5)
    if weights is None:
        weights = rng.integers(-127, 128, (outputs, channels, k, k)).astype(np.int8)
    constants = {
        "sx": np.float32(0.03),
        "sy": np.float32(0.11),
        "z": np.int8(0),
        "w": weights,
        "sw": rng.uniform(0.001, 0.02, weights.shape[0]).astype("f4"),
        "b": rng.standard_normal(weights.shape[0]).astype("f4"),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"], name="qx"),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"], name="dqx"),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], name="dqw", axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"], name="conv", pads=[k // 2] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("QuantizeLinear", ["r", "sy", "z"], ["yq"], name="qy"),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["y"], name="dqy"),
    ]
    shape = ["N", weights.shape[1], 6, 6]
    return make(nodes, {"x": shape}, {"y": ["N", weights.shape[0], None, None]}, constants)
