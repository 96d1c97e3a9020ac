"""A test runs once per precision if it uses `trt_precision`, directly or through a fixture."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


@pytest.mark.parametrize(
    "fixture",
    [
        "trt_precision",
        "trt_engine",
        "engine",
        "trt_context",
        "context",
        "trt_build",
        "trt_session",
        "trt_check",
    ],
)
def test_multiplied(trt: Trt, fixture: str) -> None:
    trt.tests(f"""
        import pytest
        @pytest.mark.trt_model(b"m")
        def test_a({fixture}): pass
    """)
    result = trt.run("-v", "--trt-precision=fp32,int8")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_a[[]fp32] PASSED*", "*test_a[[]int8] PASSED*"])


@pytest.mark.parametrize(
    "fixture", ["trt_settings", "trt_gpu", "trt_runtime", "trt_compare", "stream", "tmp_path"]
)
def test_not_multiplied(trt: Trt, fixture: str) -> None:
    trt.tests(f"def test_a({fixture}): pass")
    result = trt.run("-v", "--trt-precision=fp32,int8")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_a PASSED*"])


def test_through_fixtures_of_the_project(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.fixture
        def low(trt_precision): return trt_precision
        @pytest.fixture
        def high(low): return low
        def test_a(high): assert high in ("fp32", "int8")
        @pytest.mark.usefixtures("high")
        def test_b(): pass
    """)
    trt.run("--trt-precision=fp32,int8").assert_outcomes(passed=4)


def test_beside_other_parameters_and_in_classes(trt: Trt) -> None:
    trt.tests("""
        import pytest
        class TestIt:
            @pytest.mark.parametrize("n", [1, 2, 3])
            def test_a(self, n, trt_precision, trt_build):
                assert trt_build(n)[1:3] == (n, trt_precision)
    """)
    trt.run("--trt-precision=fp32,int8").assert_outcomes(passed=6)


def test_one_precision_still_shows_in_the_id(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): pass")
    trt.run("--trt-precision=int8", "test_it.py::test_a[int8]").assert_outcomes(passed=1)


def test_a_test_that_parametrizes_itself_keeps_its_values(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.parametrize("trt_precision", ["int8", "tf32"])
        def test_a(trt_precision, trt_build): assert trt_build(b"m")[2] == trt_precision
    """)
    trt.run("--gpu=a100", "--trt-precision=int8,tf32,fp32").assert_outcomes(passed=2)
    trt.run("--gpu=a100", "--trt-precision=int8").assert_outcomes(passed=1, deselected=1)


def test_an_unknown_precision_of_its_own_is_refused_and_not_deselected(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.parametrize("n, trt_precision", [(1, "fp16"), pytest.param(2, "fp15", id="b")])
        def test_a(n, trt_precision, trt_build): pass
    """)
    words = trt.refusal("test_it.py")
    assert "test_it.py::test_a: trt_precision 'fp15' is unknown" in words
    assert "good values: fp32, tf32, fp16, bf16, int8" in words


def test_the_default_is_three_precisions(trt: Trt) -> None:
    trt.tests("def test_a(trt_precision): pass")
    trt.run().assert_outcomes(passed=3)
