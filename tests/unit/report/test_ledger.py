"""What tests reported is kept once, however often a report repeats it."""

from __future__ import annotations

from pytest_trt.records import Verdict
from pytest_trt.report.ledger import PROPERTY, SUPPORT, Ledger
from pytest_trt.report.plain import to_text
from pytest_trt.report.tally import Tally

ENTRY = (SUPPORT, ["conv2d", "int8", "t4", "builds"])
OTHER = (SUPPORT, ["gemm", "int8", "t4", "builds"])


def tally(checks: int) -> tuple[str, str]:
    made = Tally("t.py::test_a")
    for _ in range(checks):
        made.add("int8", Verdict("conforms", compared=10))
    return PROPERTY, made.to_text()


def test_reports_of_later_phases_repeat_what_is_known() -> None:
    ledger = Ledger()
    for properties in ([], [ENTRY, ("others", 1)], [ENTRY, ("others", 1), OTHER]):
        ledger.add("t", properties)
    assert ledger.records == [("t", *ENTRY), ("t", *OTHER)]


def test_the_same_name_may_run_twice() -> None:
    """In two processes, or because it was given twice."""
    ledger = Ledger()
    for run in ("gw0", "gw1"):
        ledger.add("t", [ENTRY], run)
    ledger.add("u", [ENTRY])
    ledger.add("u", [OTHER])
    assert len(ledger.records) == 4


def test_counts_that_go_on_are_not_added_up() -> None:
    """Each subtest makes a report with the counts of its test until then."""
    ledger = Ledger()
    ledger.add("t", [tally(1)])
    ledger.add("t", [tally(1), tally(3)])
    assert [counts.checks for counts in ledger.tallies().values()] == [3]
    ledger.add("t", [tally(2)], "gw1")
    ledger.add("t2", [tally(2)])
    assert [counts.checks for counts in ledger.tallies().values()] == [7]
    assert [counts.checks for counts in ledger.tallies().values()] == [7], "asking changes nothing"


def test_sections_come_by_test_and_in_their_order() -> None:
    ledger = Ledger()
    for test, titles in (("b", "21"), ("a", "43")):
        ledger.add(test, [("trt_section", to_text({"title": title})) for title in titles])
    assert [(test, section["title"]) for test, section in ledger.sections()] == [
        ("a", "4"),
        ("a", "3"),
        ("b", "2"),
        ("b", "1"),
    ]


def test_failures_are_ours_alone() -> None:
    ledger = Ledger()
    ledger.add("t", [("trt_failure", "of someone else")])
    assert ledger.failures() == {}
