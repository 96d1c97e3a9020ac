"""Comparisons in words, and as data that travels."""

from __future__ import annotations

import math

import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.golden.book import Entry
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    DRIFT,
    IDENTICAL,
    MISSING,
    OUTPUTS,
    REGRESSION,
    UNUSABLE,
    Comparison,
)
from pytest_trt.golden.travel import read_entry, write_entry
from pytest_trt.golden.words import (
    HEAD,
    accept_command,
    count_classes,
    draw_histograms,
    make_failure,
    make_plot,
    make_plots,
    make_rows,
    make_section,
    tell_numbers,
)
from pytest_trt.report import sections

KEY = Key("my case", "fp32", "t4", "tensorrt-10.13.3.9")
NUMBERS = {
    "y": {"changed": 5.0, "total": 9.0}
    | {f"{side}_{fact}": 0.25 for side in ("old", "new") for fact in ("rms", "bias", "largest")}
}
HISTOGRAM = {"edges": [-1.0, -0.5, 0.0, 0.5, 1.0], "old": [0, 3, 1, 0], "new": [0, 2, 2, 0]}


def comparison(outcome, key=KEY, other=None, **more):
    why = (f"{outcome}: output 'y': it is so", "benign: output 'z' changed")
    return Comparison(key, other or key, OUTPUTS, outcome, why, NUMBERS, {"y": HISTOGRAM}, **more)


@pytest.mark.parametrize(
    ("outcome", "mode", "rule"),
    [
        (DRIFT, "update=changed", "its error against the reference may not grow"),
        (REGRESSION, "update=all", "no correct kernel gives"),
        (UNUSABLE, "update=changed", ""),
    ],
)
def test_a_failure_says_what_why_and_how_on(outcome, mode, rule):
    words = str(make_failure(comparison(outcome), replay="pytest here", accept="ACCEPT"))
    first = "the golden cannot be used" if outcome == UNUSABLE else outcome
    assert words.startswith(f"golden 'my case': {first}: output 'y': it is so\n")
    assert KEY.title in words and "today" not in words
    assert "also   benign: output 'z' changed" in words
    assert "then: RMS 0.25, bias 0.25, largest 0.25; now: RMS 0.25" in words
    assert rule in words and "replay pytest here" in words
    assert f"mend   right as it is? ACCEPT; or run with --trt-golden={mode}" in words


def test_a_failure_against_another_version_cannot_be_accepted():
    other = KEY.of("tensorrt-10.0.1.6")
    words = str(make_failure(comparison(DRIFT, other=other), replay="r", accept=""))
    assert f"golden {other.title}" in words and f"today  {KEY.title}" in words
    assert "accept" not in words and "--trt-golden=record" in words


def test_the_command_that_accepts():
    assert accept_command(KEY, None, None) == "python -m pytest_trt golden accept 'my case' --precision=fp32"
    assert accept_command(KEY, "a b", "/c").endswith(" --dir='a b' --cache-dir=/c")


def test_outputs_without_errors_have_no_numbers():
    bare = Comparison(KEY, KEY, OUTPUTS, DRIFT, (), {"y": {"changed": 1.0, "total": 2.0}})
    assert tell_numbers(bare) == []
    assert make_rows([bare])[0][4:] == ("-", "-", "-", "-", "")


def test_counts_and_rows():
    found = [comparison(name) for name in (IDENTICAL, BENIGN, DRIFT, DRIFT, REGRESSION, MISSING, UNUSABLE)]
    assert count_classes(found) == "1 identical, 1 benign, 2 drift, 1 regression, 1 missing, 1 unusable"
    assert [row[3] for row in make_rows(found)] == [REGRESSION, UNUSABLE, DRIFT, DRIFT, BENIGN]
    assert len(make_rows(found, every=True)) == 7
    assert all(len(row) == len(HEAD) for row in make_rows(found))
    assert count_classes([]) == ""


def test_sections_can_be_attached():
    entries = [
        Entry(comparison(DRIFT)),
        Entry(comparison(IDENTICAL), written=True),
        Entry(comparison(REGRESSION), True, 4),
    ]
    made = sections.make_section(make_section("Goldens", entries, ["a line"]))
    assert made["text"][:3] == ["1 identical, 1 drift, 1 regression", "a line", "2 written"]
    assert "written although outside of their limits" in made["text"][3] and KEY.title in made["text"][3]
    assert made["plot"]["series"] == {"then": [0.0, 3.0, 1.0, 0.0], "now": [0.0, 2.0, 2.0, 0.0]}
    assert "regression" in made["plot"]["title"]
    bare = sections.make_section(make_section("Goldens", []))
    assert bare["text"] == ["none was compared"] and not bare["rows"] and bare["plot"] is None


def test_identical_comparisons_have_no_plot():
    assert make_plot([comparison(IDENTICAL)]) is None


def test_histograms_as_text():
    lines = draw_histograms(HISTOGRAM, width=6)
    assert len(lines) == 3, "bins that are empty in both are left out at the ends"
    assert lines[1].split() == ["-0.5", "to", "+0", "######", "####"]
    assert lines[2].split() == ["+0", "to", "+0.5", "##", "####"]
    assert "no element" in draw_histograms({**HISTOGRAM, "old": [0] * 4, "new": [0] * 4})[0]


def test_entries_travel():
    odd = Comparison(
        KEY, KEY.of("x-1"), OUTPUTS, DRIFT, ("a",), {"y": {"rms": math.inf, "bias": -math.inf}}, {}, ("b",)
    )
    for entry in (Entry(comparison(DRIFT)), Entry(odd, True, 3)):
        assert read_entry(write_entry(entry)) == entry
    nan = Entry(Comparison(KEY, KEY, OUTPUTS, DRIFT, (), {"y": {"rms": math.nan}}))
    assert math.isnan(read_entry(write_entry(nan)).comparison.numbers["y"]["rms"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"comparison": {"key": {}}}', "7"])
def test_what_is_no_entry_is_refused(text):
    with pytest.raises(GoldenError, match="a comparison cannot be read"):
        read_entry(text)


def test_each_output_that_drifted_or_is_wrong_has_its_histograms_in_the_report():
    empty = {"edges": [-1.0, 1.0], "old": [0], "new": [0]}
    asked = [comparison(BENIGN), comparison(DRIFT), comparison(REGRESSION, key=Key("z", "fp16", "t4", "p-1"))]
    asked.append(Comparison(KEY, KEY, OUTPUTS, DRIFT, ("why",), {}, {"y": empty}))
    made = [sections.make_section(section) for section in make_plots(asked)]
    assert [section["title"].rpartition(": ")[2] for section in made] == [REGRESSION, DRIFT]
    assert made[0]["plot"]["series"] == {"then": [0, 3, 1, 0], "now": [0, 2, 2, 0]}
    assert len(make_plots(asked, most=1)) == 1
