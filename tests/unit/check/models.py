"""Small models for the tests of the check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make_model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: dict[str, np.ndarray] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 19,
) -> onnx.ModelProto:
    """Return a model with one float32 input `x` and float32 outputs of free shape."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    made = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], *[None] * (len(shape) - 1)])
        for name in outputs
    ]
    tensors = [numpy_helper.from_array(v, name) for name, v in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "g", inputs, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def conv_model(*, relu: bool = False, integer: bool = True, seed: int = 0) -> onnx.ModelProto:
    """Return a 3 x 3 convolution from 3 to 12 channels on (N, 3, 6, 6), with bias, ReLU on request."""
    rng = np.random.default_rng(seed)
    if integer:
        w, b = rng.integers(1, 4, (12, 3, 3, 3)) * rng.choice([-1, 1], (12, 3, 3, 3)), rng.integers(1, 9, 12)
    else:
        w, b = rng.standard_normal((12, 3, 3, 3)) / 5, rng.standard_normal(12)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c" if relu else "y"], name="conv", pads=[1, 1, 1, 1])
    ]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["y"], name="relu"))
    constants = {"w": w.astype(np.float32), "b": b.astype(np.float32)}
    return make_model(nodes, ("N", 3, 6, 6), constants)


def unlimited_model() -> onnx.ModelProto:
    """Return a network whose operator has no limit: only relations can judge it."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("Asinh", ["r"], ["y"], name="asinh"),
    ]
    return make_model(nodes, ("N", 4, 6))


PROFILE = {"x": ((1, 3, 6, 6), (4, 3, 6, 6), (8, 3, 6, 6))}
UNLIMITED_PROFILE = {"x": ((1, 4, 6), (4, 4, 6), (8, 4, 6))}
