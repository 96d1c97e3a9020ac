"""INT8 with 16-bit types elsewhere: what a kernel may keep in FP32 on its way to a QuantizeLinear is admitted."""

from __future__ import annotations

import onnx
import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._precision import networks


@pytest.mark.parametrize(
    ("emulate", "typing"),
    [
        ("tensorrt-11.4", "auto"),
        ("tensorrt_rtx-1.7", "auto"),
        ("tensorrt-10.13", "strong"),
        ("tensorrt-10.13", "weak"),
    ],
)
@pytest.mark.parametrize("hybrid", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["conv", "gemm", "block"])
def test_a_hybrid_network_conforms(name, hybrid, emulate, typing):
    if hybrid == "bf16" and onnx.defs.onnx_opset_version() < 22:
        pytest.skip("this onnx has no operator set 22")

    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, typing=typing, hybrid=hybrid)
    verdict = Workbench(made, discover(made)).judge(networks()[name], precision="int8")
    assert verdict.passed, verdict.findings
