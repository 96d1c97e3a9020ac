"""`trt_build`, `trt_session`, `trt_check`, `trt_compare`: session-scoped covers of the workbench."""

from __future__ import annotations

import contextlib

from tests.plugin.conftest import Trt


def test_take_the_precision_of_the_running_case(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_build, trt_session, trt_precision):
            profile = {"x": ((1,), (2,), (3,))}
            assert trt_build(b"m") == ("build", b"m", trt_precision, None, {})
            assert trt_session(b"m", profile=profile, outputs=("a",)) == (
                "session", b"m", trt_precision, profile, {"outputs": ("a",)})
    """)
    trt.run().assert_outcomes(passed=3)


def test_an_explicit_precision_overrides_for_that_call(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_build, trt_precision):
            assert trt_build(b"m", precision="tf32")[2] == "tf32"
            assert trt_build(b"m")[2] == trt_precision
    """)
    trt.run().assert_outcomes(passed=3)


def test_check_tells_drawn_data_from_the_callers(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_check, pytestconfig):
            assert trt_check(b"m").status == "conforms"
            assert pytestconfig.fake_workbench.last["drawn"] is True
            trt_check(b"m", {"x": 1}, calibration=[{"x": 2}], profile={"x": 3}, precision="bf16")
            last = pytestconfig.fake_workbench.last
            assert last["drawn"] is False and last["inputs"] == {"x": 1}
            assert last["calibration"] == [{"x": 2}] and last["profile"] == {"x": 3}
            assert last["precision"] == "bf16"
    """)
    trt.run("--trt-precision=int8").assert_outcomes(passed=1)


def test_compare_needs_no_precision(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_compare):
            assert trt_compare(1.0, 1.5, limit=1).passed
            assert not trt_compare(1.0, 3, limit=1).passed
    """)
    trt.run().assert_outcomes(passed=1)


def test_legal_under_given(trt: Trt) -> None:
    trt.tests("""
        from hypothesis import given, settings, strategies as st
        @settings(max_examples=5, database=None)
        @given(n=st.integers(0, 3))
        def test_a(trt_check, trt_build, trt_precision, n):
            assert trt_build(n)[1:3] == (n, trt_precision)
            trt_check(b"m")
    """)
    trt.run("--trt-precision=int8,fp16").assert_outcomes(passed=2)


def test_without_a_precision_the_mend_is_told(trt: Trt) -> None:
    trt.tests("def test_a(request): request.getfixturevalue('trt_check')(b'm')")
    result = trt.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*UsageError: trt_check: the running test has no precision", "*or give precision='fp32'"]
    )


def test_legal_in_fixtures_of_wider_scope(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.fixture(scope="module")
        def mine(trt_build): return trt_build(b"m", precision="fp32")
        def test_a(mine): assert mine[2] == "fp32"
    """)
    trt.run("--trt-precision=int8,fp16").assert_outcomes(passed=2)


def test_the_workbench_is_closed_once_at_the_end(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    trt.run()
    assert trt.pytester.path.joinpath("closed.txt").read_text() == "closed\n"


def test_the_workbench_is_closed_after_ctrl_c(trt: Trt) -> None:
    trt.tests("""
        def test_a(trt_check):
            trt_check(b'm')
            raise KeyboardInterrupt
    """)
    with contextlib.suppress(KeyboardInterrupt):
        trt.run()
    assert trt.pytester.path.joinpath("closed.txt").read_text() == "closed\n"
