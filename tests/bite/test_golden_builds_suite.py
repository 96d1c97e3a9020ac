"""The suite of builds: what it lists, holds and excuses, and that it fails on a TensorRT that lost support."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_trt.golden.book import Book
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, Comparison, Golden
from pytest_trt.golden.store import open_store
from suites._golden_builds import (
    CASES,
    FULL,
    GPUS,
    QUICK,
    find_known,
    hold_builds,
    list_builds,
)

RTX = SimpleNamespace(product="tensorrt_rtx", version="1.7.1.116")
REFUSAL = "Cannot compile operation 'gemm_y' for Turing (SM75): FP32 GEMM is not supported."
ALL = ("fp32", "fp16", "bf16", "int8")


@pytest.fixture(scope="module")
def asked():
    return list_builds(GPUS, ALL)


def test_every_build_has_a_key_of_its_own_and_every_class_every_case(asked):
    assert len({one.name for one in asked}) == len(asked)
    for gpu in GPUS:
        assert {f"build-{name}" for name in CASES} <= {one.case for one in asked if one.gpu == gpu}
    assert sum(one.case == "build-parser" for one in asked) == 1
    assert {(one.precision, one.hybrid) for one in asked if one.gpu == FULL} == {
        *((name, "off") for name in ALL),
        ("int8", "fp16"),
    }


def test_precisions_and_names_choose():
    assert {one.precision for one in list_builds(("t4",), ("fp16",))} == {"fp16"}
    assert {one.case.removeprefix("build-") for one in list_builds((FULL,), ("fp32",), QUICK)} == set(QUICK)
    assert [one.implicit for one in list_builds(("t4",), ("int8",), ("calibrated",), calibrates=True)] == [
        True
    ]
    assert list_builds(("t4",), ("int8",), ("calibrated",)) == list_builds(("t4",), ("bf16",)) == []


def compared(why, outcome="regression", case="build-gemm", precision="fp32", gpu="t4"):
    key = Key(case, precision, gpu, "tensorrt_rtx-1.7.1.116")
    return Comparison(key, key.of("tensorrt_rtx-1.6.1.120"), BUILD, outcome, tuple(why))


def test_a_refusal_that_the_table_knows_is_excused(asked):
    line = f"regression: it was built and is refused: {REFUSAL}"
    assert find_known(RTX, asked, compared([line])) == "turing-gemm-fp32"


@pytest.mark.parametrize(
    "comparison",
    [
        compared(["regression: it was built and is refused: out of memory"]),
        compared([f"regression: it was built and is refused: {REFUSAL}"], gpu="l4"),
        compared([f"regression: it was built and is refused: {REFUSAL}"], precision="fp16"),
        compared([f"regression: it was built and is refused: {REFUSAL}", "regression: and more"]),
        compared(["regression: it was built and is crashed: signal SIGSEGV"]),
        compared(["regression: the parser supports no longer: Conv"], case="build-parser", gpu="l4"),
        compared(["drift: layers by type: fp16 1 to 0, fp32 0 to 1"], outcome="drift"),
    ],
    ids=["words", "gpu", "precision", "more", "crash", "parser", "drift"],
)
def test_nothing_else_is_excused(asked, comparison):
    assert find_known(RTX, asked, comparison) == ""


def test_builds_are_held_against_the_older_version_and_told(tmp_path):
    old = Golden(
        Key("build-x", "fp32", "t4", "tensorrt_rtx-1.6.1.120"),
        BUILD,
        facts={"outcome": "built"},
        provenance={},
    )
    new = replace(
        old,
        key=old.key.of("tensorrt_rtx-1.7.1.116"),
        facts={"outcome": "refused", "words": ["no"], "model": "m"},
    )
    other = replace(new, key=Key("build-a", "fp32", "t4", new.key.product))
    store = open_store(tmp_path / "goldens")
    store.save(old)
    item, notes = SimpleNamespace(nodeid="test", user_properties=[]), []
    book = Book(store, "check", "tensorrt_rtx-1.6.1.120")
    held = hold_builds(book, [new, other], item, lambda *given: notes.append(given))
    assert [(entry.comparison.key.case, entry.comparison.outcome) for entry in held] == [
        ("build-a", "missing"),
        ("build-x", "regression"),
    ]
    assert [entry.passed for entry in held] == [True, False]
    assert [name for name, _ in item.user_properties] == ["trt_golden"] * 2
    assert [(then is not None, now.key.case) for _, _, then, now in notes] == [
        (False, "build-a"),
        (True, "build-x"),
    ]
