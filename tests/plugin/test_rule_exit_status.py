"""The exit status changes from OK to TESTS_FAILED only; the hooks that say why come as a pair."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

FAKE_PROBLEM = """
def pytest_trt_make_problems(config, records):
    return [f"{len(records)} records, which is wrong", "this one is known"]

def pytest_trt_update_problems(config, problems, facts):
    problems[:] = [text for text in problems if "known" not in text]
"""


def add(trt: Trt, text: str) -> None:
    path = trt.pytester.path / "conftest.py"
    path.write_text(path.read_text() + text)


def test_a_problem_fails_a_passing_run(trt: Trt) -> None:
    add(trt, FAKE_PROBLEM)
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    result = trt.run("--trt-precision=int8")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["problem: 1 records, which is wrong"])
    assert "this one is known" not in result.stdout.str()


def test_other_statuses_stay(trt: Trt) -> None:
    add(trt, FAKE_PROBLEM)
    trt.tests("x = 1")
    assert trt.run().ret == pytest.ExitCode.NO_TESTS_COLLECTED
    trt.tests("def test_a(): assert 0")
    assert trt.run().ret == pytest.ExitCode.TESTS_FAILED


def test_no_problem_no_change(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    assert trt.run().ret == pytest.ExitCode.OK
