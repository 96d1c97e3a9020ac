"""Q/DQ graphs of the user's own whose scales are 16-bit: DequantizeLinear then stores 16-bit values."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import make_model


def qdq_model(opset):
    """Q/DQ on the input, INT8 weights behind DQ, Conv from 8 to 16 channels."""
    rng = np.random.default_rng(0)
    constants = {
        "sx": np.float32(0.013),
        "zx": np.int8(0),
        "sw": rng.uniform(0.003, 0.02, 16).astype(np.float32),
        "zw": np.zeros(16, np.int8),
        "w": rng.integers(-127, 128, (16, 8, 3, 3)).astype(np.int8),
        "b": rng.standard_normal(16).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["d"], name="d"),
        helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["dw"], name="dw", axis=0),
        helper.make_node("Conv", ["d", "dw", "b"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    arrays = {name: np.asarray(values) for name, values in constants.items()}
    model = make_model(nodes, ("N", 8, 8, 8), arrays, opset=opset)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    return model


@pytest.mark.parametrize("opset", [17, 19])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_scales_of_any_type_are_judged(opset, precision):
    made = Settings(runtime="emulator", gpu="a100")
    bench = Workbench(made, discover(made))
    profile = {"x": ((1, 8, 8, 8), (2, 8, 8, 8), (4, 8, 8, 8))}
    verdict = bench.judge(qdq_model(opset), precision=precision, profile=profile)
    assert verdict.passed, verdict.findings
