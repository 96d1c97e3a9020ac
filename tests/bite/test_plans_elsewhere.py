"""Plans of other versions and GPUs, and plans that end the process: each check has a TensorRT that it alone refuses."""

from __future__ import annotations

import sys
import textwrap

import pytest

from pytest_trt.emulator import host, loading
from pytest_trt.records import Settings
from pytest_trt.runtime import preflight
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.preflight import Preflight, read_validity, try_plans
from suites import _compatible as suite

VERSIONS = ("tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7")


def runtime(plays="tensorrt-10.13", gpu="t4"):
    return discover(Settings(runtime="emulator", emulate=plays, gpu=gpu)).executor


def broken(rows):
    rows = list(rows)
    assert rows
    return {check for check, note in rows if note is not None}


@pytest.mark.parametrize("plays", VERSIONS)
def test_honest_versions_pass(plays):
    assert broken(suite.check_compatible(runtime(plays))) == set()


def accepts(**changes):
    def refusal_of(plan, product, version, sm, host_code):
        facts = {"version": version, "sm": sm, "host_code": host_code} | {
            name: change(plan) for name, change in changes.items()
        }
        return loading.refusal_of(plan, product, facts["version"], facts["sm"], facts["host_code"])

    return refusal_of


@pytest.mark.parametrize(
    ("refusal_of", "caught"),
    [
        (accepts(version=lambda plan: plan.version), {suite.VERSION, suite.HOST_CODE}),
        (accepts(host_code=lambda plan: True), {suite.HOST_CODE}),
        (accepts(sm=lambda plan: plan.sms[0]), {suite.HARDWARE}),
        (lambda plan, *facts: "no plan is loaded here", {suite.VERSION, suite.HARDWARE}),
    ],
    ids=["any version", "host code without leave", "any GPU", "no plan"],
)
def test_a_runtime_that_loads_too_much_or_too_little(monkeypatch, refusal_of, caught):
    monkeypatch.setattr(host, "refusal_of", refusal_of)
    assert broken(suite.check_compatible(runtime())) == caught


def test_a_compatible_plan_that_computes_otherwise(monkeypatch):
    monkeypatch.setattr(suite, "weights", lambda number: -suite.FEED[:1].T @ suite.FEED[:1, :5])
    assert broken(suite.check_compatible(runtime())) == {suite.VERSION, suite.HARDWARE}


STUB = """
    import ctypes, os, signal
    __version__ = "10.13.3.9"
    class ILogger:
        pass
    class Builder:
        pass
    class Runtime:
        def __init__(self, logger):
            self.logger = logger
        def deserialize_cuda_engine(self, data):
            if data == b"crash":
                ctypes.string_at(0)
            if data == b"abort":
                os.abort()
            if data == b"hang":
                signal.pause()
            if data == b"raise":
                raise RuntimeError("no such plan")
            if data == b"words":
                class E:
                    name = "ERROR"
                self.logger.log(E, "magic tag does not match")
            return object() if data == b"good" else None
"""


def test_what_a_plan_does_to_a_process_is_named(monkeypatch, tmp_path):
    (tmp_path / "tensorrt.py").write_text(textwrap.dedent(STUB))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    plans = {name: name.encode() for name in ("good", "crash", "words", "abort", "silent", "raise", "hang")}
    found = try_plans("tensorrt", plans, seconds=2)
    assert {name: each.outcome for name, each in found.items()} == {
        "good": preflight.LOADED,
        "crash": "crashed",
        "words": preflight.REFUSED,
        "abort": "crashed",
        "silent": preflight.SILENT,
        "raise": preflight.REFUSED,
        "hang": "hung",
    }
    assert "SIGSEGV" in found["crash"].words[0] and "magic tag" in found["words"].words[0]


@pytest.mark.parametrize(
    ("name", "ended", "caught"),
    [
        ("a good plan", Preflight("crashed", ("SIGSEGV",)), {suite.NO_CRASH}),
        ("a plan cut to 50 %", Preflight("hung", ("no end",)), {suite.NO_CRASH}),
        ("no bytes", Preflight(preflight.SILENT), {suite.IN_WORDS}),
        ("4096 zero bytes", Preflight(preflight.LOADED), {suite.IN_WORDS}),
        ("a good plan", Preflight(preflight.LOADED), set()),
    ],
)
def test_a_real_tensorrt_that_does_not_refuse_in_words(monkeypatch, name, ended, caught):
    honest = Preflight(preflight.REFUSED, ("no",))
    monkeypatch.setattr(
        suite, "try_plans", lambda product, plans: {n: ended if n == name else honest for n in plans}
    )
    assert broken(suite.check_contained(runtime(), bytes(range(256)), {})) == caught


def test_the_validity_of_a_header():
    rt = runtime("tensorrt_rtx-1.7", "l4")
    plan, others = suite.plans_of(rt)
    assert others and broken(suite.check_validity(rt, plan)) == set()
    assert read_validity(rt, bytes(64)) == "MALFORMED_ENGINE"
    assert broken(suite.check_validity(rt, bytes(64))) == {suite.VALIDITY}
    assert read_validity(runtime(), plan) == preflight.UNKNOWN


def test_a_header_that_is_called_good_whatever_it_is(monkeypatch):
    rt = runtime("tensorrt_rtx-1.7", "l4")
    plan, _ = suite.plans_of(rt)
    monkeypatch.setattr(suite, "read_validity", lambda rt, data: preflight.VALID)
    assert broken(suite.check_validity(rt, plan)) == {suite.VALIDITY}
