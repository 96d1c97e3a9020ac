"""Small ONNX models for these tests."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def conv(kind: int = TensorProto.FLOAT, stride: int = 1, batch: int | str = "N") -> bytes:
    """Return x[batch, 8, 6, 6] -> Conv 3x3 with 16 channels (`c`) -> Relu -> y, weights small integers."""
    rng = np.random.default_rng(7)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = numpy_helper.from_array(rng.integers(-3, 4, (16, 8, 3, 3)).astype(dtype), "w")
    bias = numpy_helper.from_array(rng.integers(-3, 4, 16).astype(dtype), "b")
    extent = 6 // stride
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4, strides=[stride] * 2),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    return _bytes(
        nodes, {"x": (kind, [batch, 8, 6, 6])}, {"y": (kind, [batch, 16, extent, extent])}, [weights, bias]
    )


def nonzero() -> bytes:
    """Return x[4] -> NonZero -> y[1, ?]: an output whose size is found at run time."""
    return _bytes(
        [helper.make_node("NonZero", ["x"], ["y"], "nonzero")],
        {"x": (TensorProto.FLOAT, [4])},
        {"y": (TensorProto.INT64, [1, "count"])},
        [],
    )


def strange_deconvolution() -> bytes:
    """Return a ConvTranspose that is strided and dilated at once, which TensorRT-RTX 1.7 refuses."""
    weights = numpy_helper.from_array(np.ones((8, 8, 3, 3), np.float16), "w")
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "deconv", strides=[2, 2], dilations=[2, 2])
    kind = TensorProto.FLOAT16
    return _bytes([node], {"x": (kind, [1, 8, 4, 4])}, {"y": (kind, [1, 8, 11, 11])}, [weights])


def _bytes(nodes: list, inputs: dict, outputs: dict, weights: list) -> bytes:  # type: ignore[type-arg]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *facts) for name, facts in inputs.items()],
        [helper.make_tensor_value_info(name, *facts) for name, facts in outputs.items()],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    text: bytes = model.SerializeToString()
    return text
