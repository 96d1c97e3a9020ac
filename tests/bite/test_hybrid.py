"""What a hybrid network may keep in FP32 hides no fault of its INT8 arithmetic."""

from __future__ import annotations

import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites._precision import networks

FAULTS = [
    "scale_off_by_1pct",
    "int8_scale_of_neighbour_channel",
    "bias_not_rescaled",
    "stale_calibration_scale_20pct",
    "requant_truncates",
    "output_zero_point_off_by_one",
]


@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize(("emulate", "typing"), [("tensorrt-11.4", "strong"), ("tensorrt-8.6.1", "weak")])
def test_faults_of_int8_are_caught_beside_fp16(fault, emulate, typing):
    names = () if fault is None else (f"pytest_trt.emulator.faults:{fault}",)
    made = Settings(runtime="emulator", gpu="t4", emulate=emulate, typing=typing, hybrid="fp16", faults=names)
    verdict = Workbench(made, discover(made)).judge(networks()["conv"], precision="int8")
    assert verdict.passed == (fault is None)
