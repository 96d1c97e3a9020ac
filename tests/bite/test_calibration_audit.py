"""Planted defects of calibrations: each check of the audit has one that it finds, and only it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.precision import audit_rules as rules
from pytest_trt.precision.audit import audit
from pytest_trt.precision.calibration import Calibration, calibrate
from pytest_trt.precision.samples import describe_samples

SAMPLES, WIDTH = 300, 50


def adder():
    """y = a + b: all three get a scale."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("a", "b", "y")
    }
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"], name="add")],
        "adder",
        [values["a"], values["b"]],
        [values["y"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def draw(seed):
    """Even values, and 2 % of them at the ends of the range."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(-1, 1, (SAMPLES, WIDTH)).astype(np.float32)
    a[rng.random(a.shape) < 0.02] = 1.0
    b = (rng.uniform(-1, 1, a.shape) / 8).astype(np.float32)
    return {"a": a, "b": b}


@dataclass
class Subject:
    """What an audit is given; a planted defect changes one thing of it."""

    model: Any
    ranges: Any
    data: dict
    fresh: dict
    options: dict = dataclasses.field(default_factory=dict)

    def audit(self):
        return audit(self.model, self.ranges, [self.data], fresh=[self.fresh], **self.options)

    def calibrate(self):
        """Ranges of these data; as a file has them, without an origin."""
        self.ranges = dict(calibrate(self.model, Calibration([self.data])))


def good():
    data = draw(0)
    labels = np.arange(SAMPLES) % 4
    ranges = calibrate(adder(), Calibration([data]))
    options = {
        "labels": labels,
        "classes": 4,
        "preprocess": (lambda raw: raw * np.float32(2), lambda raw: np.float32(2) * raw),
        "raw": list(data["a"][:5]),
    }
    return Subject(adder(), ranges, data, draw(1), options)


def another_model(subject):
    subject.model.graph.name = "edited"


def another_bit_of_data(subject):
    subject.data["a"][7, 7] = np.nextafter(subject.data["a"][7, 7], np.float32(0))


def another_preprocessing(subject):
    same, _ = subject.options["preprocess"]
    subject.options["preprocess"] = same, lambda raw: np.nextafter(same(raw), np.float32(9))


def few(subject):
    subject.data = {name: array[:50] for name, array in subject.data.items()}
    subject.ranges = dict(subject.ranges)
    subject.options["labels"] = subject.options["labels"][:50]


def repeated(subject):
    subject.ranges = dict(subject.ranges)
    for array in subject.data.values():
        array[150:160] = array[10:20]


def blank(subject):
    subject.ranges = dict(subject.ranges)
    for place in range(0, 80, 10):
        for array in subject.data.values():
            array[place] = place / 1000


def with_nan(subject):
    subject.ranges = dict(subject.ranges)
    subject.data["a"][33, 4] = np.nan


def without_a_class(subject):
    labels = subject.options["labels"]
    labels[labels == 2] = 3


def cut_short(subject):
    subject.ranges = dict(subject.ranges) | {"a": subject.ranges["a"] / 1.15}


def too_wide(subject):
    subject.ranges = dict(subject.ranges) | {"a": 1.3 * subject.ranges["a"]}


def all_too_wide(subject):
    """Each of them is inside the limit of a single scale."""
    subject.ranges = {name: 1.15 * amax for name, amax in subject.ranges.items()}


def outliers(subject):
    """One value of 15,000 sets the range, in the calibration data and in the fresh ones."""
    for side in (subject.data, subject.fresh):
        side["a"] *= np.float32(0.4)
        side["a"][0, 0] = 1.0
    subject.calibrate()


def rare_and_large(subject):
    """b is tiny but for 4 values of 15,000, so its steps swallow it; beside a it hardly counts."""
    for side in (subject.data, subject.fresh):
        places = [5, 4005, 8005, 12005]
        side["b"] /= np.float32(20)
        side["b"].reshape(-1)[places] = 1.0, -1.0, 1.0, -1.0
        side["a"].reshape(-1)[places] = 0.0
    subject.calibrate()


def cancelling(subject):
    """a and b have good scales, and their sum is a hundredth of both."""
    for seed, side in enumerate((subject.data, subject.fresh)):
        rest = np.random.default_rng(seed).uniform(-0.03, 0.03, side["a"].shape)
        side["b"] = (rest - side["a"]).astype(np.float32)
    subject.calibrate()


PLANTED = {
    another_model: rules.IDENTITY,
    another_bit_of_data: rules.IDENTITY,
    another_preprocessing: rules.PIPELINE,
    few: rules.COUNT,
    repeated: rules.DUPLICATES,
    blank: rules.BLANK,
    with_nan: rules.NONFINITE,
    without_a_class: rules.CLASSES,
    cut_short: rules.CLIPPED,
    too_wide: rules.SCALE,
    all_too_wide: rules.SHIFT,
    outliers: rules.RANGE_USE,
    rare_and_large: rules.ACTIVATION,
    cancelling: rules.LOGITS,
}


def test_a_good_calibration_has_no_flag():
    found = good().audit()
    assert found.findings == () and found.passed
    assert found.independent and found.identified


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_one_check_finds_it(plant):
    subject = good()
    plant(subject)
    found = subject.audit()
    assert [finding.check for finding in found.findings] == [PLANTED[plant]], found.findings


def test_every_check_has_a_subject():
    assert set(PLANTED.values()) == set(rules.CHECKS)


def reach_further(side, samples, factor=1.3):
    """Let one value of `a` be larger, in some samples."""
    side["a"][:samples, 0] = factor


@pytest.mark.parametrize("side", ["data", "fresh"])
def test_what_the_largest_sample_does_by_chance_is_no_finding(side):
    subject = good()
    reach_further(getattr(subject, side), 3)
    subject.calibrate()
    found = subject.audit()
    assert found.findings == () and {"a"} <= found.by_chance <= {"a", "y"}
    (a,) = (tensor for tensor in found.tensors if tensor.name == "a")
    assert a.ratio == pytest.approx(1.3) and 0.1 < found.chances["a"] <= 0.26  # 2 / 2**3 or less


@pytest.mark.parametrize("side", ["data", "fresh"])
def test_what_many_samples_do_is_no_chance(side):
    """Nor is one value of 50 much beside what is clipped."""
    subject = good()
    reach_further(getattr(subject, side), 30)
    subject.calibrate()
    found = subject.audit()
    assert rules.SCALE in found.flags and not found.by_chance and found.chances["a"] < 1e-8


def test_a_range_that_is_not_of_the_calibration_data_is_no_chance():
    """The largest sample would excuse it, but these data give another range."""
    subject = good()
    reach_further(subject.fresh, 3)
    subject.calibrate()
    subject.ranges["a"] *= 1.03
    found = subject.audit()
    assert found.flags == {rules.SCALE} and found.chances["a"] == 0.0


def test_too_few_samples_have_no_excuse():
    subject = good()
    few(subject)
    reach_further(subject.fresh, 3)
    subject.calibrate()
    assert subject.audit().flags == {rules.COUNT, rules.SCALE, rules.SHIFT}


def test_scales_that_are_off_both_ways_are_no_shift():
    subject = good()
    subject.ranges = {
        name: amax * {"a": 1.15, "b": 1 / 1.01, "y": 1.0}[name] for name, amax in subject.ranges.items()
    }
    assert subject.audit().findings == ()


def test_blank_samples_differ():
    """Else the duplicates would find them too."""
    subject = good()
    blank(subject)
    assert describe_samples([subject.data]).duplicates == ()
