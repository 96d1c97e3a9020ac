"""Faults of operators that are no products are refused by the limits of these operators."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import make_model

from .test_pair_faults import network

ITEM = (4, 6, 6)
PROFILE = {"x": ((1, *ITEM), (4, *ITEM), (8, *ITEM))}


def clip():
    bounds = {"low": np.float32(-0.5), "high": np.float32(0.5)}
    return make_model(
        [helper.make_node("Clip", ["x", *bounds], ["y"], name="clip")], ("N", *ITEM), bounds
    ), PROFILE


def pool():
    node = helper.make_node("AveragePool", ["x"], ["y"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return make_model([node], ("N", *ITEM)), PROFILE


def residual():
    return network("residual")


CASES = [
    ("clip_upper_dropped", clip, "uniform11", "fp32", "certificate"),
    ("clip_upper_dropped", clip, "uniform11", "fp16", "certificate"),
    ("average_pool_divisor_changed", pool, "uniform11", "fp32", "interval"),
    ("average_pool_divisor_changed", pool, "uniform11", "fp16", "certificate"),
    ("strided_addend_read_as_dense", residual, "int_small", "fp32", "certificate"),
    ("strided_addend_read_as_dense", residual, "int_small", "fp16", "certificate"),
    ("strided_addend_read_as_dense", residual, "uniform11", "int8", "certificate"),
    ("residual_added_in_wrong_scale", residual, "uniform11", "int8", "certificate"),
]


def judge(fault, build, data, precision):
    faults = (f"pytest_trt.emulator.faults:{fault}",) if fault else ()
    made = Settings(runtime="emulator", gpu="t4", faults=faults)
    model, profile = build()
    verdict = Workbench(made, discover(made)).judge(model, precision=precision, profile=profile, data=(data,))
    return {found.check for found in verdict.findings}


@pytest.mark.parametrize(("fault", "build", "data", "precision", "check"), CASES)
def test_a_fault_of_an_operator_is_refused(fault, build, data, precision, check):
    assert judge(fault, build, data, precision) == {check}
    assert judge(None, build, data, precision) == set()
