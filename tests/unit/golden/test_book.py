"""A session's goldens: what each mode writes, what is looked up, what nobody asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.errors import GoldenError, GoldenMissing, UsageError
from pytest_trt.golden.book import MODES, OFF, Book, newest_of
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    DRIFT,
    IDENTICAL,
    MISSING,
    OUTPUTS,
    REGRESSION,
    UNUSABLE,
    Golden,
)
from pytest_trt.golden.store import open_store
from pytest_trt.numerics.bounds import Bound

PRODUCT = "tensorrt-10.13.3.9"
KEY = Key("case", "fp32", "t4", PRODUCT)
SIZE = 400
EXACT = np.linspace(1, 2, SIZE)
STEP = 2.0**-23


def golden(steps=0.0, key=KEY, **facts):
    """Outputs so many steps of FP32 beside the exact ones, to both sides in turn."""
    sides = np.where(np.arange(SIZE) % 2, steps, -steps)
    values = (EXACT.astype(np.float32) + (sides * STEP).astype(np.float32)).astype(np.float32)
    return Golden(key, OUTPUTS, {"y": values}, facts, {"test": "test_a.py::test_a"})


LIMITS = {"y": Bound(EXACT, EXACT - 40 * STEP, EXACT + 40 * STEP)}
TODAY = {
    IDENTICAL: golden(2.0),
    BENIGN: replace(golden(2.0), arrays={"y": np.flip(golden(2.0).arrays["y"] - EXACT.astype(np.float32))[::1]
                                         + EXACT.astype(np.float32)}),
    DRIFT: golden(20.0),
    REGRESSION: golden(100.0),
    UNUSABLE: golden(2.0, model="another"),
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "golden")


def kept(store):
    """A store with one golden."""
    store.save(golden(2.0, model="one"))
    return store


def book(store, mode="check", **more):
    return Book(store, mode, **more)


@pytest.mark.parametrize("outcome", list(TODAY))
def test_classes(store, outcome):
    made = book(kept(store))
    assert made.check(TODAY[outcome], LIMITS).outcome == outcome
    assert made.comparisons[0].outcome == outcome
    assert made.entries[0].passed == (outcome in (IDENTICAL, BENIGN))


WRITES = {
    "check": set(),
    "update=new": {MISSING},
    "update=changed": {BENIGN, DRIFT, UNUSABLE},
    "update=all": {MISSING, BENIGN, DRIFT, REGRESSION, UNUSABLE},
    "record": {MISSING, IDENTICAL, BENIGN, DRIFT, REGRESSION, UNUSABLE},
}


def test_every_mode_has_a_row():
    assert {*WRITES, OFF} == set(MODES)


@pytest.mark.parametrize("outcome", [*TODAY, MISSING])
@pytest.mark.parametrize("mode", list(WRITES))
def test_each_mode_writes_what_it_says_and_nothing_else(store, mode, outcome):
    if outcome != MISSING:
        kept(store)
    today = replace(
        TODAY.get(outcome, golden()), facts={"model": "one"} if outcome != UNUSABLE else {"model": "b"}
    )
    before = {key: store.load(key) for key in store.keys()}  # noqa: SIM118
    entry = book(store, mode).enter(today, LIMITS)
    assert entry.comparison.outcome == outcome
    assert entry.written == (outcome in WRITES[mode])
    assert entry.passed == (entry.written or outcome in (IDENTICAL, BENIGN, MISSING))
    if entry.written:
        assert store.load(KEY).same_arrays(today.arrays)
        assert entry.outside == (SIZE if outcome == REGRESSION else 0)
        assert store.load(KEY).facts["numbers"]["y"]["outside"] == entry.outside
        assert len(store.load(KEY).facts["spread"]["y"])
    elif before:
        assert store.load(KEY).facts == before[KEY].facts and store.load(KEY).same_arrays(before[KEY].arrays)
    else:
        assert store.keys() == ()


def test_a_damaged_golden_is_unusable_and_names_the_file(store, tmp_path):
    kept(store)
    path = next((tmp_path / "golden").rglob("*.json"))
    path.write_text(path.read_text()[:-20])
    found = book(store).check(golden(2.0), LIMITS)
    assert found.outcome == UNUSABLE and path.name in found.why[0]


def test_bad_modes(store):
    with pytest.raises(UsageError, match="no mode of goldens: 'off'"):
        book(store, "off")
    with pytest.raises(UsageError, match="compared with, and not written"):
        book(store, "record", from_product="tensorrt-10.0")


def test_an_older_product_may_be_shortened(store):
    for product in ("tensorrt-10.0.1.6", "tensorrt-10.9.0.34", "tensorrt-10.13.0.1"):
        store.save(golden(2.0, key=KEY.of(product)))
    assert book(store, from_product="tensorrt-10.9").find(KEY).key.product == "tensorrt-10.9.0.34"
    assert book(store, from_product="tensorrt-10").find(KEY).key.product == "tensorrt-10.13.0.1"
    assert (
        book(store, from_product="tensorrt-10.0.1.6").check(golden(2.0), LIMITS).other.product.endswith("1.6")
    )
    with pytest.raises(GoldenMissing):
        book(store, from_product="tensorrt-10.1").find(KEY)
    assert book(store).check(golden(2.0), LIMITS).outcome == MISSING
    assert len(book(store).products(KEY)) == 3


def test_newest_of():
    names = [
        "emulator+tensorrt-10.13.3.9+ort-1.9",
        "emulator+tensorrt-10.13.3.9+ort-1.32",
        "tensorrt_rtx-10.13",
    ]
    assert newest_of("emulator+tensorrt-10.13", names) == names[1]
    assert newest_of("emulator+tensorrt-10.13.3.9+ort-1.9", names) == names[0]
    assert newest_of("tensorrt-10.13", names) is None
    local = f"{names[0]}+cpu-ab"
    assert newest_of("emulator+tensorrt-10.13+cpu-ab", [*names, local]) == local
    assert newest_of("emulator+tensorrt-10.13+cpu-cd", [*names, local]) is None


def test_exact_outputs_are_those_of_every_onnx_runtime(store):
    old, new = (f"emulator+tensorrt-10.13.3.9+ort-{version}" for version in ("1.17", "1.32"))
    store.save(golden(key=KEY.of(old)))
    assert book(store).check(golden(key=KEY.of(new)), LIMITS).other.product == old
    assert book(store).check(golden(key=KEY.of(f"{new}+cpu-ab")), LIMITS).outcome == MISSING
    entry = book(store, "update=new").enter(golden(key=KEY.of(new)), LIMITS)
    assert entry.written, "an update keeps them under their own name"


def test_outputs_of_one_processor_are_compared_with_those_of_the_same(store):
    store.save(golden(key=KEY.of("emulator+tensorrt-10.0.1.6+ort-1.32+cpu-ab")))
    today = KEY.of("emulator+tensorrt-10.13.3.9+ort-1.32+cpu-ab")
    older = book(store, from_product="emulator+tensorrt-10.0")
    assert older.check(golden(key=today), LIMITS).outcome == IDENTICAL
    other = KEY.of("emulator+tensorrt-10.13.3.9+ort-1.32+cpu-cd")
    assert book(store, from_product="emulator+tensorrt-10.0").check(golden(key=other)).outcome == MISSING


def test_a_name_that_two_tests_use_is_refused(store):
    made = book(store, "record")
    made.check(golden(inputs="a"), LIMITS, test="test_a.py::test_a")
    made.check(golden(inputs="a"), LIMITS, test="test_a.py::test_a")
    with pytest.raises(UsageError, match=r"asked for by test_a.py::test_a and by test_b.py::test_b"):
        made.check(golden(inputs="a"), LIMITS, test="test_b.py::test_b")
    assert made.duplicates == {KEY: ("test_a.py::test_a", "test_b.py::test_b")}
    with pytest.raises(UsageError, match=r"test_a.py::test_a twice, with other inputs"):
        book_twice(store)


def book_twice(store):
    made = book(store, "record")
    made.check(golden(inputs="a"), LIMITS, test="test_a.py::test_a")
    made.check(golden(inputs="b"), LIMITS, test="test_a.py::test_a")


def test_what_fails_is_kept_for_accepting_until_it_passes(store, tmp_path):
    rejected = open_store(tmp_path / "rejected")
    made = book(kept(store), rejected=rejected)
    made.check(golden(100.0, inputs="a"), LIMITS)
    assert rejected.load(KEY).same_arrays(golden(100.0).arrays)
    assert rejected.load(KEY).facts["numbers"]["y"]["outside"] == SIZE
    made.check(golden(2.0, inputs="a"), LIMITS)
    assert rejected.keys() == ()
    book(store, rejected=rejected, from_product="tensorrt-10.13").check(golden(100.0), LIMITS)
    assert rejected.keys() == (), "the golden of another version stays what it was"


def test_a_cache_that_cannot_be_written_hides_no_failure(store, tmp_path):
    (tmp_path / "file").write_text("")
    made = book(kept(store), rejected=open_store(tmp_path / "file" / "rejected"))
    assert made.check(golden(100.0), LIMITS).outcome == REGRESSION


def test_a_store_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GoldenError):
        book(open_store(tmp_path / "file" / "golden"), "record").check(golden(), LIMITS)
