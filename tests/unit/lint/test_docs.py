"""docs/lint.md has a row for each rule, with the severities that it can have."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_trt.hardware import get
from pytest_trt.lint import RULES, SEVERITIES, lint

from .models import POSITIVE

TEXT = (Path(__file__).parents[3] / "docs" / "lint.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z0-9-]+)` \| ([a-z, ]+) \|", TEXT, re.M))


def test_each_rule_has_its_row() -> None:
    assert set(ROWS) == set(RULES)
    assert {word for row in ROWS.values() for word in row.split(", ")} <= set(SEVERITIES)


def test_the_severity_of_each_planted_defect_is_in_its_row() -> None:
    for name, make in POSITIVE.items():
        for advice in lint(make(), gpu=get("t4"), precisions=["fp16", "int8"]):
            assert advice.severity in ROWS[name].split(", "), name


def test_what_fix_rewrites_is_marked() -> None:
    marked = {name for name in ROWS if re.search(rf"^\| `{name}` .*--fix", TEXT, re.M)}
    fixable = {
        advice.rule
        for make in POSITIVE.values()
        for advice in lint(make(), gpu=get("t4"), precisions=["fp16", "int8"])
        if advice.fixable
    }
    assert marked == fixable
