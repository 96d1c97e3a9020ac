"""What a test attaches: checked, plain, and readable again."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import UsageError
from pytest_trt.report.sections import SECTION, attach, make_section, read_section

BARS = {"kind": "bars", "labels": ["a", "b"], "series": {"ratio": [1, 2.5]}}


def item() -> Any:
    return SimpleNamespace(user_properties=[])


def test_a_section_travels_as_text() -> None:
    test = item()
    plot = {**BARS, "log": True, "unit": "%"}
    attach(test, {"title": "Layers", "text": "one", "head": ["n", "x"], "rows": [(1, 0.25)], "plot": plot})
    [(name, text)] = test.user_properties
    assert name == SECTION
    assert json.loads(text) == read_section(text)
    assert read_section(text) == {
        "title": "Layers",
        "text": ["one"],
        "head": ["n", "x"],
        "rows": [["1", "0.25"]],
        "plot": {
            "kind": "bars",
            "title": "Layers",
            "labels": ["a", "b"],
            "series": {"ratio": [1.0, 2.5]},
            "log": True,
            "unit": "%",
            "x": [],
        },
    }


def test_a_title_is_enough() -> None:
    assert make_section({"title": "t"}) == {"title": "t", "text": [], "head": [], "rows": [], "plot": None}


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (1 / 3, "0.333333"),
        (None, ""),
        (True, "True"),
        (np.float32(0.1), "0.1"),
        (np.int64(12345678), "12345678"),
        (math.nan, "nan"),
        ("a\nb", "a b"),
    ],
)
def test_cells_become_text(cell: object, shown: str) -> None:
    assert make_section({"title": "t", "rows": [[cell]]})["rows"] == [[shown]]


def test_numbers_may_be_arrays_and_need_not_be_finite() -> None:
    values = np.array([1.0, math.nan, math.inf, -math.inf], np.float32)
    test = item()
    attach(test, {"title": "t", "plot": {"kind": "histogram", "series": {"x": values}}})
    text = test.user_properties[0][1]
    assert "NaN" not in text and "Infinity" not in text, "strict JSON"
    assert read_section(text)["plot"]["series"] == {"x": [1.0, "nan", "inf", "-inf"]}


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ([], "a section is a mapping"),
        ({}, "needs a title"),
        ({"title": " "}, "needs a title"),
        ({"title": "t", "tile": "u"}, "no key 'tile'\n  why    good keys: title, text, head, rows, plot"),
        (
            {"title": "t", "head": ["a"], "rows": [[1, 2]]},
            "row 0 has 2 cells\n  why    the table has 1 columns",
        ),
        ({"title": "t", "rows": [[1], [1, 2]]}, "row 1 has 2 cells"),
        ({"title": "t", "rows": ["ab"]}, "a row is a list of cells"),
        ({"title": "t", "plot": []}, "the plot of section 't' is a mapping"),
        ({"title": "t", "plot": {"kind": "pie"}}, "kind 'pie'\n  why    good kinds: bars, lines, histogram"),
        ({"title": "t", "plot": {"kind": "bars", "series": {}}}, "needs series"),
        ({"title": "t", "plot": {**BARS, "colour": 1}}, "no key 'colour'"),
        (
            {"title": "t", "plot": {**BARS, "labels": ["a"]}},
            "'ratio' has 2 numbers\n  why    there are 1 labels",
        ),
        ({"title": "t", "plot": {**BARS, "labels": []}}, "there are 0 labels"),
        ({"title": "t", "plot": {**BARS, "series": {"s": "12"}}}, "a series is a list of numbers"),
        ({"title": "t", "plot": {**BARS, "series": {"s": ["x", "y"]}}}, "a series is a list of numbers"),
        (
            {"title": "t", "plot": {"kind": "lines", "x": [1], "series": {"s": [1, 2]}}},
            "there are 1 values of x",
        ),
    ],
)
def test_what_is_wrong_is_told(section: Any, words: str) -> None:
    test = item()
    with pytest.raises(UsageError) as caught:
        attach(test, section)
    assert words in str(caught.value)
    assert test.user_properties == []


@pytest.mark.parametrize("value", ["{", "[]", 7, '{"tile": 1}', {"title": "t", "rows": 3}])
def test_one_that_cannot_be_read_says_so(value: Any) -> None:
    """A test may have recorded it by hand."""
    section = read_section(value)
    assert section["title"] == "a section that cannot be read"
    assert section["text"]


def test_a_dict_recorded_by_hand_is_a_section() -> None:
    assert read_section({"title": "t", "rows": [[1]]})["rows"] == [["1"]]
