"""`trt_tolerance(atol=None, rtol=None, why=)`: replaces the derived interval."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_reaches_the_check_and_is_printed(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.trt_tolerance(rtol=1e-3, why="a lookup table in the plugin layer")
        def test_a(trt_check, pytestconfig):
            trt_check(b"m")
            tolerance = pytestconfig.fake_workbench.last["tolerance"]
            assert (tolerance.atol, tolerance.rtol) == (0, 1e-3)
    """)
    result = trt.run("--trt-precision=fp16")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["tolerance of a marker, 1x: rtol=0.001 (a lookup table in the plugin layer)"]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("atol=1", "the reason is missing"),
        ("atol=1, why=' '", "the reason is missing"),
        ("why='so'", "neither atol nor rtol is given"),
        ("1, why='so'", "its arguments have names"),
        ("atol=-1, why='so'", "atol=-1 is no finite number"),
        ("rtol='1', why='so'", "rtol='1' is no finite number"),
        ("rtol=float('nan'), why='so'", "rtol=nan is no finite number"),
        ("tol=1, why='so'", "unknown argument 'tol'"),
    ],
)
def test_wrong_arguments(trt: Trt, arguments: str, words: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.trt_tolerance({arguments})\ndef test_a(trt_check): pass")
    assert words in trt.refusal()
