"""A precision that the GPU class has no path for is not applicable: never a failure, never required."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_deselected_and_counted(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_precision): assert trt_precision != "bf16"
        def test_b(trt_check): pass
    """)
    result = trt.run("--gpu=t4", "--trt-precision=bf16,int8")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.fnmatch_lines(["not applicable on t4: bf16 has no tensor-core or native path: 2 tests"])
    assert result.ret == 0


def test_applicable_on_another_class(trt: Trt) -> None:
    trt.tests("def test_a(trt_precision): pass")
    trt.run("--gpu=a100", "--trt-precision=bf16,tf32").assert_outcomes(passed=2)


def test_never_required(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): pass")
    result = trt.run("--gpu=t4", "--trt-precision=bf16", "--trt-require=gpu,build,execute")
    result.assert_outcomes(deselected=1)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_not_counted_when_pytest_itself_deselects(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_precision): pass
        def test_b(trt_precision): pass
    """)
    result = trt.run("--gpu=t4", "--trt-precision=bf16,int8", "-k", "test_a")
    result.stdout.fnmatch_lines(["not applicable on t4: bf16 has no tensor-core or native path: 1 test"])


def test_an_explicit_precision_of_a_call_is_the_callers_business(trt: Trt) -> None:
    trt.tests("def test_a(trt_build): assert trt_build(b'm', precision='bf16')[2] == 'bf16'")
    trt.run("--gpu=t4", "--trt-precision=int8").assert_outcomes(passed=1)
