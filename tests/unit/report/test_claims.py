"""What becomes of claims and bugs, from the reports of their tests."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.report import claims
from pytest_trt.report.claims import ClaimBook, Result, count_words, load, make_section, store
from pytest_trt.report.ledger import CLAIMS, FIDELITY


def report(test, names, outcome="passed", words="", fidelity="", worker=""):
    properties = [(CLAIMS, list(names))] if names else []
    if fidelity:
        properties.append((FIDELITY, fidelity))
    lines = ("file.py", 3, f"Skipped: {words}") if outcome == "skipped" else words
    made = SimpleNamespace(
        nodeid=test,
        when="call",
        outcome=outcome,
        passed=outcome == "passed",
        failed=outcome == "failed",
        skipped=outcome == "skipped",
        duration=0.1,
        longrepr=lines,
        longreprtext=words,
        user_properties=properties,
    )
    if worker:
        made.worker_id = worker
    return made


def book(*reports):
    made = ClaimBook()
    for each in reports:
        made.add(each)
    return made


@pytest.mark.parametrize(
    ("outcomes", "name", "want"),
    [
        (["passed", "failed"], "faq-1", claims.BROKEN),
        (["passed", "failed"], "B01", claims.PRESENT),
        (["passed", "skipped"], "faq-1", claims.HOLDS),
        (["passed"], "B01", claims.FIXED),
        (["skipped"], "B01", claims.NOT_RUN),
        (["skipped", "inapplicable"], "faq-3", claims.NOT_RUN),
        (["inapplicable"], "faq-3", claims.INAPPLICABLE),
    ],
)
def test_the_outcome_of_a_claim(outcomes, name, want):
    made = book(
        *(
            report(f"t{place}", [name], "skipped", "not applicable: it is not")
            if outcome == "inapplicable"
            else report(f"t{place}", [name], outcome, "why", "configuration")
            for place, outcome in enumerate(outcomes)
        )
    )
    assert made.results()[name].outcome == want


def test_a_stand_in_does_not_say_that_a_bug_is_gone():
    alone = book(report("a", ["B07"], fidelity="stand-in"))
    both = book(report("a", ["B07"], fidelity="stand-in"), report("b", ["B07"], fidelity="configuration"))
    assert alone.results()["B07"].outcome == claims.NOT_SEEN
    assert both.results()["B07"].outcome == claims.FIXED


def test_the_emulator_says_nothing_about_a_bug_of_tensorrt():
    assert book(report("a", ["B07"])).results(emulated=True)["B07"].outcome == claims.PASSES


def test_other_tests_are_not_kept_and_one_test_may_have_several_claims():
    made = book(report("a", []), report("b", ["faq-7", "B02", "faq-12"]))
    assert list(made.results()) == ["faq-7", "faq-12", "B02"]


def test_words_say_why():
    made = book(
        report("a", ["faq-1"], "skipped", "no GPU here"),
        report("b", ["faq-2"], "failed", "E   it broke"),
        report("c", ["faq-3"]),
    ).results()
    assert (
        "no GPU here" in made["faq-1"].words
        and "it broke" in made["faq-2"].words
        and made["faq-3"].words == ""
    )


def test_the_section_has_what_does_not_hold_first():
    made = book(report("a", ["faq-1"]), report("b", ["faq-2"], "failed", "no"), report("c", ["B01"]))
    section = make_section(made.results(), "here")
    assert [row[0] for row in section["rows"]] == ["faq-2", "B01", "faq-1"]
    assert section["text"] == ["FAQ claims: broken 1, holds 1", "public bugs: fixed 1"]


def test_nothing_is_counted_of_nothing():
    assert count_words([]) == []


def test_each_place_has_its_own_results(tmp_path):
    result = Result("faq-1")
    result.tests["passed"] = 2
    store({"faq-1": result}, tmp_path, "one / place", "2026-01-01T00:00:00+00:00")
    store({"faq-1": result}, tmp_path, "one - place", "2026-01-02T00:00:00+00:00")
    assert [kept["where"] for kept in load(tmp_path)] == ["one - place", "one / place"]
    assert load(tmp_path)[0]["results"]["faq-1"]["tests"] == {"passed": 2}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99, "where": "x", "results": {}}', "\xff"])
def test_files_that_are_not_ours_are_passed_over(tmp_path, text):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "x.json").write_bytes(text.encode("latin-1"))
    assert load(tmp_path) == []
