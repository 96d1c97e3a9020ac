"""For every check of the FP16 report a subject that only that check catches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.check import half
from pytest_trt.check.half_metric import measure_deviation
from pytest_trt.check.half_range import Forecast
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import PrecisionError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _fp16
from suites._unet import images, unet

NEW, OLD = "tensorrt-10.13", "tensorrt-8.6.1"


def bench(fault="", emulate=NEW):
    faults = (f"tests.bite.half_faults:{fault}",) if fault else ()
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults)
    return Workbench(made, discover(made))


def tripped(rows):
    """Return the names of the checks that do not hold; that there are checks is asserted."""
    rows = list(rows)
    assert rows
    return {name for name, wrong in rows if wrong is not None}


@pytest.fixture(scope="module")
def honest():
    """The UNet on an honest TensorRT, in FP16."""
    x = images()
    return _fp16.study(bench(), unet(x), x, "fp16")


@pytest.mark.parametrize("emulate", [NEW, OLD, "tensorrt-11.4"])
def test_honest_engines_pass(emulate):
    made = bench(emulate=emulate)
    assert tripped([*_fp16.check_unet(made, "fp16"), *_fp16.check_loud(made, "fp16")]) == set()


@pytest.mark.parametrize("precision", ["bf16"])
def test_honest_bf16_passes(precision):
    made = bench()
    assert tripped([*_fp16.check_unet(made, precision), *_fp16.check_loud(made, precision)]) == set()


@pytest.mark.parametrize(
    ("fault", "check", "emulate"),
    [
        ("reference_off", _fp16.REFERENCE, NEW),
        ("layer_kept_wide", _fp16.STORED, OLD),
        ("first_convolution_coarse", _fp16.EXPECTED, NEW),
        ("head_lost", _fp16.FINITE, NEW),
    ],
)
def test_a_wrong_engine_is_caught_by_one_check(fault, check, emulate):
    assert tripped(_fp16.check_unet(bench(fault, emulate), "fp16")) == {check}


@pytest.mark.parametrize("fault", ["overflow_told_nowhere", "overflow_clipped_to_65504"])
def test_overflow_that_is_foreseen_has_to_be_seen(fault):
    made = bench(fault) if fault == "overflow_told_nowhere" else _library(fault)
    assert tripped(_fp16.check_loud(made, "fp16")) == {_fp16.OVERFLOW}


def _library(fault):
    made = Settings(
        runtime="emulator", gpu="a100", emulate=NEW, faults=(f"pytest_trt.emulator.faults:{fault}",)
    )
    return Workbench(made, discover(made))


def test_overflow_that_is_seen_has_to_be_foreseen():
    seen = _fp16.study(bench(), *_fp16.loud(), "fp16")
    blind = Forecast(seen.pair.forecast.want, seen.pair.forecast.want)
    assert tripped(_fp16.check_overflow(replace(seen, pair=replace(seen.pair, forecast=blind)))) == {
        _fp16.OVERFLOW
    }


def test_an_overflow_that_the_report_does_not_name_is_caught():
    seen = _fp16.study(bench(), *_fp16.loud(), "fp16")
    mute = replace(seen, report=replace(seen.report, findings=()))
    assert tripped(_fp16.check_overflow(mute)) == {_fp16.OVERFLOW}


@pytest.mark.parametrize("precision", ["bf16"])
def test_infinities_where_bf16_has_the_range_are_caught(precision):
    assert tripped(_fp16.check_loud(bench("head_lost_in_bf16"), precision)) == {_fp16.FINITE}


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0.11},
        {"atol": -1.0},
    ],
    ids=["another share", "zeros that agree are counted"],
)
def test_a_report_that_counts_wrongly_is_caught(monkeypatch, wrong):
    def other(got, want, precision, **kwargs):
        return measure_deviation(got, want, precision, **kwargs | wrong)

    monkeypatch.setattr(half, "measure_deviation", other)
    assert tripped(_fp16.check_unet(bench(), "fp16")) == {_fp16.COUNT}


def test_a_normalisation_that_does_not_move_values_away_from_zero_is_told():
    x = images()
    centred = _fp16.study(bench(), unet(x, shift=0.0), x, "fp16")
    others = (
        _fp16.check_reference, _fp16.check_stored, _fp16.check_counts, _fp16.check_expected, _fp16.check_finite,
    )  # fmt: skip
    assert tripped(row for check in others for row in check(centred)) == set()
    assert tripped(_fp16.check_pattern(centred)) == {_fp16.PATTERN}


def _with(seen, name, values):
    return replace(seen, pair=replace(seen.pair, got={**seen.pair.got, name: values}))


def test_a_relu_that_makes_values_deviate_is_told(honest):
    wrong = honest.pair.got["r0"].copy()
    wrong.flat[np.flatnonzero(honest.pair.want["b0"] < -1)[0]] = 1.0
    notes = [note for _, note in _fp16.check_pattern(_with(honest, "r0", wrong)) if note]
    assert len(notes) == 1 and "only behind the ReLU" in notes[0]


def test_a_relu_that_hides_what_deviates_is_told(honest):
    notes = [
        note
        for _, note in _fp16.check_pattern(_with(honest, "r0", honest.pair.want["r0"].astype(np.float16)))
        if note
    ]
    assert len(notes) == 1 and "the ReLU should leave 37 +- 25" in notes[0]


def test_a_reference_in_tf32_is_refused(monkeypatch):
    class Deaf(Workbench):
        def subject(self, model, precision, profile=None, **build):
            return super().subject(model, "tf32" if precision == "fp32" else precision, profile, **build)

    made = Settings(runtime="emulator", gpu="a100", emulate=NEW)
    x = images()
    with pytest.raises(PrecisionError, match="TF32 is on in the FP32 reference"):
        half.make_half_report(Deaf(made, discover(made)), unet(x), {"x": x})
