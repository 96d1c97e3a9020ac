"""`--trt-claim`: only the tests of some claims of the FAQ or public bugs, and what is kept of how they ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_trt.report.claims import load
from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal

TESTS = """
    import pytest
    @pytest.mark.faq(12)
    def test_twelve(): pass
    @pytest.mark.faq(7)
    @pytest.mark.bug("B02")
    def test_both(): pass
    @pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.bug("B03")), 2])
    def test_one_of_two(number): pass
    @pytest.mark.bug("OURS-17")
    def test_ours(): pass
    def test_none(): pass
"""


def cache() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "pytest-trt"


def test_precedence(trt: Trt) -> None:
    check_precedence(
        trt,
        "--trt-claim",
        [],
        (("faq-1", ["faq-1"]), ("B02,b3", ["B02", "B03"]), ("FAQ-07,OURS-17", ["faq-7", "OURS-17"])),
    )


@pytest.mark.parametrize("bad", ["faq-19", "faq-0", "B59", "B0"])
def test_refusal(trt: Trt, bad: str) -> None:
    check_refusal(trt, "--trt-claim", bad, "faq-1 to faq-18", "B01 to B58", "python -m pytest_trt claims")


@pytest.mark.parametrize(
    ("claim", "passed"),
    [("faq-12", 1), ("B02", 1), ("faq-7", 1), ("B03", 1), ("B02,B03,faq-12", 3), ("OURS-17", 1)],
)
def test_only_these_run(trt: Trt, claim: str, passed: int) -> None:
    trt.tests(TESTS)
    trt.run(f"--trt-claim={claim}").assert_outcomes(passed=passed, deselected=6 - passed)


def test_without_the_option_all_run(trt: Trt) -> None:
    trt.tests(TESTS)
    trt.run().assert_outcomes(passed=6)


def test_it_works_where_nothing_executes(trt: Trt) -> None:
    trt.tests(TESTS)
    trt.run("--trt-claim=B02", "--trt-runtime=off").assert_outcomes(passed=1, deselected=5)


def test_the_summary_counts_claims_and_bugs(trt: Trt) -> None:
    trt.tests("""
        import pytest
        @pytest.mark.faq(1)
        def test_good(): pass
        @pytest.mark.faq(2)
        def test_bad(): assert False, "no luck"
        @pytest.mark.faq(3)
        def test_elsewhere(): pytest.skip("not applicable: 11.4 has no calibrators")
        @pytest.mark.bug("B02")
        def test_bug(): assert False, "it is back"
        @pytest.mark.bug("B03")
        def test_lacks(): pytest.skip("no GPU")
    """)
    result = trt.run()
    result.stdout.fnmatch_lines(
        [
            "Claims and known bugs, *",
            "*FAQ claims: broken 1, not applicable 1, holds 1",
            "*public bugs: present 1, not run 1",
            "*faq-2 *broken*1*no luck*",
            "*B02 *present*",
        ]
    )
    (kept,) = load(cache())
    assert {name: told["outcome"] for name, told in kept["results"].items()} == {
        "faq-1": "holds",
        "faq-2": "broken",
        "faq-3": "not applicable",
        "B02": "present",
        "B03": "not run",
    }
    assert "no luck" in kept["results"]["faq-2"]["words"]


def test_what_was_not_asked_again_is_kept(trt: Trt) -> None:
    trt.tests(TESTS)
    trt.run()
    trt.run("--trt-claim=B02", "--trt-cache-dir", str(cache()))
    (kept,) = load(cache())
    assert set(kept["results"]) == {"faq-7", "faq-12", "B02", "B03", "OURS-17"}


def test_with_a_fault_nothing_is_kept(trt: Trt) -> None:
    trt.tests(TESTS)
    trt.run("--trt-fault=pytest_trt.emulator.faults:zeros_returned", "--trt-runtime=emulator")
    assert load(cache()) == []


def test_a_cache_that_cannot_be_written_fails_nothing(trt: Trt) -> None:
    trt.tests(TESTS)
    place = trt.pytester.path / "file"
    place.write_text("")
    trt.run("--trt-cache-dir", str(place)).assert_outcomes(passed=6)


def test_under_xdist(trt: Trt) -> None:
    pytest.importorskip("xdist")
    trt.tests(TESTS)
    result = trt.run_apart("-p", "trt", "-p", "xdist", "-n2", "--trt-claim=faq-12,B03")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*FAQ claims: holds 1"])
    (kept,) = load(cache())
    assert json.dumps(kept["results"]["B03"]["tests"]) == '{"passed": 1}'


def test_a_session_without_claims_keeps_nothing(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    trt.run()
    assert not cache().exists()
