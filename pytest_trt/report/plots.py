"""Plots of sections as inline SVG, drawn by matplotlib where it is installed; the same numbers give the same text."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MISSING = 'the plot {title!r} needs matplotlib: pip install "pytest-trt[report]"'
EMPTY = "the plot {title!r} has no finite number to show"

# Readable on white and on dark grey: middle tones, far apart in lightness and hue (Okabe and Ito, Color Universal
# Design, 2008, without its yellow and black).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
INK = "#010203"  # becomes the colour of the page's text
MOST_LABELS = 40
BINS = 30
WIDTH = 8.0  # inches
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "pytest-trt",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw(plot: Mapping[str, Any], number: int) -> tuple[str, str]:
    """Return a plot as an `svg` element and a note; either is empty.

    Parameters
    ----------
    plot : mapping
        As in a section that was checked.
    number : int
        Of the plot in its page: makes ids unique there.
    """
    series = {name: [float(value) for value in values] for name, values in plot["series"].items()}
    if not any(math.isfinite(value) for values in series.values() for value in values):
        return "", EMPTY.format(title=plot["title"])
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return "", MISSING.format(title=plot["title"])
    note = ""
    labels = plot["labels"]
    if plot["kind"] == "bars" and len(labels) > MOST_LABELS:
        note = f"the first {MOST_LABELS} of {len(labels)}"
        labels = labels[:MOST_LABELS]
        series = {name: values[:MOST_LABELS] for name, values in series.items()}
    height = 1.2 + 0.22 * len(labels) * max(1.0, 0.6 * len(series)) if plot["kind"] == "bars" else 3.2
    style: Any = {**matplotlib.rcParamsDefault, **STYLE}  # whatever the user's own file says
    with warnings.catch_warnings(), matplotlib.rc_context(style):
        warnings.simplefilter("ignore")  # a glyph that the font lacks is the reader's browser's matter
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        {"bars": _bars, "lines": _lines, "histogram": _histogram}[plot["kind"]](axes, plot, labels, series)
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return _embed(text.getvalue(), plot["title"], number), note


def _words(text: str) -> str:
    """Return text that matplotlib shows as it is: no formula between dollar signs, no name left out of a legend."""
    return (f" {text}" if text.startswith("_") else text).replace("$", "\\$")


def _scale(axes: Axes, plot: Mapping[str, Any], series: Mapping[str, list[float]], axis: str) -> None:
    positive = [value for values in series.values() for value in values if value > 0 and math.isfinite(value)]
    if plot["log"] and positive:
        (axes.set_xscale if axis == "x" else axes.set_yscale)("log", nonpositive="clip")
        if plot["kind"] == "bars":
            axes.set_xlim(left=min(positive) / 2)  # the shortest bar is seen too
    (axes.set_xlabel if axis == "x" else axes.set_ylabel)(_words(plot["unit"]))


def _bars(axes: Axes, plot: Mapping[str, Any], labels: list[str], series: dict[str, list[float]]) -> None:
    thick = 0.8 / len(series)
    for index, (name, values) in enumerate(series.items()):
        places = [at + (index - (len(series) - 1) / 2) * thick for at in range(len(values))]
        shown = [value if math.isfinite(value) else 0.0 for value in values]
        axes.barh(places, shown, height=thick, label=_words(name), color=COLOURS[index % len(COLOURS)])
        for place, value in zip(places, values, strict=True):
            if not math.isfinite(value):
                axes.annotate(str(value), (0.01, place), xycoords=("axes fraction", "data"), va="center")
    axes.set_yticks(range(len(labels)), [_words(label) for label in labels])
    axes.invert_yaxis()
    _scale(axes, plot, series, "x")


def _lines(axes: Axes, plot: Mapping[str, Any], labels: list[str], series: dict[str, list[float]]) -> None:
    x = [float(value) for value in plot["x"]]
    for index, (name, values) in enumerate(series.items()):
        mark = "o" if len(values) < 30 else ""
        at = x or list(range(len(values)))
        axes.plot(
            at, values, label=_words(name), color=COLOURS[index % len(COLOURS)], marker=mark, markersize=3
        )
    _scale(axes, plot, series, "y")


def _histogram(
    axes: Axes, plot: Mapping[str, Any], labels: list[str], series: dict[str, list[float]]
) -> None:
    finite = {name: [value for value in values if math.isfinite(value)] for name, values in series.items()}
    everything = [value for values in finite.values() for value in values]
    span = (min(everything), max(everything))
    for index, (name, values) in enumerate(finite.items()):
        lost = len(series[name]) - len(values)
        label = _words(name) + (f" ({lost} not finite)" if lost else "")
        colour = COLOURS[index % len(COLOURS)]
        axes.hist(values, bins=BINS, range=span, label=label, color=colour, alpha=0.6, log=plot["log"])
    axes.set_xlabel(_words(plot["unit"]))
    axes.set_ylabel("count")


def _embed(svg: str, title: str, number: int) -> str:
    """Return the `svg` element alone, with ids of its own, the page's text colour and a title for readers."""
    from html import escape

    text = svg[svg.index("<svg") :]
    # Who made it and when, and a rule for every element of the page, which the page has for its plots alone.
    text = re.sub(r"<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="plot{number}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#plot{number}-", text)
    text = text.replace(INK, "currentColor")
    head = f'<svg role="img" aria-label="{escape(title)}" '
    return text.replace("<svg ", head, 1).strip()
