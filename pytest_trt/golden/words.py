"""Comparisons in words: why a test fails, and the lines and tables of summaries and of the command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from shlex import quote
from typing import Any

from pytest_trt.errors import ConformanceError
from pytest_trt.golden.book import Entry
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    CLASSES,
    DRIFT,
    IDENTICAL,
    MISSING,
    REGRESSION,
    UNUSABLE,
    Comparison,
)

ORDER = (REGRESSION, UNUSABLE, DRIFT, BENIGN, IDENTICAL, MISSING)
"""Classes, the one to look at first in front."""

_UPDATES = {DRIFT: "update=changed", UNUSABLE: "update=changed", REGRESSION: "update=all"}
_WIDTH = 40
PLOTS = 24
"""Histograms of one report, at the most."""


def make_failure(comparison: Comparison, *, replay: str, accept: str) -> ConformanceError:
    """Return the error that ends a test whose outputs are not those of the golden any more.

    Parameters
    ----------
    comparison : Comparison
        Of the class `drift`, `regression` or `unusable`.
    replay : str
        The command that repeats the check.
    accept : str
        The command that takes today's outputs as the golden; empty where they were held against another product's.
    """
    outcome = comparison.outcome
    words = {UNUSABLE: "the golden cannot be used"}.get(outcome, outcome)
    lines = list(comparison.why)
    first = lines.pop(0).removeprefix(f"{outcome}: ") if lines else ""
    why = [f"golden {comparison.other.title}"]
    if comparison.key != comparison.other:
        why.append(f"today  {comparison.key.title}")
    why += [f"also   {line}" for line in lines]
    why += [f"errors {line}" for line in tell_numbers(comparison)]
    if outcome == DRIFT:
        why.append(
            "rule   inside of its limits an output may change, and its error against the reference may not grow"
        )
    elif outcome == REGRESSION:
        why.append(
            "rule   no correct kernel gives what lies outside of the limits, or other names, types or shapes"
        )
    why.append(f"replay {replay}")
    mend = "the golden of another version stays as it is; keep today's beside it: --trt-golden=record"
    if accept:
        mend = f"right as it is? {accept}; or run with --trt-golden={_UPDATES[outcome]}"
    return ConformanceError(
        f"golden {comparison.key.case!r}: {words}: {first}",
        why=why,
        mend=mend,
    )


def accept_command(key: Key, folder: str | None, cache: str | None) -> str:
    """Return the command that takes what today gave for a key; `folder` and `cache` where they are not the default."""
    words = ["python -m pytest_trt golden accept", quote(key.case), f"--precision={key.precision}"]
    words += [f"--dir={quote(folder)}"] if folder else []
    words += [f"--cache-dir={quote(cache)}"] if cache else []
    return " ".join(words)


def tell_numbers(comparison: Comparison) -> list[str]:
    """Return one line an output: its errors against the reference then and now, in units of the limit."""
    lines = []
    for name, known in comparison.numbers.items():
        if "old_rms" not in known:
            continue
        then, now = (
            f"RMS {known[f'{side}_rms']:.3g}, bias {known[f'{side}_bias']:.3g}, largest {known[f'{side}_largest']:.3g}"
            for side in ("old", "new")
        )
        changed = f"{known['changed']:.0f} of {known['total']:.0f} elements changed"
        lines.append(f"of output {name!r} in units of the limit, then: {then}; now: {now}; {changed}")
    return lines


def count_classes(comparisons: Iterable[Comparison]) -> str:
    """Return how many comparisons have each class, the best first; empty for none."""
    counts = Counter(comparison.outcome for comparison in comparisons)
    return ", ".join(f"{counts[name]} {name}" for name in (*CLASSES, MISSING, UNUSABLE) if counts[name])


HEAD = ("case", "precision", "gpu", "class", "RMS then", "RMS now", "worst then", "worst now", "why")


def make_rows(comparisons: Iterable[Comparison], *, every: bool = False) -> list[tuple[str, ...]]:
    """Return the rows of a table with the columns `HEAD`, worst class first; without `every` those that changed alone."""
    found = [one for one in comparisons if every or one.outcome not in (IDENTICAL, MISSING)]
    found.sort(key=lambda one: (ORDER.index(one.outcome), one.key))
    return [
        (
            one.key.case,
            one.key.precision,
            one.key.gpu,
            one.outcome,
            *(_largest(one, name) for name in ("old_rms", "new_rms", "old_largest", "new_largest")),
            (one.why or ("",))[0].removeprefix(f"{one.outcome}: "),
        )
        for one in found
    ]


def make_section(title: str, entries: Sequence[Entry], text: Sequence[str] = ()) -> dict[str, Any]:
    """Return a section for summary and report: counts by class, what changed, and the errors of the worst output."""
    comparisons = [entry.comparison for entry in entries]
    lines = [count_classes(comparisons) or "none was compared", *text]
    written = sum(entry.written for entry in entries)
    if written:
        lines.append(f"{written} written")
    wrong = [entry for entry in entries if entry.written and entry.outside]
    if wrong:
        names = ", ".join(dict.fromkeys(entry.comparison.key.title for entry in wrong))
        lines.append(
            f"written although outside of their limits, and a regression when they are checked: {names}"
        )
    section: dict[str, Any] = {
        "title": title,
        "text": lines,
        "head": list(HEAD),
        "rows": make_rows(comparisons),
    }
    if not section["rows"]:
        del section["head"], section["rows"]
    plot = make_plot(comparisons)
    return section | ({"plot": plot} if plot else {})


def make_plot(comparisons: Iterable[Comparison]) -> dict[str, Any] | None:
    """Return the histograms of both versions of the worst comparison that has some; None where none has."""
    found = [one for one in comparisons if one.histograms and one.outcome in (REGRESSION, DRIFT, BENIGN)]
    if not found:
        return None
    worst = min(found, key=lambda one: (ORDER.index(one.outcome), one.key))
    return _plot(worst, next(iter(worst.histograms)))


def make_plots(comparisons: Iterable[Comparison], most: int = PLOTS) -> list[dict[str, Any]]:
    """Return a section with both histograms for each output of the comparisons that drifted or are wrong, these first.

    Parameters
    ----------
    comparisons : iterable of Comparison
    most : int
        Sections at the most.
    """
    bad = [one for one in comparisons if one.outcome in (REGRESSION, DRIFT)]
    pairs = [
        (one, name)
        for one in sorted(bad, key=lambda one: (ORDER.index(one.outcome), one.key))
        for name, held in sorted(one.histograms.items())
        if any(held["old"]) or any(held["new"])
    ]
    return [
        {"title": f"Errors of {name!r}, golden {one.key.title}: {one.outcome}", "plot": _plot(one, name)}
        for one, name in pairs[:most]
    ]


def _plot(one: Comparison, name: str) -> dict[str, Any]:
    held = one.histograms[name]
    return {
        "kind": "lines",
        "title": f"{one.key.case} ({one.key.precision}), output {name}: errors in units of the limit, {one.outcome}",
        "x": [(a + b) / 2 for a, b in pairwise(held["edges"])],
        "series": {"then": list(held["old"]), "now": list(held["new"])},
    }


def draw_histograms(histogram: Mapping[str, Any], width: int = _WIDTH) -> list[str]:
    """Return both histograms as text, one line a bin; bins that are empty in both are left out at the ends."""
    old, new, edges = list(histogram["old"]), list(histogram["new"]), list(histogram["edges"])
    filled = [place for place, pair in enumerate(zip(old, new, strict=True)) if any(pair)]
    if not filled:
        return ["no element has more than one admissible value: there are no errors to show"]
    top = max(*old, *new)
    lines = [f"{'error, in limits':>23}  {'then':<{width}}  now"]
    for place in range(filled[0], filled[-1] + 1):
        bars = ["#" * (round(width * count / top) or int(count > 0)) for count in (old[place], new[place])]
        span = f"{edges[place]:+10.3g} to {edges[place + 1]:+9.3g}"
        lines.append(f"{span:>23}  {bars[0]:<{width}}  {bars[1]}".rstrip())
    return lines


def _largest(comparison: Comparison, name: str) -> str:
    values = [known[name] for known in comparison.numbers.values() if name in known]
    return f"{max(values, key=abs):.3g}" if values else "-"
