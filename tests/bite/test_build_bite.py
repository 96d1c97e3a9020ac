"""Planted defects of the build suite: a table that is wrong in either direction, and a build that does not repeat."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_trt.cases import limits
from pytest_trt.cases.limits import BUILDS, FALLS_BACK, FALLS_BACK_16, REFUSED
from pytest_trt.records import Settings
from pytest_trt.runtime.load import find_builder
from pytest_trt.runtime.plan import Plan
from pytest_trt.strategies import Case
from suites import _build

CONV = Case.parse("conv2d-n2-c8-o8-i5x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-w_int-s0")
DYNAMIC = Case.parse("conv2d-n2-c8-o8-i5x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x2x4-w_int-s0")
GEMM = Case.parse("gemm-n4-k16-o8-ta0-tb0-al4-be4-b1-w_int-s0")


def builder(gpu):
    found = find_builder(Settings(gpu=gpu))
    if found is None:
        pytest.skip('TensorRT-RTX is not installed; to get it: pip install "pytest-trt[rtx]"')
    return found


def build(gpu, case, precision):
    """Build twice; behind a refusal for Turing one more, as TensorRT-RTX 1.7.1 lets it stain the next build."""
    rt = builder(gpu)
    result = _build.build_twice(rt, case.model(), precision, case.input_shapes, case.profile)
    if result.outcome == REFUSED:
        _build.build_twice(rt, CONV.model(), "fp32", CONV.input_shapes, CONV.profile)
    return result


@pytest.fixture
def without(monkeypatch):
    """Take rows out of the table."""

    def without(*names):
        kept = tuple(row for row in limits.table() if row.name not in names)
        monkeypatch.setattr(limits, "table", lambda: kept)

    return without


def test_the_table_as_it_is_has_no_complaint():
    assert build("t4", GEMM, "fp32").outcome == REFUSED
    assert build("t4", CONV, "int8").outcome == FALLS_BACK
    honest = build("l4", CONV, "int8")
    assert (honest.outcome, honest.complaints, set(honest.ran.values())) == (BUILDS, (), {"int8"})


def test_refusal_without_a_row(without):
    without("turing-gemm-fp32")
    assert "refused, and the table expects 'builds'" in build("t4", GEMM, "fp32").complaints[0]


def test_fallback_without_a_row(without):
    without("turing-conv-int8-float")
    assert "fell back to another type" in build("t4", CONV, "int8").complaints[0]


@pytest.mark.parametrize(
    ("name", "case", "precision", "words"),
    [
        ("turing-gemm-fp32", GEMM, "fp32", "built, and the table expects a refusal"),
        ("turing-conv-int8-float", CONV, "int8", "ran in the type asked for"),
    ],
)
def test_row_that_does_not_come_true(monkeypatch, name, case, precision, words):
    rows = tuple(
        dataclasses.replace(row, sm=(75, 121)) if row.name == name else row for row in limits.table()
    )
    monkeypatch.setattr(limits, "table", lambda: rows)
    assert words in build("l4", case, precision).complaints[0]


def build_hybrid(gpu, case, hybrid="fp16"):
    rt = builder(gpu)
    return _build.build_twice(rt, case.model(), "int8", case.input_shapes, case.profile, hybrid=hybrid)


def test_hybrid_as_it_is_has_no_complaint():
    turing, ada = build_hybrid("t4", CONV), build_hybrid("l4", CONV)
    assert (turing.outcome, turing.complaints, set(turing.ran.values())) == (FALLS_BACK_16, (), {"fp16"})
    assert (ada.outcome, ada.complaints, set(ada.ran.values())) == (BUILDS, (), {"int8"})
    # Without FP16 beside it, this one is refused: no FP32 matrix product on Turing.
    assert set(build_hybrid("t4", GEMM).ran.values()) == {"int8"}


def test_hybrid_fallback_without_a_row(without):
    without("turing-conv-int8-fp16")
    assert "fell back to another type" in build_hybrid("t4", CONV).complaints[0]


def test_hybrid_that_is_ignored(monkeypatch):
    """A graph that leaves float32 where 16 bits were asked for: on Turing the convolution falls back to float32."""
    real = _build.prepare
    monkeypatch.setattr(_build, "prepare", lambda *given, hybrid, **more: real(*given, **more))
    assert "ran in fp32, and int8 with fp16 was asked for" in build_hybrid("t4", CONV).complaints[0]


def test_refusal_in_other_words(monkeypatch):
    rows = tuple(dataclasses.replace(row, message=("no such words",)) for row in limits.table())
    monkeypatch.setattr(limits, "table", lambda: rows)
    assert "refused in other words" in build("t4", GEMM, "fp32").complaints[0]


@pytest.mark.parametrize("case", [CONV, DYNAMIC], ids=["fixed", "dynamic"])
def test_build_that_does_not_repeat(monkeypatch, case):
    real, seen = _build.build_plan, []

    def unsteady(rt, request):
        plan = real(rt, request)
        seen.append(plan)
        if len(seen) % 2:
            return plan
        layers = tuple(dataclasses.replace(layer, kind="other") for layer in plan.layers)
        return Plan(plan.data[:-1] + b"?", plan.log, layers=layers)

    monkeypatch.setattr(_build, "build_plan", unsteady)
    result = build("l4", case, "fp32")
    assert any("two builds" in line for line in result.complaints)


def test_layer_list_that_is_missing(monkeypatch):
    real = _build.build_plan

    def silent(rt, request):
        return Plan(real(rt, request).data)

    monkeypatch.setattr(_build, "build_plan", silent)
    assert "nothing proves the precision" in build("l4", CONV, "fp32").complaints[0]


def test_tf32_that_stays_on(monkeypatch):
    real = _build.build_plan

    def stuck(rt, request):
        return real(rt, dataclasses.replace(request, clear=frozenset()))

    monkeypatch.setattr(_build, "build_plan", stuck)
    assert "TF32 reads back True at fp32" in build("l4", CONV, "fp32").complaints[0]
