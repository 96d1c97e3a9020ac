"""The audit as a record: what it measures, how it tells, what it refuses. What each check finds is in tests/bite."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from pytest_trt.errors import CalibrationError, CalibrationWarning, InputError, PrecisionError
from pytest_trt.precision.audit import Thresholds, audit, ranges_from_scales
from pytest_trt.precision.audit_rules import CHECKS, FAILURE, SCALE, WARNING
from pytest_trt.precision.calibration import Calibration, calibrate
from pytest_trt.precision.distortion import decibels, measure_distortion, measure_output_sqnr
from pytest_trt.precision.int8 import quantize

from .models import conv_relu, feed

DATA = [feed((60, 3, 5, 5), seed=seed) for seed in range(4)]
FRESH = [feed((120, 3, 5, 5), seed=9)]


def ranges(factor=1.0, **changed):
    made = calibrate(conv_relu(), Calibration(DATA))
    return {name: changed.get(name, 1.0) * factor * amax for name, amax in made.items()}


def test_a_good_calibration():
    found = audit(conv_relu(), calibrate(conv_relu(), Calibration(DATA)), DATA, fresh=FRESH)
    assert found.passed and found.findings == () and found.flags == frozenset()
    assert {tensor.name for tensor in found.tensors} == {"x", "y"}
    assert 30 < found.activation_sqnr <= found.activation_sqnr_median < 50
    assert 25 < found.logit_sqnr["y"] < 50
    assert found.samples.count == 240
    assert found.independent and found.identified
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.tell()


def test_an_audit_on_the_calibration_data_says_so():
    found = audit(conv_relu(), ranges(), DATA)
    assert not found.independent and not found.identified
    assert {tensor.ratio for tensor in found.tensors} == {1.0}
    assert {tensor.clipped for tensor in found.tensors} == {0.0}


def test_a_warning_names_tensor_number_threshold_and_mend():
    found = audit(conv_relu(), ranges(y=1.3), DATA, fresh=DATA)
    (finding,) = found.findings
    assert (finding.check, finding.severity, finding.subject) == (SCALE, WARNING, "y")
    assert finding.value == pytest.approx(1.3, rel=1e-5) and finding.threshold == 1.2
    with pytest.warns(CalibrationWarning) as caught:
        found.tell()
    assert str(caught[0].message) == (
        "tensor 'y': its scale is 1.3 times off what fresh data give\n"
        f"  why    {found.tensors[-1].scale:.4g} a step, more than 1.2 times off\n"
        "  mend   calibrate on data that are like those of inference"
    )


def test_far_beyond_is_a_failure():
    found = audit(conv_relu(), ranges(0.4), DATA, fresh=DATA)
    assert not found.passed
    assert [finding.severity for finding in found.findings][:2] == [FAILURE, FAILURE]
    with pytest.raises(CalibrationError) as caught, pytest.warns(CalibrationWarning):
        found.tell()
    assert caught.value.what.startswith("tensor 'x': ") and "lie beyond its INT8 range" in caught.value.what
    assert "its scale is 2.5 times off" in str(caught.value)
    assert "also 'y'" in str(caught.value)


def test_strict_makes_failures():
    found = audit(conv_relu(), ranges(y=1.3), DATA, fresh=DATA, thresholds=Thresholds(strict=True))
    assert [finding.severity for finding in found.findings] == [FAILURE]


def test_thresholds_can_be_moved():
    lax = Thresholds(scale_ratio=1.4, samples=1)
    assert audit(conv_relu(), ranges(y=1.3), DATA[:1], fresh=DATA, thresholds=lax).findings == ()
    assert audit(conv_relu(), ranges(y=1.3), DATA[:1], fresh=DATA).flags == {"scale", "count"}


def test_another_model_is_a_failure():
    found = audit(conv_relu(), calibrate(conv_relu(filters=5), Calibration(DATA)), DATA)
    assert found.findings[0].what == "the ranges are of another model"
    assert found.findings[0].severity == FAILURE


def test_what_a_method_clips_on_purpose_is_let_pass():
    """Percentile 99 clips one value of a hundred; min-max ranges that do are wrong."""
    by_method = calibrate(conv_relu(), Calibration(DATA, "percentile", percentile=99.0))
    lax = Thresholds(activation_sqnr=0.0, logit_sqnr=0.0)
    assert audit(conv_relu(), by_method, DATA, fresh=FRESH, thresholds=lax).findings == ()
    assert "clipped" in audit(conv_relu(), dict(by_method), DATA, fresh=FRESH, thresholds=lax).flags


def test_only_entropy_has_slack_in_what_it_clips(monkeypatch):
    monkeypatch.setattr("pytest_trt.precision.calibration._BINS", {"entropy": 256})
    lax = Thresholds(activation_sqnr=0.0, logit_sqnr=0.0)
    spread = [{"x": np.tile(np.linspace(-1, 1, 75, dtype=np.float32), 100).reshape(100, 3, 5, 5)}]
    wide = dict(calibrate(conv_relu(), Calibration(spread)))
    tight = {name: amax / 1.19 for name, amax in wide.items()}
    assert "clipped" in audit(conv_relu(), tight, spread, thresholds=lax).flags
    assert "clipped" not in audit(conv_relu(), tight, spread, method="entropy", thresholds=lax).flags


def test_a_tensor_that_never_moved_is_told():
    found = audit(conv_relu(), ranges(y=0.0), DATA, fresh=FRESH)
    apart = next(finding for finding in found.findings if finding.check == SCALE)
    assert apart.subject == "y" and apart.severity == FAILURE
    assert apart.why.endswith("; in the calibration it was 0 throughout")


def test_classes_are_those_of_a_classifier():
    labels = np.arange(240) % 3
    assert audit(conv_relu(), ranges(), DATA, labels=labels).findings == ()
    (finding,) = audit(conv_relu(), ranges(), DATA, labels=labels, classes=5).findings
    assert finding.what == "calibration data lack 2 of 5 classes"
    assert finding.why.startswith("no sample of 3, 4;")


def test_pipelines_are_told_with_the_guess():
    (finding,) = audit(
        conv_relu(),
        ranges(),
        DATA,
        preprocess=(lambda raw: raw, lambda raw: raw / np.float32(255)),
        raw=[DATA[0]["x"][0]],
    ).findings
    assert finding.what == "calibration and inference preprocess 1 of 1 samples differently"
    assert "inference = calibration * 0.00392157 (1/255)" in finding.why


def test_data_may_be_a_generator():
    assert audit(conv_relu(), ranges(), (one for one in DATA), fresh=(one for one in FRESH)).findings == ()


def test_wrong_use():
    with pytest.raises(InputError, match="no raw samples"):
        audit(conv_relu(), ranges(), DATA, preprocess=(abs, abs))
    with pytest.raises(InputError, match="no calibration data to audit"):
        audit(conv_relu(), ranges(), [], labels=[])
    with pytest.raises(PrecisionError, match="tensor 'y' needs an INT8 scale"):
        audit(conv_relu(), {"x": 1.0, "c": 1.0}, DATA)
    with pytest.raises(PrecisionError, match="has Q/DQ of its own"):
        audit(quantize(conv_relu(), ranges(), folded=True)[0], ranges(), DATA)
    with pytest.raises(InputError, match="239 labels for 240 samples"):
        audit(conv_relu(), ranges(), DATA, labels=[0] * 239)
    assert len(CHECKS) == len(set(CHECKS))


def test_ranges_from_scales_leaves_channels_out():
    scales = {"x": np.float32(0.5), "y": 2.0, "w": np.ones(4, np.float32)}
    assert ranges_from_scales(scales) == {"x": 63.5, "y": 254.0}


def test_distortion_in_numbers():
    """One tensor by hand: 1000 values 0.001 to 1, steps of 0.005, so 127 steps reach 0.635."""
    from onnx import helper

    from .models import build, value

    model = build([helper.make_node("Relu", ["x"], ["y"])], [value("x", ["N"])], [value("y", ["N"])])
    x = (np.arange(1000, dtype=np.float32) + 1) / 1000
    (found,) = measure_distortion(model, {"x": 0.005}, {"x": 0.01}, [{"x": x[:400]}, {"x": x[400:]}])
    assert found.clipped == pytest.approx(1 - 0.637, abs=2e-3)
    assert (found.clipped_by_method, found.range_use, found.ratio) == (0.0, 1.0, 2.0)
    (slack,) = measure_distortion(model, {"x": 0.005}, {"x": 0.01}, [{"x": x}], slack=2.0)
    assert slack.clipped_by_method == slack.clipped == found.clipped
    back = np.clip(np.rint(x.astype(np.float64) / 0.005), -128, 127) * 0.005
    assert found.sqnr == pytest.approx(10 * math.log10((x**2).sum() / ((x - back) ** 2).sum()), rel=1e-5)
    (wide,) = measure_distortion(model, {"x": 0.1}, {"x": 0.1}, [{"x": x}])
    assert wide.range_use == pytest.approx(1 / 12.7, abs=1 / 4096)
    assert measure_distortion(model, {"x": 0.1}, {"x": 0.1}, [{"x": x * 0}]) == ()


def test_output_sqnr_of_a_model_with_itself_is_infinite():
    assert measure_output_sqnr(conv_relu(), conv_relu(), DATA) == {"y": math.inf}
    assert decibels(100.0, 1.0) == 20.0 and decibels(0.0, 1.0) == -math.inf
