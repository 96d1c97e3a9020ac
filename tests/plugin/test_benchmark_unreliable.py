"""A number that cannot be relied on neither fails nor passes a comparison in silence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.benchmarking import Benchmarks
from pytest_trt.report.sections import read_section
from tests.plugin.benches import COLD, PLUGIN, compare, compare_apart, give, prepare, store
from tests.plugin.conftest import Trt

GATE = "--benchmark-compare-fail=median:5%"
NONE = (
    "problem: --benchmark-compare-fail compared no benchmark of ours, and what cannot be judged is no pass: "
)


def test_without_a_comparison_it_is_named(trt: Trt) -> None:
    give(prepare(trt), wrong={"a": COLD})
    result = trt.run(*PLUGIN, "test_speed.py")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["  unreliable: test_speed.py::test_a: now: the SM clock moved by 30 %"])
    assert "unreliable: test_speed.py::test_b" not in result.stdout.str()


def test_unreliable_now_does_not_fail_and_is_named(trt: Trt) -> None:
    store(prepare(trt))
    give(trt, a=5e-3, wrong={"a": COLD})
    result = compare(trt, GATE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["  unreliable, not compared: test_speed.py::test_a: now: the SM clock moved by 30 %"]
    )


def test_unreliable_before_does_not_fail_and_is_named(trt: Trt) -> None:
    give(prepare(trt), wrong={"b": COLD})
    store(trt)
    give(trt, b=9e-3)
    result = compare(trt, GATE)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["  unreliable, not compared: test_speed.py::test_b: stored 20*: the SM clock moved by 30 %"]
    )


def test_the_others_are_compared_all_the_same(trt: Trt) -> None:
    store(prepare(trt))
    give(trt, a=5e-3, b=5e-3, wrong={"a": COLD})
    result = compare_apart(trt, GATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "test_b" in result.stderr.str() and "test_a" not in result.stderr.str()
    assert "unreliable, not compared: test_speed.py::test_a" in result.stdout.str()


def test_a_gate_that_can_judge_nothing_fails(trt: Trt) -> None:
    give(prepare(trt), wrong={"b": COLD})
    store(trt)
    give(trt, wrong={"a": COLD})
    assert compare(trt).ret == 0
    result = compare(trt, GATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            f"{NONE}of 2 measured, 1 unreliable now, 1 unreliable when stored; measure again on an idle machine",
        ]
    )
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_gate_without_the_benchmarks_fails(trt: Trt) -> None:
    store(prepare(trt))
    result = trt.run(*PLUGIN, "--benchmark-compare", GATE)
    result.stdout.fnmatch_lines([f"{NONE}2 tests deselected; run with -m bench"])


def test_a_gate_of_new_benchmarks_fails(trt: Trt) -> None:
    store(prepare(trt), "-k", "test_a")
    result = trt.run(*PLUGIN, "test_speed.py", "-k", "test_b", "--benchmark-compare", GATE)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"{NONE}of 1 measured, 1 not in the stored run; *"])


def test_a_reason_that_many_have_is_told_once() -> None:
    """Twelve lines with one reason each hid the others (seen in the throughput of threads on a CPU)."""
    told = Benchmarks(SimpleNamespace())
    told.measured = {f"test_{number}": ("shared",) for number in range(5)} | {"test_5": ("shared", "cold")}
    told.unreliable_before = {"test_1": [("stored 2026", ("shared",))], "test_2": [("stored 2026", ("hot",))]}
    ledger = SimpleNamespace(records=[])
    told._tell(ledger)
    assert read_section(ledger.records[0][2])["text"] == [
        "unreliable: 6 benchmarks: shared",
        "unreliable: test_2: stored 2026: hot",
        "unreliable: test_5: now: cold",
    ]
