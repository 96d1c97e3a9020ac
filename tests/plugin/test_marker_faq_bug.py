"""`faq(number)` and `bug(id)`: what a test is there for."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt


def test_one_argument_each(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.faq(12)
        @pytest.mark.bug("B02")
        @pytest.mark.bug(id="B03")
        def test_a(): pass
    """)
    trt.run("--strict-markers").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "marker",
    ["faq()", "faq('12')", "faq(1, 2)", "faq(True)", "faq(claim=1)", "bug(2)", "bug()", "bug(url='x')"],
)
def test_wrong_arguments(trt: Trt, marker: str) -> None:
    trt.tests(f"import pytest\n@pytest.mark.{marker}\ndef test_a(): pass")
    assert f"marker {marker}: " in trt.refusal()
