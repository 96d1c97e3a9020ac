"""The report in Markdown, short: for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_trt.report.outcomes import BAD
from pytest_trt.report.words import count, describe_checks, headline, list_facts, list_not_run

FAILURES = 20
ROWS = 10
CHECKS = 50


def render(document: Mapping[str, Any]) -> str:
    """Return a report as GitHub-flavoured Markdown: the summary, the first failures, the head of each section."""
    lines = ["# TensorRT conformance", "", f"**{quote(headline(document))}**", ""]
    for title, facts in list_facts(document):
        lines += [f"### {title}", "", *table(("", ""), facts), ""]
    not_run = list_not_run(document)
    if not_run:
        lines += ["### What was not", "", *table(("", ""), not_run), ""]
    for problem in document["problems"]:
        lines += [f"- problem: {quote(problem)}"]
    lines += _failures(document)
    checks = describe_checks(document)
    if checks:
        head = ("test", "precision", "checks", "verdicts", "elements", "bit-exact")
        lines += ["", "### Checks", "", *table(head, checks, CHECKS)]
    for section in document["sections"]:
        lines += ["", f"### {quote(section['title'])}", "", code(section["test"]), ""]
        lines += [f"{quote(line)}  " for line in section["text"]]
        if section["rows"]:
            names = section["head"] or [""] * len(section["rows"][0])
            lines += ["", *table(names, section["rows"], ROWS)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _failures(document: Mapping[str, Any]) -> list[str]:
    bad = [test for test in document["tests"] if test["outcome"] in BAD]
    lines = ["", "### Failures", ""] if bad else []
    for test in bad[:FAILURES]:
        words = test["errors"][0]["what"] if test["errors"] else test["troubles"][0]["words"]
        lines += [f"- {code(test['test'])} {test['outcome']}: {quote(words)}", f"  {code(test['replay'])}"]
    if len(bad) > FAILURES:
        lines.append(f"- ... {len(bad) - FAILURES} more in the report")
    return lines


def table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int = 1000) -> list[str]:
    """Return the lines of a Markdown table; rows behind the first `most` are counted."""
    lines = [_row(head), "|" + " --- |" * len(head)]
    lines += [_row(row) for row in rows[:most]]
    if len(rows) > most:
        lines += ["", f"... {count(len(rows) - most, 'more row')} in the report"]
    return lines


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(quote(cell) for cell in cells) + " |"


def quote(text: str) -> str:
    """Return text that Markdown shows as it is, on one line, also in a table."""
    flat = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]|~$@])", r"\\\1", flat)
    return re.sub(r"^(\d*)([.)]|[-+=#]+)(?= |$)", r"\1\\\2", flat)  # no list and no heading begins here


def code(text: str) -> str:
    """Return text in a code span whose fence is longer than any row of backticks in it."""
    flat = " ".join(str(text).split())
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if longest else ""
    return f"{fence}{gap}{flat}{gap}{fence}"
