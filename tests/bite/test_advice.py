"""Advice: each check has a subject that it alone refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.precision.prepare import Prepared
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _advice as suite


def bench(gpu="l4", **settings):
    made = Settings(runtime="emulator", gpu=gpu, **settings)
    return Workbench(made, discover(made))


def broken(rows):
    rows = list(rows)
    assert rows
    return {check for check, note in rows if note is not None}


@pytest.mark.parametrize("gpu", ["t4", "l4", "a100", "p4"])
def test_honest_advice_passes(gpu):
    assert broken(suite.check_advice(bench(gpu))) == set()
    assert broken(suite.check_dummy(bench(gpu))) == set()


def test_advice_that_is_not_given(monkeypatch):
    monkeypatch.setattr(suite, "lint", lambda model, **options: ())
    assert broken(suite.check_advice(bench())) == {suite.GIVEN}


def test_advice_that_is_always_given(monkeypatch):
    always = [SimpleNamespace(rule=rule, what=rule) for rule in ("prelu-uniform", "channels-off-multiple")]
    monkeypatch.setattr(suite, "lint", lambda model, **options: always)
    assert broken(suite.check_advice(bench())) == {suite.SILENT}


def test_a_rewrite_with_another_slope(monkeypatch):
    def halve(model):
        made = suite.network("LeakyRelu", 60)
        made.graph.node[1].attribute[0].f = suite.SLOPE / 2
        return SimpleNamespace(model=made)

    monkeypatch.setattr(suite, "mend", halve)
    assert broken(suite.check_advice(bench())) == {suite.HARMLESS}


def test_dummy_ranges_that_are_not_marked(monkeypatch):
    monkeypatch.setattr(Prepared, "demand_accurate", lambda prepared: None)
    assert broken(suite.check_dummy(bench())) == {suite.DUMMY}


class Builds:
    """A workbench whose builds have as many layers as is said for each activation."""

    def __init__(self, **layers):
        self.layers = layers

    def subject(self, model, precision, rt=None):
        self.plan = SimpleNamespace(layers=("",) * self.layers[model.graph.node[1].op_type])
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("prelu", "caught"), [(5, set()), (4, {suite.FUSES}), (3, {suite.FUSES})])
def test_a_builder_that_fuses_prelu_as_well(prelu, caught):
    assert broken(suite.check_builds(Builds(PRelu=prelu, LeakyRelu=4), None)) == caught
