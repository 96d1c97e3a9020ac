"""Shapes and profiles that ought to be refused: each check has a TensorRT that it alone tells."""

from __future__ import annotations

import pytest

from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _profiles as suite


@pytest.fixture(params=["tensorrt-8.6.1", "tensorrt-10.13", "tensorrt_rtx-1.7"])
def rt(request):
    return discover(Settings(runtime="emulator", emulate=request.param, gpu="t4")).executor


def broken(rows):
    rows = list(rows)
    assert rows
    return {check for check, note in rows if note is not None}


def test_honest_versions_pass(rt):
    assert broken(suite.check_shapes(rt)) == set()
    assert broken(suite.check_profiles(rt)) == set()


class Lax:
    """A context that answers in its own way where a shape is set."""

    def __init__(self, real, answer):
        self.real, self.answer = real, answer

    def create_execution_context(self):
        return Lax(self.real.create_execution_context(), self.answer)

    def set_input_shape(self, name, shape):
        return self.answer(self.real, name, shape)


@pytest.mark.parametrize(
    ("answer", "caught"),
    [
        (lambda real, name, shape: True, {suite.OUTSIDE}),
        (lambda real, name, shape: 2 <= shape[0] <= 4, {suite.OUTSIDE}),
        (lambda real, name, shape: real.set_input_shape(name, shape) and shape[0] != 3, {suite.INSIDE}),
    ],
    ids=["all taken", "silent", "too few taken"],
)
def test_a_context_that_takes_other_shapes(monkeypatch, rt, answer, caught):
    real = suite.load_engine
    monkeypatch.setattr(suite, "load_engine", lambda rt, plan: Lax(real(rt, plan), answer))
    assert broken(suite.check_shapes(rt)) == caught


@pytest.mark.parametrize("batch", ["N", 2])
def test_a_builder_that_decides_otherwise(monkeypatch, rt, batch):
    real = suite._build_bare

    def build(rt, model):
        dynamic = bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param)
        return dynamic if dynamic == (batch == "N") else real(rt, model)

    monkeypatch.setattr(suite, "_build_bare", build)
    assert broken(suite.check_profiles(rt)) == {suite.NO_PROFILE}


@pytest.mark.parametrize("answer", [0, -1])
def test_a_config_that_takes_a_disordered_profile_or_says_nothing(monkeypatch, rt, answer):
    monkeypatch.setattr(suite, "_add_disordered", lambda rt: answer)
    assert broken(suite.check_profiles(rt)) == {suite.ORDER}
