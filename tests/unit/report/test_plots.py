"""Plots: the same numbers give the same text, and text stays text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from pytest_trt.report.plots import MOST_LABELS, draw
from pytest_trt.report.sections import make_section

pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "pytest-trt[report]"')


def plot(kind: str, values: Any, **more: Any) -> Any:
    series = values if isinstance(values, dict) else {"s": values}
    return make_section({"title": "t", "plot": {"kind": kind, "series": series, **more}})["plot"]


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


PLOTS = {
    "bars": plot("bars", {"one": [1, 20], "two": [3, 4]}, labels=["a", "b"], log=True, unit="%"),
    "lines": plot("lines", [1, 20, 3], x=[1, 10, 100], log=True, unit="%"),
    "histogram": plot("histogram", [1, 1, 2, 9], log=True, unit="%"),
}


@pytest.mark.parametrize("kind", PLOTS)
def test_the_same_numbers_give_the_same_text(kind: str) -> None:
    svg, note = draw(PLOTS[kind], 1)
    assert draw(PLOTS[kind], 1) == (svg, note) and note == ""
    assert "%" in words(svg)
    assert "<metadata" not in svg and "<style" not in svg and "<?xml" not in svg
    assert "currentColor" in svg and "#010203" not in svg


def test_what_users_wrote_is_shown_as_it_is() -> None:
    made = plot(
        "bars", {"_ratio $x^$": [1, 2]}, labels=["<script>", "$\\frac$"], title='a "b" & <c>', unit="$"
    )
    svg, _ = draw(made, 1)
    found = [word.strip() for word in words(svg)]
    for word in ("_ratio $x^$", "<script>", "$\\frac$", "$"):
        assert word in found
    assert ElementTree.fromstring(svg).get("aria-label") == 'a "b" & <c>'


@pytest.mark.filterwarnings("error")
def test_names_in_any_script() -> None:
    """Widths are measured with a font that lacks some; the page shows them all the same."""
    svg, _ = draw(plot("bars", {"畳み込み": [1, 2]}, labels=["卷积", "свёртка"]), 1)
    assert {"畳み込み", "卷积", "свёртка"} <= set(words(svg))


def test_powers_of_a_log_axis_are_formulas_still() -> None:
    svg, _ = draw(plot("lines", [1, 1e6], log=True), 1)
    assert not [word for word in words(svg) if "mathdefault" in word]


@pytest.mark.parametrize("kind", PLOTS)
def test_numbers_that_are_not_finite(kind: str) -> None:
    more = {"labels": ["a", "b", "c"]} if kind == "bars" else {}
    svg, note = draw(plot(kind, [1.0, float("nan"), float("inf")], **more), 1)
    assert svg and not note
    if kind == "bars":
        assert {"nan", "inf"} <= set(words(svg))
    if kind == "histogram":
        assert "s (2 not finite)" in words(svg)
    assert draw(plot(kind, [float("nan")] * 3, **more), 1) == (
        "",
        "the plot 't' has no finite number to show",
    )


def test_a_log_axis_without_a_positive_number_is_a_plain_one() -> None:
    svg, _ = draw(plot("bars", [0, -1], labels=["a", "b"], log=True), 1)
    assert svg


def test_only_the_first_bars_are_drawn() -> None:
    many = [f"layer{n}" for n in range(100)]
    svg, note = draw(plot("bars", range(100), labels=many), 1)
    assert note == f"the first {MOST_LABELS} of 100"
    assert f"layer{MOST_LABELS - 1}" in words(svg) and f"layer{MOST_LABELS}" not in words(svg)


def test_ids_of_two_plots_differ() -> None:
    one, two = (set(re.findall(r'\bid="([^"]*)"', draw(PLOTS["lines"], number)[0])) for number in (1, 2))
    assert one and not one & two
    svg, _ = draw(PLOTS["lines"], 1)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', svg)) <= one
