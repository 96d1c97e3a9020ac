"""Errors of ours, with their verdicts, as data that travels."""

from __future__ import annotations

import builtins
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import ConformanceError, UnsupportedError
from pytest_trt.records import Finding, Verdict
from pytest_trt.report.failures import (
    FAILURE,
    attach_failure,
    read_failure,
    verdict_from_plain,
    verdict_to_plain,
)

FINDING = Finding(
    "interval",
    "violates",
    tensor="y",
    data="tiny",
    bad=3,
    total=9,
    index=(0, 1),
    got=-math.inf,
    low=0.1,
    high=0.2,
    want=0.15,
    rule="fp16 sum",
    axes=("N", "C"),
    sources=(("rounding", 0.1), ("order", math.inf)),
    fits=("fused bias",),
)
VERDICT = Verdict(
    "violates", (FINDING,), 9, 3, "splitk", {"Softmax": 2}, ("rows",), {"runtime": "r 1", "seed": 3}
)


def error() -> ConformanceError:
    made = ConformanceError("output 'y': 3 of 9", why=["worst off"], mend="repeat: pytest -k x")
    made.verdict = VERDICT
    return made


def attached(thrown: BaseException | None) -> list[dict[str, Any]]:
    item = SimpleNamespace(user_properties=[])
    attach_failure(item, thrown)
    attach_failure(item, thrown)
    assert {name for name, _ in item.user_properties} <= {FAILURE}
    read = [read_failure(value) for _, value in item.user_properties]
    return [one for one in read if one is not None]


def test_a_verdict_reads_as_it_was() -> None:
    text = json.dumps(verdict_to_plain(VERDICT), allow_nan=False)
    assert verdict_from_plain(json.loads(text)) == VERDICT


def test_every_field_of_the_records_travels() -> None:
    plain = verdict_to_plain(VERDICT)
    assert plain.keys() == vars(VERDICT).keys()
    assert plain["findings"][0].keys() == vars(FINDING).keys()


def test_provenance_may_hold_anything() -> None:
    odd = {
        "scale": np.float32(0.5),
        "names": {"b", "a"},
        "path": math,
        3: (1, 2),
        "ones": np.ones(2, np.int8),
    }
    plain = verdict_to_plain(Verdict("conforms", provenance=odd))["provenance"]
    assert plain["scale"] == 0.5 and plain["names"] == ["a", "b"] and plain["3"] == [1, 2]
    assert plain["ones"] == [1, 1] and plain["path"] == str(math)


def test_an_error_is_attached_whole_and_once() -> None:
    [told] = attached(error())
    assert told["kind"] == "ConformanceError" and told["what"] == "output 'y': 3 of 9"
    assert told["why"] == ["worst off"] and told["replay"] == "pytest -k x" and told["mend"] == ""
    assert verdict_from_plain(told["verdict"]) == VERDICT


def test_a_mend_that_repeats_nothing_stays_a_mend() -> None:
    [told] = attached(UnsupportedError("no int8", why="SM60", mend="use fp16"))
    assert (told["mend"], told["replay"], told["verdict"]) == ("use fp16", "", None)


def test_members_of_a_group_count_one_by_one() -> None:
    group = getattr(builtins, "ExceptionGroup", None)
    if group is None:
        from exceptiongroup import ExceptionGroup as group  # pytest and hypothesis bring it along
    thrown = group("two", [error(), group("inner", [UnsupportedError("no int8"), ValueError("others")])])
    assert [told["what"] for told in attached(thrown)] == ["output 'y': 3 of 9", "no int8"]


def test_others_are_left_to_pytest() -> None:
    assert attached(ValueError("x")) == [] and attached(None) == []


@pytest.mark.parametrize("value", ["{", "[]", '{"kind": 1}', 3])
def test_text_of_others_is_no_failure(value: Any) -> None:
    assert read_failure(value) is None
