"""FP16 sums, ties, subnormal numbers and NaN: what a kernel may do besides, where the user says so, and only there."""

from __future__ import annotations

import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.records import ALLOWANCES, Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case
from tests.bite.test_pair_faults import network

CONV = "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1"
MATMUL = "matmul-n2-m3-k65-o9-i0-w_real-s4"

# What is allowed, the fault that does it, and the network, precision and data on which it shows.
CASES = [
    ("half", "half_fma", MATMUL, "fp16", "uniform11"),
    ("ties", "output_ties_away", CONV, "fp16", "int_ties"),
    ("ties", "requant_ties_away", "scales of its own", "int8", "uniform11"),
    ("flush", "subnormal_outputs_flushed", MATMUL, "fp16", "tiny"),
    ("nan", "nan_swallowed_to_zero", CONV, "fp32", "special"),
    ("nan", "nan_dropped_by_clip_and_min_max", "clip-n2-c7x5-f0-w_int-s0", "fp32", "special"),
]


def judge(fault, text, precision, data, allow):
    faults = (f"pytest_trt.emulator.faults:{fault}",)
    settings = Settings(runtime="emulator", gpu="t4", faults=faults, allow=allow)
    if "-" in text:
        case = Case.parse(text)
        model, profile, shapes = case.model(), case.profile, case.input_shapes
    else:
        (model, profile), shapes = network(text), None
    return Workbench(settings, discover(settings)).judge(
        model, precision=precision, profile=profile, shapes=shapes, data=(data,)
    )


@pytest.mark.parametrize(("allowance", "fault", "text", "precision", "data"), CASES)
def test_what_is_allowed_passes_and_else_is_refused(allowance, fault, text, precision, data):
    others = tuple(sorted(set(ALLOWANCES) - {allowance, "half"}))
    assert not judge(fault, text, precision, data, others).passed
    assert judge(fault, text, precision, data, (allowance,)).passed
