"""`trt_data(*kinds)`: the data of one test."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_reaches_the_check(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.trt_data("special", "quick")
        def test_a(trt_check, pytestconfig):
            trt_check(b"m")
            data = pytestconfig.fake_workbench.last["data"]
            assert data == ("special", "uniform11", "int_small", "int_ties", "tiny")
        def test_b(trt_check, pytestconfig):
            trt_check(b"m")
            assert pytestconfig.fake_workbench.last["data"] is None
    """)
    trt.run("--trt-precision=fp16").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'tinny'", "marker trt_data('tinny'): 'tinny' is unknown; good values: quick, default, full"),
        ("", "marker trt_data(): no kind of data is named"),
        ("3", "3 is no kind of data"),
        ("kind='tiny'", "unknown argument 'kind'"),
    ],
)
def test_wrong_arguments(trt: Trt, arguments: str, words: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.trt_data({arguments})\ndef test_a(trt_check): pass")
    assert words in trt.refusal()
