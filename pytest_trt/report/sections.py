"""Sections: a titled text, table and plot that a test attaches, for the terminal and the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_trt.errors import UsageError
from pytest_trt.report.plain import show_cell, to_plain, to_text

SECTION = "trt_section"
KEYS = ("title", "text", "head", "rows", "plot")
PLOT_KEYS = ("kind", "title", "labels", "series", "log", "unit", "x")
PLOTS = ("bars", "lines", "histogram")


def attach(item: Any, section: Mapping[str, Any]) -> None:
    """Attach a section to a running test; it travels with the test's report, also from a worker of xdist.

    Parameters
    ----------
    item : pytest.Item
        The test: `request.node` in a fixture.
    section : mapping
        `title` (needed), `text` (lines), `head` and `rows` (a table; cells become text) and `plot`: `kind` (`bars`,
        `lines` or `histogram`), `title`, `series` (numbers by name), `labels` of bars, `x` of lines, `log`, `unit`.

    Raises
    ------
    UsageError
        The section has an unknown key, no title, or lengths that do not fit.
    """
    item.user_properties.append((SECTION, to_text(make_section(section))))


def make_section(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section with every key, plain, checked; `plot` is None where there is none.

    Raises
    ------
    UsageError
        As `attach`.
    """
    _check_keys(section, KEYS, "a section")
    title = _take_text(section.get("title"), "a section needs a title")
    text = section.get("text") or ()
    lines = [text] if isinstance(text, str) else [str(line) for line in text]
    head = [show_cell(cell) for cell in section.get("head") or ()]
    rows = [_take_row(row, title) for row in section.get("rows") or ()]
    width = len(head) or len(rows[0] if rows else ())
    for number, row in enumerate(rows):
        if len(row) != width:
            raise UsageError(
                f"section {title!r}: row {number} has {len(row)} cells", why=f"the table has {width} columns"
            )
    plot = section.get("plot")
    return {
        "title": title,
        "text": lines,
        "head": head,
        "rows": rows,
        "plot": None if plot is None else _take_plot(plot, title),
    }


def read_section(value: Any) -> dict[str, Any]:
    """Return the section that a test attached; one that cannot be read says so in its place."""
    try:
        plain = json.loads(value) if isinstance(value, str) else value
        if not isinstance(plain, Mapping):
            raise UsageError("a section is a mapping", why=f"this is {plain!r:.80}")
        return make_section(plain)
    except (UsageError, ValueError, TypeError) as error:
        return make_section({"title": "a section that cannot be read", "text": str(error).splitlines()})


def _check_keys(given: Any, known: tuple[str, ...], what: str) -> None:
    if not isinstance(given, Mapping):
        raise UsageError(f"{what} is a mapping", why=f"this is a {type(given).__name__}")
    for key in given:
        if key not in known:
            raise UsageError(f"{what} has no key {key!r}", why=f"good keys: {', '.join(known)}")


def _take_text(value: Any, trouble: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(trouble, why=f"this is {value!r:.80}")
    return " ".join(value.split())


def _take_row(row: Any, title: str) -> list[str]:
    if isinstance(row, (str, Mapping)) or not isinstance(row, Iterable):
        raise UsageError(f"section {title!r}: a row is a list of cells", why=f"this is {row!r:.80}")
    return [show_cell(cell) for cell in row]


def _take_plot(plot: Any, section: str) -> dict[str, Any]:
    what = f"the plot of section {section!r}"
    _check_keys(plot, PLOT_KEYS, what)
    kind = plot.get("kind")
    if kind not in PLOTS:
        raise UsageError(f"{what} has kind {kind!r}", why=f"good kinds: {', '.join(PLOTS)}")
    series = plot.get("series")
    if not isinstance(series, Mapping) or not series:
        raise UsageError(f"{what} needs series: numbers by name", why=f"this is {series!r:.80}")
    numbers = {str(name): _take_numbers(values, f"{what}, {name!r}") for name, values in series.items()}
    labels = [show_cell(label) for label in plot.get("labels") or ()]
    x = _take_numbers(plot.get("x", ()), f"{what}, x")
    along: Sequence[object] = labels if kind == "bars" else x if kind == "lines" else ()
    for name, values in numbers.items():
        if (along or kind == "bars") and len(values) != len(along):
            raise UsageError(
                f"{what}: series {name!r} has {len(values)} numbers",
                why=f"there are {len(along)} {'labels' if kind == 'bars' else 'values of x'}",
            )
    return {
        "kind": kind,
        "title": _take_text(plot.get("title") or section, what),
        "labels": labels,
        "series": {name: to_plain(values) for name, values in numbers.items()},
        "log": bool(plot.get("log", False)),
        "unit": str(plot.get("unit") or ""),
        "x": to_plain(x),
    }


def _take_numbers(values: Any, what: str) -> list[float]:
    if isinstance(values, (str, Mapping)):
        raise UsageError(f"{what}: a series is a list of numbers", why=f"this is {values!r:.80}")
    try:
        return [float(value) for value in values]  # also what `to_plain` made of nan and inf
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what}: a series is a list of numbers", why=str(error)) from None
