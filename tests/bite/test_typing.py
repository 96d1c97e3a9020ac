"""Routes to a precision that do not give what they say: each check of the suite has a subject that it catches, and only it."""

from __future__ import annotations

import sys

import pytest

from pytest_trt.precision import Prepared
from pytest_trt.precision.support import find_lack
from pytest_trt.records import Settings
from pytest_trt.runtime import build, constraints
from pytest_trt.runtime.load import discover
from suites import _typing

HERE = "tests.bite.test_typing:"
SHIPPED = "pytest_trt.emulator.faults:"


def first_layer_stays_fp32(site):
    """Build the first convolution of a network of several in FP32, whatever was asked for or is obeyed."""
    if site.kind == "build":
        working = [node.name for node in site.model.graph.node if node.op_type in ("Conv", "MatMul")]
        if len(working) > 1 and site.layers.get(working[0]) in ("fp16", "bf16", "int8"):
            site.layers[working[0]] = "fp32"


def broken(*faults, precision="fp16", emulate="tensorrt-10.13"):
    """Return the checks that do not hold, and what they say."""
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults)
    rows = list(_typing.check_ways(discover(made).executor, precision))
    assert rows
    return {check for check, note in rows if note is not None}, [note for _, note in rows if note]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13", "tensorrt-11.4"])
def test_every_route_of_an_honest_tensorrt_holds(emulate, precision):
    assert broken(precision=precision, emulate=emulate) == (set(), [])


def test_every_check_has_its_subject():
    made = Settings(runtime="emulator", gpu="a100", emulate="tensorrt-10.13")
    checks = {check for check, _ in _typing.check_ways(discover(made).executor, "int8")}
    assert checks == {_typing.LAYERS, _typing.OUTPUTS, _typing.REFUSAL, _typing.DUMMY}


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13"])
def test_a_layer_that_does_not_obey_shows_in_the_layer_list_alone(emulate):
    checks, notes = broken(HERE + "first_layer_stays_fp32", emulate=emulate)
    assert checks == {_typing.LAYERS}
    assert any(note.startswith("block, weak, obey, at fp16") and "conv0" in note for note in notes)
    assert not any("block, weak, at" in note for note in notes)  # a permission is no order


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_precision_that_was_ignored_under_obey_is_caught(precision):
    _, notes = broken(SHIPPED + "one_layer_stays_fp32", precision=precision)
    told = [note for note in notes if "another type: matmul" in note]
    assert any("obey" in note for note in told) if precision == "fp16" else told


def test_wrong_outputs_of_the_right_layers_are_caught_by_their_own_check():
    checks, _ = broken(SHIPPED + "output_truncated_not_rounded")
    assert checks == {_typing.OUTPUTS}


def test_a_route_that_is_there_and_is_refused_is_caught():
    checks, notes = broken(SHIPPED + "build_fails")
    assert checks == {_typing.REFUSAL}
    assert "although this TensorRT has that route" in notes[0]


def test_a_route_that_is_not_there_and_is_taken_is_caught(monkeypatch):
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["pytest_trt.precision.prepare"], "_check_typing", lambda *args: None)
    monkeypatch.setattr(constraints, "check_offered", lambda *args: None)
    checks, notes = broken()
    assert checks == {_typing.REFUSAL}
    assert any("strong, obey" in note and "built, although" in note for note in notes)


@pytest.mark.skipif(find_lack("bf16") is not None, reason="bf16 needs onnx 1.17 and onnxruntime 1.21")
def test_a_refusal_without_a_way_that_works_is_caught(monkeypatch):
    monkeypatch.setitem(build._FLAG_MENDS, "BF16", None)
    checks, notes = broken(precision="bf16", emulate="tensorrt-8.6.1")
    assert checks == {_typing.REFUSAL}
    assert all("refused without a way that works" in note for note in notes)


def test_a_speed_trial_whose_outputs_may_be_judged_is_caught(monkeypatch):
    monkeypatch.setattr(Prepared, "demand_accurate", lambda self: None)
    assert broken(precision="int8")[0] == {_typing.DUMMY}


def test_a_speed_trial_that_is_not_marked_is_caught(monkeypatch):
    monkeypatch.setattr(
        "pytest_trt.runtime.plan.Plan.accurate",
        property(lambda self: True, lambda self, value: None),
        raising=False,
    )
    checks, notes = broken(precision="int8")
    assert checks == {_typing.DUMMY} and "not marked" in notes[0]
