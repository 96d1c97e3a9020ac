"""Task accuracy: what a classifier loses in each precision, and whether its calibration sees what inference sees.

Claim 14 of the TensorRT FAQ: preprocessing of calibration and inference are identical, the calibration data are enough and
diverse, and a top-1 loss within 1 % is what popular classifiers keep to. The classifier is trained here, on the images of digits
that scikit-learn carries; half of them calibrate, the others are tested on. On the emulator that says that graph, scales and
test are right; what a GPU's kernels lose, a real TensorRT shows by the same test.
"""

from __future__ import annotations

from functools import cache

import pytest

from pytest_trt.cases.digits import Digits, find_digits_lack, train_digits
from pytest_trt.precision.calibration import Calibration, calibrate

pytestmark = pytest.mark.faq(14)

CALIBRATION_IMAGES = 200


@cache
def trained() -> Digits:
    """Return the classifier; a second or two, once."""
    return train_digits(seed=0)


@pytest.fixture(scope="module")
def digits():
    """The classifier and its images, where scikit-learn is."""
    lack = find_digits_lack()
    if lack is not None:
        pytest.skip(f"{lack.reason}; to get it: {lack.mend}")
    return trained()


def test_accuracy(trt_accuracy, trt_precision, digits):
    """No more of the test images are lost than 1 % allows, by a paired test against float32."""
    ranges = [{"x": digits.preprocess(digits.train[:CALIBRATION_IMAGES])}]
    found = trt_accuracy(
        digits.model,
        digits.preprocess(digits.test),
        digits.test_labels,
        calibration=ranges if trt_precision == "int8" else None,
    )
    assert found.passed, found.describe()


@pytest.mark.trt_precision("int8")
def test_calibration_is_sound(trt_audit, trt_precision, digits):
    """Enough and varied samples, one preprocessing, ranges that fit fresh images: the audit finds nothing."""
    raw = digits.train[:CALIBRATION_IMAGES]
    data = [{"x": digits.preprocess(raw[place : place + 20])} for place in range(0, len(raw), 20)]
    found = trt_audit(
        digits.model,
        calibrate(digits.model, Calibration(data, "minmax")),
        data,
        fresh=[{"x": digits.preprocess(digits.test[:CALIBRATION_IMAGES])}],
        preprocess=(digits.preprocess, digits.preprocess),
        raw=list(raw[:20]),
        labels=digits.train_labels[:CALIBRATION_IMAGES],
    )
    assert not found.findings, [finding.what for finding in found.findings]
