"""Words for a report's document, shared by the HTML page and the Markdown summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_trt.records import CONFORMS, PRECISIONS
from pytest_trt.report.facts import PLAYED
from pytest_trt.report.outcomes import BAD, UNFINISHED

_HYBRID = {"off": "fp32"}


def count(number: int, thing: str) -> str:
    """Return a number with its thing, in the plural where that is right: `1 test`, `2,000 tests`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def headline(document: Mapping[str, Any]) -> str:
    """Return the verdict on the session, in one line."""
    outcomes = document["outcomes"]
    total = sum(outcomes.values())
    bad = sum(outcomes[name] for name in BAD)
    if bad:
        return f"Failed: {bad:,} of {count(total, 'test')}"
    if document["collection"]:
        return f"Not run: {count(len(document['collection']), 'file')} could not be collected"
    if document["problems"]:
        return f"Failed: {count(len(document['problems']), 'problem')} of the session as a whole"
    if document["exit_status"]["code"]:
        ended = count(total - outcomes[UNFINISHED], "test")
        return f"Ended early: {document['exit_status']['name']}; {ended} ran until then"
    return (
        f"Passed: {counted({name: number for name, number in outcomes.items() if number}) or 'no test ran'}"
    )


def counted(counts: Mapping[str, int]) -> str:
    """Return names with their numbers, in the order of the names."""
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items()))


def list_facts(document: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the summary: what was checked, on what, how strictly; each with its lines."""
    return [
        ("What was checked", _checked(document)),
        ("On what", _where(document["session"], document["packages"])),
        ("How strictly", _strictness(document)),
    ]


def _checked(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    totals = document["totals"]
    outcomes = {name: number for name, number in document["outcomes"].items() if number}
    lines = [("tests", counted(outcomes) or "none")]
    if totals:
        lines.append(("checks", f"{totals.get('checks', 0):,}: {counted(totals.get('statuses', {}))}"))
        share = percent(totals.get("certified", 0), totals.get("compared", 0))
        lines.append(("elements judged", f"{totals.get('compared', 0):,}; {share} of them to the bit"))
    for key, words in (("data", "kinds of data"), ("relations", "relations that held")):
        if totals.get(key):
            lines.append((words, counted(totals[key])))
    return lines


def _where(session: Mapping[str, Any], packages: Mapping[str, str]) -> list[tuple[str, str]]:
    executor, gpu = session["executor"], session["gpu"]
    if executor is None:
        lines = [("executed by", "nothing executed")]
    else:
        lines = [("executed by", executor["title"]), ("device", executor["device"])]
        if executor["emulated"]:
            lines.append(("note", PLAYED))
    if session["builder"] is not None:
        lines.append(("real builder", session["builder"]))
    if gpu is not None:
        role = " (expected)" if executor is None else " (emulated)" if executor["emulated"] else ""
        words = f"{gpu['name']}: {gpu['title']}, sm_{gpu['sm']}"
        lines.append(("GPU class", words + role))
    if session["line"]:
        lines.append(("session", session["line"]))
    lines.append(("packages", ", ".join(f"{name} {version}" for name, version in packages.items())))
    return lines


def _strictness(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    session = document["session"]
    settings, totals = session["settings"], document["totals"]
    lines = [
        ("precisions", " ".join(settings["precisions"])),
        ("budget", f"{settings['budget']}: {count(session['examples'], 'configuration')} per property test"),
        ("data", " ".join(settings["data"])),
        ("seed", str(settings["seed"])),
        ("typing", f"{settings['typing']}; layer constraints {settings['constraints']}"),
        (
            "INT8",
            f"{settings['int8']}; what is not INT8: {_HYBRID.get(settings['hybrid'], settings['hybrid'])}",
        ),
        ("rewriter", settings["rewriter"]),
        ("rungs that pass", " ".join(settings["rungs"])),
    ]
    for key, words in (("allow", "allowed besides"), ("require", "required"), ("faults", "injected faults")):
        if settings[key]:
            lines.append((words, " ".join(settings[key])))
    for text, number in sorted(totals.get("tolerances", {}).items()):
        lines.append(("tolerance of a marker", f"{text}: {count(number, 'check')}"))
    return lines


def list_not_run(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was not run or not judged, with the reason and, where there is one, the way to get it."""
    told, session = document["not_run"], document["session"]
    gpu = session["gpu"]["name"] if session["gpu"] else "this GPU"
    lines = []
    if told["deselected"]:
        lines.append(
            (count(told["deselected"], "test"), "deselected: no precision of the test was asked for")
        )
    for one in told["not_applicable"]:
        lines.append((count(one["tests"], "test"), f"not applicable on {gpu}: {one['reason']}"))
    for one in told["missing"]:
        words = f"skipped for lack of {one['requirement']}: {one['reason']}; to get it: {one['mend']}"
        lines.append((count(one["tests"], "test"), words))
    for one in told["skipped"]:
        lines.append((count(one["tests"], "test"), f"skipped: {one['reason'] or 'no reason given'}"))
    for operator, number in sorted(document["totals"].get("unjudged", {}).items()):
        lines.append((count(number, "node"), f"unjudged: operator {operator} has no limit"))
    for one in document["collection"]:
        lines.append(("1 file", f"not collected: {one['where']}: {one['words']}"))
    return lines


def describe_checks(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of checks: test, precision, checks, verdicts, elements, bit-exact."""
    return [
        (
            one["test"],
            one["precision"],
            f"{one['checks']:,}",
            _verdicts(one),
            f"{one.get('compared', 0):,}",
            percent(one.get("certified", 0), one.get("compared", 0)),
        )
        for one in document["checks"]
    ]


def _verdicts(counts: Mapping[str, Any]) -> str:
    statuses = sorted(counts.get("statuses", {}).items(), key=lambda item: (item[0] != CONFORMS, item[0]))
    return ", ".join(s if number == counts["checks"] else f"{number:,} {s}" for s, number in statuses)


def percent(part: int, whole: int) -> str:
    """Return a share in whole percent; 100 % only for all, 0 % only for none."""
    if not whole:
        return "-"
    share = round(100 * part / whole)
    if part < whole and share == 100:
        return "> 99 %"
    if part and not share:
        return "< 1 %"
    return f"{share} %"


def support_table(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the support map: operator family by GPU class and precision."""
    cells = {(one["family"], one["gpu"], one["precision"]): one["outcomes"] for one in document["support"]}
    columns = sorted(
        {(gpu, precision) for _, gpu, precision in cells},
        key=lambda pair: (pair[0], PRECISIONS.index(pair[1]) if pair[1] in PRECISIONS else len(PRECISIONS)),
    )
    rows = []
    for family in sorted({family for family, _, _ in cells}):
        found = [cells.get((family, *column)) for column in columns]
        rows.append([family, *("-" if cell is None else counted(cell) for cell in found)])
    return ["family", *(f"{precision} {gpu}" for gpu, precision in columns)], rows


def place(finding: Mapping[str, Any]) -> str:
    """Return where the worst element of a finding is, by the names of the axes where they are known."""
    index, axes = finding["index"], finding["axes"]
    if len(index) != len(axes):
        return ", ".join(str(at) for at in index)
    return ", ".join(f"{axis}={at}" for axis, at in zip(axes, index, strict=True))
