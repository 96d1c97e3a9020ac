"""The tables of claims and bugs: each row has a test, and no test checks what is no row."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pytest_trt import settings
from pytest_trt.cases.bugs import BUGS, CHECKS
from pytest_trt.cases.claims import CLAIMS
from pytest_trt.cases.triggers import TRIGGERS
from pytest_trt.emulator.faults import FAULTS

SUITES = Path(__file__).parents[3] / "suites"


def marked(name: str) -> dict[object, set[str]]:
    """Return the files of the suites that carry a marker, by its argument."""
    found: dict[object, set[str]] = {}
    for path in sorted(SUITES.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr == name and isinstance(node.func.value, ast.Attribute):
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        found.setdefault(argument.value, set()).add(path.name)
    return found


def test_the_tables_are_whole():
    assert list(CLAIMS) == [f"faq-{number}" for number in range(1, settings.FAQ_ITEMS + 1)]
    assert list(BUGS) == [f"B{number:02}" for number in range(1, settings.BUGS + 1)]


@pytest.mark.parametrize("name", CLAIMS)
def test_each_claim_of_the_faq_has_a_test(name):
    assert marked("faq").get(CLAIMS[name].number), (
        f"no test of the suites is marked faq({CLAIMS[name].number})"
    )


@pytest.mark.parametrize("name", BUGS)
def test_each_bug_has_a_test_or_a_reason(name):
    written = [each for each in TRIGGERS.values() if each.bug == name] or marked("bug").get(name)
    assert bool(written) != bool(BUGS[name].unwritable), (
        "a bug has triggers or a reason why not, one of the two"
    )


def test_nothing_is_marked_that_is_no_row():
    assert set(marked("faq")) == {claim.number for claim in CLAIMS.values()}
    assert set(marked("bug")) | {each.bug for each in TRIGGERS.values()} <= set(BUGS)


@pytest.mark.parametrize("name", TRIGGERS)
def test_each_trigger_has_a_fault_that_imitates_its_bug(name):
    each = TRIGGERS[name]
    others = [other for other in TRIGGERS.values() if other.bug == each.bug and other.faults]
    assert each.sentence.endswith("."), "the docstring's first line says what has to hold"
    assert others, f"no fault imitates {each.bug}"
    assert set(each.faults) <= set(FAULTS)


@pytest.mark.parametrize("bug", BUGS.values(), ids=lambda bug: bug.name)
def test_links(bug):
    assert all(
        link.startswith("https://github.com/") and link.rpartition("/")[2].isdigit() for link in bug.links
    )
    assert set(bug.checks) <= set(CHECKS)
