"""Triggers of public bugs: an honest engine passes each, and each is caught by a check that its bug is assigned to."""

from __future__ import annotations

import pytest

from pytest_trt.cases.bugs import BUGS, CHECKS
from pytest_trt.cases.triggers import TRIGGERS, Inapplicable, Trial, checks_of
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator.faults import FAULTS
from pytest_trt.errors import ConformanceError, TrtError
from pytest_trt.records import MISTRUSTED, Finding, Settings, Verdict
from pytest_trt.runtime.load import discover

SHIPPED = "pytest_trt.emulator.faults:"
PAIRS = [(t.name, fault) for t in TRIGGERS.values() if not t.seldom for fault in t.faults]


def provoke(each, precision, *faults):
    """Return the checks that a trigger trips on an emulator with faults."""
    made = Settings(runtime="emulator", gpu="t4", faults=tuple(SHIPPED + name for name in faults))
    bench = Workbench(made, discover(made))
    try:
        each.provoke(Trial(bench, precision))
    except TrtError as error:
        return checks_of(error)
    finally:
        bench.close()
    return frozenset()


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_honest_engine_passes(name):
    each = TRIGGERS[name]
    if each.seldom:
        pytest.skip("not applicable: takes long or much memory; the suites run it at the standard budget")
    for precision in each.precisions:
        try:
            assert provoke(each, precision) == frozenset(), precision
        except Inapplicable as reason:
            pytest.skip(f"not applicable: {reason}")


@pytest.mark.parametrize(("name", "fault"), PAIRS)
def test_a_fault_that_imitates_the_bug_is_caught_by_its_check(name, fault):
    each = TRIGGERS[name]
    assigned = {check for kind in BUGS[each.bug].checks for check in CHECKS[kind]}
    entry = FAULTS[fault]
    forbidden = [p for p in each.precisions if p in entry.contracts]
    assert forbidden, f"no precision of {name} forbids {fault}"
    for precision in forbidden:
        try:
            assert provoke(each, precision, fault) & assigned, precision
        except Inapplicable as reason:
            pytest.skip(f"not applicable: {reason}")


def test_references_that_disagree_are_no_bug_of_tensorrt(monkeypatch):
    """ONNX Runtime 1.17 loses the NaN of a Min itself: what is mistrusted is not told as a bug that is present."""
    doubt = Verdict(MISTRUSTED, (Finding("reference", MISTRUSTED),))
    error = ConformanceError("mistrusted")
    error.verdict = doubt

    def check(*_, **__):
        raise error

    made = Settings(runtime="emulator", gpu="t4")
    bench = Workbench(made, discover(made))
    monkeypatch.setattr(bench, "check", check)
    with pytest.raises(Inapplicable, match="ONNX Runtime"):
        Trial(bench, "fp32").check(None)
    error.verdict = Verdict(MISTRUSTED, (*doubt.findings, Finding("interval", MISTRUSTED)))
    with pytest.raises(ConformanceError):
        Trial(bench, "fp32").check(None)
