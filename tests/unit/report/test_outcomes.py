"""The phases of a test, put together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_trt.report.outcomes import LONGEST, Ran, shorten


def phase(when: str, outcome: str, text: str = "", **more: Any) -> Any:
    longrepr = more.pop("longrepr", text)
    return SimpleNamespace(
        when=when, outcome=outcome, duration=0.5, longrepr=longrepr, longreprtext=text, **more
    )


SKIP = ("a.py", 3, "Skipped: no GPU")
SETUP, DOWN = phase("setup", "passed"), phase("teardown", "passed")


@pytest.mark.parametrize(
    ("phases", "outcome"),
    [
        ([SETUP, phase("call", "passed"), DOWN], "passed"),
        ([SETUP, phase("call", "failed", "E"), DOWN], "failed"),
        ([phase("setup", "failed", "E"), DOWN], "error"),
        ([SETUP, phase("call", "passed"), phase("teardown", "failed", "E")], "error"),
        ([SETUP, phase("call", "failed", "E"), phase("teardown", "failed", "E")], "failed"),
        ([phase("setup", "skipped", longrepr=SKIP), DOWN], "skipped"),
        ([SETUP, phase("call", "skipped", longrepr=SKIP), DOWN], "skipped"),
        ([SETUP, phase("call", "skipped", wasxfail="known"), DOWN], "xfailed"),
        ([SETUP, phase("call", "passed", wasxfail="known"), DOWN], "xpassed"),
        ([SETUP, phase("call", "failed", "[XPASS(strict)] known"), DOWN], "failed"),
        ([phase("???", "failed", "worker 'gw0' crashed")], "error"),
        ([SETUP], "unfinished"),  # Ctrl-C
        # subtests report inside of the call, with the id of the test
        ([SETUP, phase("call", "failed", "E"), phase("call", "passed"), DOWN], "failed"),
        ([SETUP, phase("call", "skipped", longrepr=SKIP), phase("call", "passed"), DOWN], "passed"),
        # a plugin runs the test again
        ([SETUP, phase("call", "rerun", "E"), DOWN, SETUP, phase("call", "passed"), DOWN], "passed"),
        ([SETUP, phase("call", "failed", "E"), DOWN, SETUP, phase("call", "passed"), DOWN], "passed"),
    ],
)
def test_outcome(phases: list[Any], outcome: str) -> None:
    ran = Ran("t")
    for one in phases:
        ran.add(one)
    assert ran.outcome == outcome
    assert bool(ran.troubles) == (outcome in ("failed", "error"))


def test_seconds_are_of_all_phases_of_the_last_run() -> None:
    ran = Ran("t")
    for one in [SETUP, phase("call", "passed"), DOWN, SETUP, phase("call", "passed"), DOWN]:
        ran.add(one)
    assert ran.seconds == 1.5


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (phase("setup", "skipped", longrepr=SKIP), "no GPU"),
        (phase("call", "skipped", wasxfail="reason: known"), "known"),
        (phase("call", "skipped", "text of another plugin"), "text of another plugin"),
    ],
)
def test_reason(report: Any, reason: str) -> None:
    ran = Ran("t")
    ran.add(report)
    assert ran.reason == reason


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            phase(
                "call",
                "failed",
                "long",
                longrepr=SimpleNamespace(reprcrash=SimpleNamespace(message="\nA\nB")),
            ),
            "A",
        ),
        (phase("call", "failed", "first\nE   last\n\n"), "E   last"),
        (phase("call", "failed", ""), "no words"),
    ],
)
def test_words_are_one_line(report: Any, words: str) -> None:
    ran = Ran("t")
    ran.add(report)
    assert ran.troubles[0]["words"] == words


def test_a_long_text_keeps_both_ends() -> None:
    text = "a" * LONGEST + "b" * LONGEST
    kept = shorten(text)
    assert kept.startswith("a" * (LONGEST // 2)) and kept.endswith("b" * (LONGEST // 2))
    assert f"... {LONGEST} characters left out ..." in kept
    assert shorten("a" * LONGEST) == "a" * LONGEST
