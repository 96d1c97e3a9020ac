"""The document of an upgrade in words: one page of Markdown, and sections for the summary and the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_trt.golden.record import BENIGN, IDENTICAL, MISSING
from pytest_trt.golden.upgrade import ORDER

ROWS = 12
"""Rows of a table on the page; all of them are in the JSON and in the report."""

SHOWN = 4
"""Changes of one layer list on the page."""

# Of operations in TensorRT's words: `Cannot compile operation 'conv_y'`.
_QUOTED = re.compile(r"(?<=operation )'[^']*'")
_TITLES = {
    "plan_bytes": "plan size, bytes",
    "device_memory_bytes": "device memory, bytes",
    "build_seconds": "build time, s (not judged)",
}
_QUIET = (IDENTICAL, BENIGN, MISSING)


def render_markdown(report: Mapping[str, Any]) -> str:
    """Return the document of an upgrade as a page of GitHub-flavoured Markdown."""
    lines = [f"# Upgrade: {name_upgrade(report)}", "", f"**{count_classes(report)}**", ""]
    lines += [*_table(("", "then", "now"), report["place"]), ""]
    bad = [case for case in report["cases"] if case["class"] not in _QUIET]
    worse = [(case["class"], _why(case), case) for case in bad]
    lines += _part("Worse, or not comparable", _table(("class", "why", "cases"), _group(worse)), "nothing")
    for side in ("lost", "gained"):
        found = [(case["words"], case) for case in report["support"][side]]
        title = f"Support {side}: {len(found)} builds"
        lines += _part(title, _table(("words of the refusal", "cases"), _group(found)), "nothing")
    operators = report["operators"]
    told = [f"{side}: {', '.join(operators[side]) or 'none'}" for side in ("lost", "gained")]
    lines += ["## Operators of the parser", "", f"{'; '.join(told)}.", ""]
    layers = [(_shorten(row["changes"]), row) for row in report["layers"]]
    title = f"Layers and tactics: {len(layers)} builds changed"
    lines += _part(title, _table(("what", "cases"), _group(layers)), "nothing")
    lines += _part(
        "Sizes and times", _table(_SIZE_HEAD, map(_size, report["sizes"]), 99), "nothing was built both times"
    )
    stale = [(row["case"], row["header"], row["why"]) for row in report["calibration"]]
    lines += _part(
        f"Calibration caches that no longer apply: {len(stale)}",
        _table(("case", "header", "why"), stale),
        "none",
    )
    timing = [(row["case"], row["then"][:16], row["now"][:16]) for row in report["timing_caches"]]
    lines += _part("Timing caches, SHA-256", _table(("case", "then", "now"), timing), "none was made")
    return "\n".join(lines).rstrip() + "\n"


def make_sections(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sections of an upgrade for the summary and the report, as `report.sections.make_section` takes them."""
    support, operators = report["support"], report["operators"]
    text = [
        count_classes(report),
        *(f"{title}: {then} -> {now}" for title, then, now in report["place"]),
        f"support lost: {len(support['lost'])} builds; gained: {len(support['gained'])} builds",
        f"operators of the parser lost: {', '.join(operators['lost']) or 'none'}; "
        f"gained: {', '.join(operators['gained']) or 'none'}",
        *(_size_line(row) for row in report["sizes"]),
        f"calibration caches that no longer apply: {len(report['calibration'])}",
        *(f"  {row['case']}: {row['why']}" for row in report["calibration"]),
        f"timing caches that differ: {sum(row['then'] != row['now'] for row in report['timing_caches'])}",
    ]
    rows = [
        (case["case"], case["precision"], case["gpu"], case["class"], "; ".join(case["why"]) or "-")
        for case in report["cases"]
    ]
    first: dict[str, Any] = {"title": f"Upgrade: {name_upgrade(report)}", "text": text}
    if rows:
        first |= {"head": ("case", "precision", "GPU", "class", "why"), "rows": rows}
    made = [first]
    layers = [
        (row["case"], row["precision"], row["gpu"], line)
        for row in report["layers"]
        for line in row["changes"]
    ]
    if layers:
        title = f"Upgrade: layers and tactics, {len(report['layers'])} builds changed"
        made.append({"title": title, "head": ("case", "precision", "GPU", "what"), "rows": layers})
    return made


def name_upgrade(report: Mapping[str, Any]) -> str:
    """Return from what to what, in words."""
    return f"{', '.join(report['from']) or 'nothing'} to {', '.join(report['to']) or 'nothing'}"


def count_classes(report: Mapping[str, Any]) -> str:
    """Return how many cases have each class, the worst first."""
    counts = report["counts"]
    total = sum(counts.values())
    return f"{total} cases: " + (
        ", ".join(f"{counts[name]} {name}" for name in ORDER if name in counts) or "none"
    )


_SIZE_HEAD = ("", "builds", "then", "now", "grew", "shrank", "most")


def _size(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _TITLES[row["name"]],
        str(row["cases"]),
        f"{row['then']:,}",
        f"{row['now']:,}",
        str(row["grew"]),
        str(row["shrank"]),
        f"{row['most']:.3g} x",
    )


def _size_line(row: Mapping[str, Any]) -> str:
    title, builds, then, now, grew, shrank, most = _size(row)
    return f"{title}, {builds} builds: {then} -> {now}; {grew} grew, {shrank} shrank, at most {most}"


def _why(case: Mapping[str, Any]) -> str:
    return "; ".join(case["why"]).replace(f"{case['class']}: ", "")


def _group(rows: Iterable[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """Return one row for all cases of which the same is told; names in quotes do not count. The last cell lists the cases."""
    groups: dict[tuple[str, ...], dict[str, dict[str, list[str]]]] = {}
    for *told, case in rows:
        words = tuple(_QUOTED.sub("'...'", text) for text in told)
        precisions = groups.setdefault(words, {}).setdefault(case["case"], {})
        precisions.setdefault(case["precision"], []).append(case["gpu"])
    return [
        (*words, ", ".join(_list(name, where) for name, where in cases.items()))
        for words, cases in groups.items()
    ]


def _list(name: str, where: Mapping[str, Sequence[str]]) -> str:
    return f"{name} ({'; '.join(f'{precision}: {chr(32).join(gpus)}' for precision, gpus in where.items())})"


def _shorten(changes: Sequence[str]) -> str:
    """Say the first changes of a layer list, and how many there are."""
    more = len(changes) - SHOWN
    return "; ".join(changes[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _part(title: str, table: Sequence[str], empty: str) -> list[str]:
    return [f"## {title}", "", *(table or [f"{empty[0].upper()}{empty[1:]}."]), ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], most: int = ROWS) -> list[str]:
    """Return the lines of a Markdown table; none without rows, and rows behind the first `most` are counted."""
    held = list(rows)
    if not held:
        return []
    lines = [_row(head), "|" + " --- |" * len(head), *map(_row, held[:most])]
    return lines + ([f"\n... {len(held) - most} more in upgrade.json"] if len(held) > most else [])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"
