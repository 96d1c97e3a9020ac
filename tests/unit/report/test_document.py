"""The document behind the reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import pytest_trt
from pytest_trt.records import Settings
from pytest_trt.report.document import SCHEMA, list_packages, make_document, write_json
from pytest_trt.report.facts import describe_facts
from pytest_trt.report.failures import verdict_from_plain
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.words import headline, list_facts, list_not_run, percent
from tests.unit.report.documents import (
    BUILDER,
    EMULATOR,
    NASTY,
    empty_document,
    facts,
    full_document,
    make_error,
    ran,
)

MANUAL = Path(pytest_trt.__file__).parent.parent / "docs/report.md"


@pytest.mark.parametrize("document", [full_document(), empty_document()])
def test_json_reads_as_it_was(document: dict[str, Any]) -> None:
    text = write_json(document)
    assert json.loads(text, parse_constant=pytest.fail) == document
    assert write_json(json.loads(text)) == text


def test_the_order_of_tests_does_not_count() -> None:
    """The workers of xdist end in any order."""
    assert write_json(full_document()) == write_json(full_document(turned=True))


def test_the_verdict_of_a_failure_is_whole() -> None:
    by_name = {test["test"]: test for test in full_document()["tests"]}
    [told] = by_name[NASTY]["errors"]
    assert verdict_from_plain(told["verdict"]).findings == make_error().verdict.findings  # type: ignore[attr-defined]
    assert by_name[NASTY]["replay"] == "pytest -k '<x>'"
    assert by_name["t.py::test_e"]["replay"] == "pytest t.py::test_e --trt-seed=3"
    assert by_name["t.py::test_a"]["replay"] == ""


def test_each_test_has_its_counts() -> None:
    document = full_document()
    [test] = [test for test in document["tests"] if test["checks"]]
    assert test["checks"]["int8"]["compared"] == 1000
    assert [row["precision"] for row in document["checks"]] == ["fp16", "int8"]
    assert document["totals"]["checks"] == 2
    assert document["outcomes"] == {
        "failed": 1,
        "error": 1,
        "passed": 1,
        "skipped": 2,
        "xfailed": 0,
        "xpassed": 0,
        "unfinished": 0,
    }


def test_what_was_not_run_is_told_once() -> None:
    lines = list_not_run(full_document())
    assert lines == [
        ("1 test", "deselected: no precision of the test was asked for"),
        ("2 tests", "not applicable on t4: bf16 has <none>"),
        ("1 test", "skipped for lack of build: no <TensorRT>; to get it: pip install it"),
        ("1 test", "skipped: <mine>"),
        ("2 nodes", "unjudged: operator Softmax has no limit"),
        ("1 file", "not collected: <u>.py: ImportError: <v>"),
    ]


def test_an_emulator_is_never_called_tensorrt() -> None:
    where = dict(dict(list_facts(full_document()))["On what"])
    assert where["executed by"].startswith("emulator")
    assert "no TensorRT executed" in where["note"] and "(emulated)" in where["GPU class"]
    real = full_document()
    real["session"]["executor"]["emulated"] = False
    where = dict(dict(list_facts(real))["On what"])
    assert "note" not in where and where["GPU class"] == "t4: Tesla T4, sm_75"
    assert dict(dict(list_facts(empty_document()))["On what"])["GPU class"].endswith("(expected)")


def test_facts_hold_every_setting_but_places() -> None:
    told = facts(EMULATOR, BUILDER)["settings"]
    assert set(vars(Settings())) - set(told) == {
        "cache_dir",
        "golden_dir",
        "golden_from",
        "log",
        "repro_dir",
        "report_dir",
    }


def test_without_a_runtime_the_reason_is_the_line() -> None:
    told = describe_facts(Settings(), None, None, "trt: not usable")
    assert (told["executor"], told["gpu"], told["line"]) == (None, None, "trt: not usable")
    document = make_document(told, [], Ledger(), started="", seconds=0, exit_status=(0, "OK"))
    assert dict(dict(list_facts(document))["On what"])["executed by"] == "nothing executed"
    assert list_not_run(document) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "Passed: passed 2"),
        ({"outcomes": {"failed": 2, "error": 1, "passed": 1997}}, "Failed: 3 of 2,000 tests"),
        ({"problems": ["x"]}, "Failed: 1 problem of the session as a whole"),
        ({"collection": [{}, {}]}, "Not run: 2 files could not be collected"),
        (
            {
                "exit_status": {"code": 2, "name": "INTERRUPTED"},
                "outcomes": {"failed": 0, "error": 0, "passed": 1, "unfinished": 1},
            },
            "Ended early: INTERRUPTED; 1 test ran until then",
        ),
        ({"outcomes": {"failed": 0, "error": 0}}, "Passed: no test ran"),
    ],
)
def test_headline(change: dict[str, Any], words: str) -> None:
    tests = [ran("a", "passed"), ran("b", "passed")]
    document = make_document(facts(), tests, Ledger(), started="", seconds=0, exit_status=(0, "OK"))
    assert headline({**document, **change}) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 0, "-"), (0, 9, "0 %"), (1, 1000, "< 1 %"), (999, 1000, "> 99 %"), (9, 9, "100 %"), (1, 2, "50 %")],
)
def test_a_share_is_whole_only_when_it_is(part: int, whole: int, words: str) -> None:
    assert percent(part, whole) == words


def test_packages_are_those_that_results_depend_on() -> None:
    found = list_packages()
    assert {"python", "numpy", "onnx", "onnxruntime", "pytest", "hypothesis"} <= found.keys()
    assert "pip" not in found


def test_the_manual_lists_every_key() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert sorted(listed) == sorted(full_document())
    assert f"version {SCHEMA} " in text
