"""A build that has to succeed: a refusal and a crash fail, beyond a documented limit a refusal does not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.cases.triggers import building
from pytest_trt.cases.triggers.nets import net, node
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError
from pytest_trt.records import Settings
from pytest_trt.runtime.contained import CRASHED, DONE, Ended
from pytest_trt.runtime.load import discover

MODEL = net([node("Relu", "x", "y")], {"x": [2, 3]}, {"y": [2, 3]})


def on_emulator(*faults):
    made = Settings(
        runtime="emulator", gpu="t4", faults=tuple(f"pytest_trt.emulator.faults:{f}" for f in faults)
    )
    return Trial(Workbench(made, discover(made)), "fp32")


def on_another(ended, monkeypatch):
    """Return a trial on what is no emulator, whose process ends as told, and the checks that it demands."""
    monkeypatch.setattr(building, "run_contained", lambda *given, **options: iter([ended]))
    rows = []
    return SimpleNamespace(
        rt=SimpleNamespace(emulated=False),
        bench=SimpleNamespace(settings=Settings(runtime="emulator")),
        precision="fp32",
        demand=rows.extend,
    ), rows


def test_a_refusal_fails_unless_it_is_allowed():
    assert building.must_build(on_emulator(), MODEL)
    refusing = on_emulator("build_fails")
    with pytest.raises(ConformanceError) as caught:
        building.must_build(refusing, MODEL)
    assert [found.check for found in caught.value.verdict.findings] == [building.BUILD]
    assert building.must_build(refusing, MODEL, may_refuse=True) is False


def test_a_crash_fails_even_beyond_a_limit(monkeypatch):
    trial, rows = on_another(Ended("model", CRASHED, words="SIGSEGV"), monkeypatch)
    building.must_build(trial, MODEL, may_refuse=True)
    assert rows == [(building.BUILD, "the build crashed: SIGSEGV")]


@pytest.mark.parametrize(("words", "builds"), [(None, True), ("the model was not built: no", False)])
def test_what_the_other_process_says_is_taken_over(words, builds, monkeypatch):
    trial, rows = on_another(Ended("model", DONE, words), monkeypatch)
    assert building.must_build(trial, MODEL) is builds and rows == [(building.BUILD, words)]


def test_the_other_process_builds():
    build = building.builder(Settings(runtime="emulator", gpu="t4"), "fp32")
    assert build(MODEL.SerializeToString()) is None
    fails = Settings(runtime="emulator", gpu="t4", faults=("pytest_trt.emulator.faults:build_fails",))
    assert building.builder(fails, "fp32")(MODEL.SerializeToString()).startswith("the model was not built: ")
