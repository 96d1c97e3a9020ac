"""Looking into an engine: each fault is caught by its own check and by no other."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator.faults import FAULTS, dumps
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _dump
from suites._dump import Study, check_debug, check_marked, check_network, check_raising, check_unfused
from tests.bite.test_execution import CAUGHT as CAUGHT_WHEN_RUN

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.dump_faults:"
CHECKS = (check_marked, check_debug, check_unfused, check_raising)


def bench(*faults, emulate="tensorrt-10.13", **settings):
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, faults=faults, **settings)
    return Workbench(made, discover(made))


def found(*faults, checks=CHECKS, precision="fp32", **settings):
    """Return check and name of all that is wrong."""
    wrong = set()
    with Study(bench(*faults, **settings), precision) as study:
        for check in checks:
            rows = list(check(study))
            assert rows
            wrong |= {(check, name) for name, complaint in rows if complaint is not None}
    return wrong


# Which check of which of them says so.
CAUGHT = {
    "debug_listener_is_called_twice": {(check_debug, _dump.ONCE)},
    "debug_listener_is_not_called": {
        (check_debug, _dump.ONCE),
        (check_unfused, _dump.UNFUSED),
        (check_raising, _dump.SWALLOWED),
        (check_raising, _dump.TOLD),
    },
    "debug_listener_is_called_while_off": {(check_debug, _dump.OFF), (check_unfused, _dump.OFF)},
    "debug_tensor_is_of_another_layer": {(check_debug, _dump.SHOWN), (check_unfused, _dump.SHOWN)},
    "marked_output_is_of_another_layer": {(check_marked, _dump.MARKED)},
    "marking_changes_the_output": {(check_marked, _dump.MARKED_FINAL)},
}
LISTENED = {
    (check_debug, _dump.SHOWN_FINAL),
    (check_unfused, _dump.SHOWN_FINAL),
    (check_raising, _dump.SWALLOWED),
}


def test_every_fault_has_a_row():
    shipped = {name for name, entry in FAULTS.items() if entry.call.__module__ == dumps.__name__}
    assert shipped == CAUGHT.keys() | CAUGHT_WHEN_RUN.keys()
    assert all(FAULTS[name].call.__doc__ for name in shipped)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("emulate", ["tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_an_honest_engine_passes(precision, emulate):
    assert found(precision=precision, emulate=emulate) == set()


@pytest.mark.parametrize(
    ("emulate", "checks"), [("tensorrt-8.6.1", CHECKS[:1]), ("tensorrt-10.0", (check_marked, check_debug))]
)
def test_an_honest_engine_of_an_old_version_passes(emulate, checks):
    for precision in ("fp32", "fp16", "int8"):
        assert found(precision=precision, emulate=emulate, checks=checks) == set()


@pytest.mark.parametrize("hybrid", ["fp16", "bf16"])
def test_an_honest_hybrid_engine_passes(hybrid):
    """A tensor that is marked for debugging is stored in 16 bits, and read so; an unfused one may stay wide."""
    assert found(precision="int8", hybrid=hybrid) == set()


@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_is_caught_by_its_check(name):
    assert found(SHIPPED + name) == CAUGHT[name]


def test_a_listener_that_harms_the_output_is_caught():
    assert found(OWN + "wrong_while_somebody_listens") == LISTENED


class Fewer:
    """A subject that marks all tensors but one."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def with_outputs(self, names):
        return self.real.with_outputs(names[1:])


def test_an_output_that_is_lacking_is_caught():
    with Study(bench(), "fp32") as study:
        study.subject = Fewer(study.subject)
        assert {name for name, wrong in check_marked(study) if wrong} == {_dump.COUNTED}


def test_an_error_that_a_listener_keeps_to_itself_is_caught(monkeypatch):
    monkeypatch.setattr(_dump.Failing, "check", lambda self: None)
    assert found(checks=(check_raising,)) == {(check_raising, _dump.TOLD)}


class Lax:
    """A network that ignores a call, or answers False to it."""

    def __init__(self, real, ignored, answer=None):
        self.real, self.ignored, self.answer = real, ignored, answer

    def __getattr__(self, name):
        if name == self.ignored:
            return lambda *args: self.answer
        return getattr(self.real, name)


@contextmanager
def rows(ignored="", answer=None, plans=None):
    rt = bench().executor
    with _dump.raw_network(rt) as (made, build):
        given = iter(plans) if plans is not None else None
        chosen = build if given is None else lambda: next(given)
        yield dict(check_network(rt, Lax(made, ignored, answer), chosen, repeats=True))


@pytest.mark.parametrize(
    ("ignored", "answer", "names"),
    [
        ("", None, set()),
        ("mark_output", None, {_dump.NET_MARKED}),
        ("unmark_output", None, {_dump.NET_UNMARKED}),
        ("mark_debug", False, {_dump.NET_DEBUG}),
        ("is_debug_tensor", True, {_dump.NET_DEBUG}),
        ("unmark_debug", False, {_dump.NET_DEBUG}),
        ("mark_unfused_tensors_as_debug_tensors", False, {_dump.NET_UNFUSED}),
        ("unmark_unfused_tensors_as_debug_tensors", False, {_dump.NET_UNFUSED}),
    ],
)
def test_a_mark_that_is_not_taken_is_caught(ignored, answer, names):
    with rows(ignored, answer) as found_rows:
        assert len(found_rows) == 4
        assert {name for name, wrong in found_rows.items() if wrong} == names


@pytest.mark.parametrize(
    ("plans", "names"),
    [
        ((b"p", b"m", b"p", b"d", b"u"), set()),
        ((b"p", b"p", b"p", b"d", b"u"), {_dump.NET_MARKED}),
        ((b"p", b"m", b"m", b"d", b"u"), {_dump.NET_UNMARKED}),
        ((b"p", None, b"p", b"d", b"u"), {_dump.NET_MARKED}),
        ((b"p", b"m", b"p", None, b"u"), {_dump.NET_DEBUG}),
        ((b"p", b"m", b"p", b"d", None), {_dump.NET_UNFUSED}),
        ((None,), {_dump.NET_MARKED}),
    ],
)
def test_a_plan_that_does_not_follow_the_marks_is_caught(plans, names):
    with rows(plans=plans) as found_rows:
        assert {name for name, wrong in found_rows.items() if wrong} == names
