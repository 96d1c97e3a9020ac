"""The goldens of builds that come with the suites: whole, small, and what docs/upgrade.md says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import pytest_trt
from pytest_trt.golden.book import Entry
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.record import BUILD, CLASSES
from pytest_trt.golden.store import open_store
from pytest_trt.golden.upgrade import Change, make_report

FOLDER = Path(pytest_trt.__file__).parent.parent / "golden"
OLD, NEW = "tensorrt_rtx-1.6.1.120", "tensorrt_rtx-1.7.1.116"


@pytest.fixture(scope="module")
def kept():
    store = open_store(FOLDER)
    keys = store.keys()
    return {key: store.load(key) for key in keys if key.case.startswith("build-")}


def test_both_versions_have_the_same_cases(kept):
    old, new = ({key.of("") for key in kept if key.product == product} for product in (OLD, NEW))
    assert old == new and len(old) == 192
    assert all(golden.kind == BUILD and not golden.arrays for golden in kept.values())


def test_they_are_small(kept):
    assert sum((FOLDER / f"{key.path}.json").stat().st_size for key in kept) < 2_000_000


def test_no_golden_names_a_folder_or_a_test_of_the_machine_that_made_it(kept):
    for key in kept:
        text = (FOLDER / f"{key.path}.json").read_text(encoding="utf-8")
        assert not [name for name in ("/home", "/tmp", "/root", "/opt") if name in text]


def test_the_upgrade_between_them_is_the_one_that_is_documented(kept):
    changes = []
    for key, today in sorted(kept.items()):
        if key.product == NEW:
            then = kept[key.of(OLD)]
            changes.append(Change.of(Entry(compare_builds(then, today)), then, today))
    report = make_report(changes)
    gained, lost = report["support"]["gained"], report["support"]["lost"]
    assert (len(gained), len(lost), report["counts"]["identical"]) == (48, 6, 14)
    assert set(report["counts"]) <= set(CLASSES) and "drift" not in report["counts"]
    assert {case["gpu"] for case in lost} == {"t4"} and {case["precision"] for case in lost} == {
        "fp32",
        "int8",
    }
    assert {case["precision"] for case in gained} == {"int8", "int8+fp16"}
    assert report["operators"] == {"gained": [], "lost": []}


def test_the_older_one_builds_no_int8_convolution(kept):
    for key, golden in kept.items():
        if key.product == OLD and "conv" in key.case and key.precision.startswith("int8"):
            assert golden.facts["outcome"] == "refused" and golden.facts["words"], key.title
