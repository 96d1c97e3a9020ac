"""Two goldens of a store, without a reference; strangers in a store; what the cache keeps of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.golden.between import compare_kept, compare_products
from pytest_trt.golden.cache import find_folder, note_unused, open_rejected, read_unused
from pytest_trt.golden.compare import measure_errors
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    BUILD,
    DRIFT,
    IDENTICAL,
    OUTPUTS,
    REGRESSION,
    UNUSABLE,
    Golden,
)
from pytest_trt.golden.spread import EDGES, count_spread, pair_spreads
from pytest_trt.golden.store import open_store
from pytest_trt.golden.strangers import sort_problems
from pytest_trt.numerics.bounds import Bound

OLD, NEW = "tensorrt-10.0.1.6", "tensorrt-10.13.3.9"
KEY = Key("case", "fp32", "t4", OLD)
MID = np.linspace(1, 2, 64)
LIMITS = {"y": Bound(MID, MID - 1.0, MID + 1.0)}
SIGNS = np.where(np.arange(64) % 2, 1.0, -1.0)


def golden(error, product=OLD, bias=0.0, kept=True):
    arrays = {"y": (MID + error * SIGNS + bias).astype(np.float32)}
    facts = (
        {"numbers": measure_errors(arrays, LIMITS), "spread": count_spread(arrays, LIMITS)} if kept else {}
    )
    return Golden(KEY.of(product), OUTPUTS, arrays, facts)


@pytest.mark.parametrize(
    ("new", "outcome"),
    [
        (golden(0.1, NEW), IDENTICAL),
        (golden(-0.1, NEW), BENIGN),
        (golden(0.14, NEW), BENIGN),
        (golden(0.2, NEW), DRIFT),
        (golden(0.1, NEW, bias=0.08), DRIFT),
        (golden(1.5, NEW), REGRESSION),
        (golden(-0.1, NEW, kept=False), DRIFT),
    ],
)
def test_classes_without_a_reference(new, outcome):
    found = compare_kept(golden(0.1), new)
    assert found.outcome == outcome and found.why[0].startswith(outcome)
    assert (found.key.product, found.other.product) == (NEW, OLD)


def test_what_was_wrong_already_is_told():
    found = compare_kept(golden(1.4), golden(1.5, NEW))
    assert found.outcome == REGRESSION and "64 elements outside; 64 were then" in found.why[0]


def test_spreads_lie_side_by_side():
    histogram = compare_kept(golden(0.1), golden(0.2, NEW)).histograms["y"]
    assert sum(histogram["old"]) == sum(histogram["new"]) == 64
    place = next(i for i, edge in enumerate(EDGES) if edge > 0.1) - 1
    assert histogram["old"][place] == 32 and histogram["new"][place + 1] == 32
    assert pair_spreads(None, {}) == {} and pair_spreads({"y": [1]}, {"y": [2]}) == {}


def test_spreads_count_what_has_an_error():
    exact = {"y": Bound.exact(MID, "fp32")}
    assert count_spread({"y": MID.astype(np.float32)}, exact) == {}
    assert count_spread({"y": np.ones(3), "z": np.ones(1)}, LIMITS) == {}
    far = count_spread({"y": np.full(64, np.inf, np.float32) * SIGNS}, LIMITS)
    assert far == {}, "an infinite error has no place"
    beyond = count_spread({"y": MID + 5}, LIMITS)["y"]
    assert beyond[-1] == 64
    bits = (MID.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    bf16 = {"y": replace(LIMITS["y"], kind="bf16")}
    assert sum(count_spread({"y": bits}, bf16)["y"]) == 64


def test_products_are_compared_case_by_case(tmp_path):
    store = open_store(tmp_path / "golden")
    for one in (golden(0.1), golden(0.2, NEW)):
        store.save(one)
    build = Golden(Key("b", "fp32", "t4", OLD), BUILD, {}, {"outcome": "built"})
    store.save(build)
    store.save(replace(build, key=build.key.of(NEW), facts={"outcome": "refused", "words": ["no"]}))
    found, gone, new = compare_products(store, "tensorrt-10.0", "tensorrt-10.13")
    assert [one.outcome for one in found] == [REGRESSION, DRIFT]
    assert (len(gone), len(new)) == (0, 0)
    store.remove(Key("b", "fp32", "t4", NEW))
    found, gone, new = compare_products(store, OLD, NEW)
    assert [one.outcome for one in found] == [DRIFT] and [key.case for key in gone] == ["b"] and new == []
    assert len(compare_products(store, OLD, NEW, "cas")[1]) == 0
    with pytest.raises(GoldenError, match=r"no golden of 'tensorrt-9'.*"):
        compare_products(store, "tensorrt-9", NEW)


def test_a_damaged_side_is_told(tmp_path):
    store = open_store(tmp_path / "golden")
    store.save(golden(0.1))
    store.save(golden(0.1, NEW))
    next((tmp_path / "golden").rglob(f"{NEW}*.npz")).write_bytes(b"x")
    found, _, _ = compare_products(store, OLD, NEW)
    assert found[0].outcome == UNUSABLE and "truncated" in found[0].why[0]


def test_outputs_of_one_processor_are_compared_with_their_own(tmp_path):
    store = open_store(tmp_path / "golden")
    for machine in ("", "+cpu-ab", "+cpu-cd"):
        for product in ("emulator+tensorrt-10.0.1.6+ort-1.32", "emulator+tensorrt-10.13.3.9+ort-1.32"):
            store.save(golden(0.1, product + machine))
    found, _, _ = compare_products(store, "emulator+tensorrt-10.0", "emulator+tensorrt-10.13")
    assert len(found) == 3
    assert all(
        one.key.product.partition("+cpu-")[2] == one.other.product.partition("+cpu-")[2] for one in found
    )


def test_folders_without_a_golden_are_somebody_elses(tmp_path):
    place = tmp_path / "golden"
    store = open_store(place)
    store.save(golden(0.1))
    (place / "tables").mkdir()
    (place / "tables" / "a.json").write_text("{}")
    (place / "case" / "notes.txt").write_text("")
    (place / "stray.bin").write_text("")
    (place / "README.md").write_text("")
    wrong, foreign = sort_problems(store)
    assert set(wrong) == {"case/notes.txt", "stray.bin"} and foreign == {"tables": 1}
    next(place.rglob("*.json")).parent.joinpath("x").write_text("")
    next((place / "case").rglob("*.npz")).write_bytes(b"")
    assert any(name.endswith(".json") for name in sort_problems(store)[0])


def test_a_damaged_golden_alone_in_its_folder_is_wrong(tmp_path):
    store = open_store(tmp_path / "golden")
    store.save(golden(0.1))
    next((tmp_path / "golden").rglob("*.json")).write_text("{")
    wrong, foreign = sort_problems(store)
    assert wrong and not foreign


def test_unused_goldens_are_kept_until_they_are_used(tmp_path):
    place, cache = str(tmp_path / "golden"), tmp_path / "cache"
    other = Key("other", "fp32", "t4", OLD)
    assert read_unused(place, cache) == ()
    note_unused(place, (), (KEY,), cache)
    assert not cache.exists(), "nothing to say makes no folder"
    note_unused(place, (KEY, other), (), cache)
    assert read_unused(place, cache) == (KEY, other)
    note_unused(place, (), (KEY,), cache)
    assert read_unused(place, cache) == (other,)
    assert read_unused(str(tmp_path / "elsewhere"), cache) == ()
    path = find_folder(place, cache, "unused") / "unused.json"
    path.write_text('[{"case": 1}]')
    with pytest.raises(GoldenError, match=r"unused.json.* cannot be read"):
        read_unused(place, cache)


def test_each_store_has_its_own_place_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_folder("golden", None, "rejected") == find_folder(str(tmp_path / "golden"), None, "rejected")
    assert find_folder("s3://a", tmp_path, "rejected") != find_folder("s3://b", tmp_path, "rejected")
    assert open_rejected("golden", tmp_path).keys() == ()
