"""Values at which formats end: NaN, infinities, signed zeros, and numbers so large that sums overflow.

Claims: what a sum, a Clip, a Min or a Max reads as NaN comes out as one (the ONNX operators are numpy's; NVIDIA/TensorRT issues
4773 and 4758 are a Clip and a Min that lose it), and a sum past the largest number of its type is infinite (issues 1954, 2466).
"""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.strategies import Case

CASES = (
    "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
    "conv2d-n2-c16-o32-i6x6-k3x3-t2x1-p1x1x1x1-d1x2-g1-b1-q1x2x4-w_real-s2",
    "conv_transpose2d-n2-c8-o7-i4x3-k3x3-t2x3-p0x1x1x0-d1x1-g1-b1-e1x2-w_real-s1",
    "gemm-n9-k129-o17-ta0-tb1-al4-be4-b1-q1x9x16-w_real-s1",
    "matmul-n2-m3-k65-o9-i0-w_real-s4",
    "average_pool2d-n2-c9-i7x6-k3x2-t2x2-p1x0x0x1-z0-y1-w_int-s0",
    "conv_clip-n2-c7-o16-i4x5-k3-lom1-hi2-w_int-s3",
    "conv_add_relu-n3-c9-o1-i4x4-k3-lo0-hi1-q1x3x4-w_real-s2",
    "add-n2-c9x3x4-f1-w_real-s1",
    "clip-n2-c7x5-f0-w_int-s0",
    "max-n2-c7x5-f0-w_int-s0",
    "min-n2-c7x5-f0-w_int-s0",
)


@pytest.mark.trt_data("special", "big")
@pytest.mark.parametrize(
    "text", CASES, ids=[text.partition("-")[0] + f"-{i}" for i, text in enumerate(CASES)]
)
def test_special_values(conform, text):
    """Every run looks at them, whatever its battery."""
    conform(Case.parse(text))


@pytest.mark.trt_precision("int8")
def test_int8_ties(trt_check):
    """Requantisation rounds an exact tie to the even level (TensorRT documentation, "Quantization Schemes").

    All scales are powers of two, so that every quotient is exact, and half of them are ties.
    """
    rng = np.random.default_rng(0)
    weights = rng.integers(-3, 4, (11, 9, 3, 3)).astype(np.int8)
    constants = {
        "sx": np.float32(2**-7),
        "sw": np.full(11, 2**-5, np.float32),
        "sy": np.float32(2**-11),
        "z": np.int8(0),
        "w": weights,
        "b": (rng.integers(-4, 5, 11) * 2.0**-12).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "sy", "z"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "sy", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ties",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 9, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 11, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sparse = rng.integers(-2, 3, (2, 9, 6, 6)) * (rng.random((2, 9, 6, 6)) < 0.2)
    trt_check(model, {"x": (sparse * 2.0**-7).astype(np.float32)})
