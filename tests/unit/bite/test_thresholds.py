"""What makes a measurement fail."""

from __future__ import annotations

import pytest

from pytest_trt.bite.intervals import Share
from pytest_trt.bite.records import OURS, ProblemRow, SuiteRow
from pytest_trt.bite.score import OracleScore, PairScore
from pytest_trt.bite.thresholds import MUTANTS, pair_failures, suite_failures


def score(battery, caught, total=10_000, alarms=0, **fields):
    row = ProblemRow("fp32", "text", 1, named=["plain on normal: text"] * alarms)
    ours = OracleScore(OURS, Share(caught, total), Share(caught, total), Share(alarms, 500))
    return PairScore(battery, [row], [ours], **fields)


@pytest.mark.parametrize(("battery", "need"), [("quick", 9500), ("default", 9980), ("full", 9990)])
def test_each_battery_has_its_score(battery, need):
    assert pair_failures(score(battery, need)) == []
    (line,) = pair_failures(score(battery, need - 1))
    assert f"for the {battery} battery" in line


def test_families_count_on_the_larger_batteries():
    families = {"special": Share(997, 1000), "memory": Share(998, 1000)}
    assert pair_failures(score("quick", 10_000, families=families)) == []
    assert pair_failures(score("full", 10_000, families=families)) == [
        "family special: 0.9970 is below 0.998"
    ]


def test_one_false_alarm_is_too_many():
    (line,) = pair_failures(score("default", 10_000, alarms=1))
    assert "1 of 500 correct outputs were refused" in line and "plain on normal" in line


def test_nothing_measured_and_broken_faults_fail():
    assert "nothing was measured" in pair_failures(score("default", 0, total=0))[0]
    broken = score("default", 10_000)
    broken.rows[0].broken = ["x on big: text: ValueError: y"]
    assert "1 faults or kernels raised" in pair_failures(broken)[0]


def suite_row(name="a", outcome="caught", **fields):
    return SuiteRow(name, "memory", list(MUTANTS), ["fp32"], outcome, **fields)


def test_a_caught_fault_is_good():
    assert suite_failures([suite_row()], excused={}) == []
    assert suite_failures([suite_row(), suite_row("b", "not applicable")], excused={}) == []


@pytest.mark.parametrize(
    ("row", "excused", "words"),
    [
        (suite_row("b", "survived"), {}, "the suites do not catch b"),
        (suite_row("b", "caught"), {"b": "why"}, "take the excuse out"),
        (suite_row("b", "broken", note="no module"), {}, "could not be run with b: no module"),
        (
            suite_row("b", "refused", checks=["interval"], test="t"),
            {},
            "refuse the correct kernel b: t (interval)",
        ),
        (suite_row("b", "caught"), {"gone": "why"}, "gone is excused and is no fault"),
    ],
)
def test_what_fails(row, excused, words):
    (line,) = suite_failures([suite_row(), row], excused=excused)
    assert words in line


def test_an_excused_survivor_passes():
    assert suite_failures([suite_row(), suite_row("b", "survived")], excused={"b": "why"}) == []


def test_every_family_of_bugs_has_to_be_caught():
    row = suite_row()
    row.mutants = ["M01"]
    (line,) = suite_failures([row], excused={})
    assert "M02, M03" in line and "M33" not in line
    assert suite_failures([row], every=False, excused={}) == []
