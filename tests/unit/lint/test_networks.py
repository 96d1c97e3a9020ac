"""Networks that are as they should be, or nearly: no rule calls any of them wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_trt.cases.models import find_models
from pytest_trt.hardware import get
from pytest_trt.lint import lint, mend
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.support import find_lack
from pytest_trt.records import Missing
from pytest_trt.strategies import (
    conv_cases,
    conv_transpose_cases,
    elementwise_cases,
    gemm_cases,
    motif_cases,
    pool_cases,
)
from tests.unit.precision.models import feed, run

A100 = get("a100")
FOUND = find_models()
REAL = [] if isinstance(FOUND, Missing) else list(FOUND)
CASES = st.one_of(
    conv_cases(), conv_transpose_cases(), elementwise_cases(), gemm_cases(), motif_cases(), pool_cases()
)


def errors(model):
    found = lint(model, gpu=A100, precisions=["tf32", "fp16", "bf16", "int8"])
    return [advice for advice in found if advice.severity == "error"]


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(CASES)
def test_no_drawn_case_is_wrong_in_any_precision(case):
    model = case.model()
    assert errors(model) == []
    data = {name: feed(shape)["x"] for name, shape in case.input_shapes.items()}
    ranges = measure_ranges(model, [data])
    for strong in (True, False):
        assert errors(prepare(model, "int8", strong=strong, ranges=ranges).model) == []
    assert errors(prepare(model, "fp16", strong=True).model) == []
    made = mend(model, shapes=case.input_shapes)
    want, got = run(model, data), run(made.model, data)
    assert all(got[name].tobytes() == want[name].tobytes() for name in want)


@pytest.mark.skipif(not REAL, reason="pip install rapidocr-onnxruntime==1.4.4 (Python below 3.13)")
@pytest.mark.parametrize("name", ["ocr-direction", "ocr-detection", "ocr-recognition"])
def test_no_trained_network_is_wrong(name):
    real = next(real for real in REAL if real.name == name)
    model = real.model()
    found = lint(model, gpu=get("t4"), precisions=["fp16", "int8"])
    rules = {advice.rule for advice in found}
    assert {advice.severity for advice in found} == {"warning", "advice"}
    assert {advice.rule for advice in found if advice.severity == "warning"} == {"opset-old"}
    assert rules >= {"dynamic-axis", "batch-norm-unfolded", "channels-off-multiple"}
    # PaddleOCR's pruned channels: constants far below what float16 holds, beside ones near one.
    assert ("fp16-vanish" in rules) is (name != "ocr-direction")


@pytest.mark.skipif(not REAL, reason="pip install rapidocr-onnxruntime==1.4.4 (Python below 3.13)")
def test_a_trained_network_is_rewritten_bit_for_bit():
    real = next(real for real in REAL if real.name == "ocr-direction")
    made = mend(real.model(), shapes=real.input_shapes)
    assert made.changes == {"noop": 1} and made.compared == 12


@pytest.mark.skipif(find_lack("bf16") is not None, reason="bf16 needs onnx 1.17 and onnxruntime 1.21")
def test_a_typed_bf16_graph_is_not_wrong():
    from tests.unit.precision.models import conv_relu

    assert errors(prepare(conv_relu(), "bf16", strong=True).model) == []
