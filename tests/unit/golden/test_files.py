"""A golden as two files: what comes back, and what each damage is called."""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.golden import arrays as arrays_module
from pytest_trt.golden import files as files_module
from pytest_trt.golden.arrays import TYPES, pack_arrays
from pytest_trt.golden.files import pack, read_manifest, unpack
from pytest_trt.golden.record import Golden

from .stores import KEY, KNOWN, is_same, make_build, make_golden, reseal

MANIFEST, ARRAYS = pack(make_golden())


def edit(change: Callable[[dict[str, Any]], object], fresh: bool = True) -> bytes:
    """The manifest with a change."""
    held = json.loads(MANIFEST)
    change(held)
    return json.dumps(reseal(held) if fresh else held).encode()


def with_arrays(arrays: bytes) -> bytes:
    """The manifest naming other arrays."""
    facts = {"bytes": len(arrays), "sha256": hashlib.sha256(arrays).hexdigest()}
    return edit(lambda held: held["arrays"].update(facts))


def make_zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return held.getvalue()


def members_of(arrays: bytes = ARRAYS) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(arrays)) as file:
        return {name: file.read(name) for name in file.namelist()}


def dump(values: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    held = io.BytesIO()
    np.lib.format.write_array(held, values, version=version)
    return held.getvalue()


@pytest.mark.parametrize("golden", [make_golden(), make_build()], ids=["outputs", "build"])
def test_a_golden_comes_back(golden: Golden) -> None:
    assert is_same(unpack(*pack(golden)), golden)


def test_equal_goldens_give_equal_bytes() -> None:
    one = make_golden()
    turned = Golden(
        one.key,
        one.kind,
        {name: np.asfortranarray(values) for name, values in reversed(one.arrays.items())},
        dict(reversed(one.facts.items())),
        dict(reversed(one.provenance.items())),
    )
    assert pack(turned) == pack(one)


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 2)], ids=str)
def test_each_type_of_a_tensor_comes_back(kind: str, shape: tuple[int, ...]) -> None:
    if hasattr(np, kind if kind != "bool" else "bool_"):
        dtype = np.dtype(kind)
    else:
        ml_dtypes = pytest.importorskip("ml_dtypes")
        if not hasattr(ml_dtypes, kind):
            pytest.skip(f"this ml_dtypes has no {kind}")
        dtype = np.dtype(getattr(ml_dtypes, kind))
    values = np.ones(shape, np.float32).astype(dtype)
    golden = Golden(KEY, "outputs", {"out": values})
    got = unpack(*pack(golden)).arrays["out"]
    assert (got.dtype, got.shape, got.tobytes()) == (dtype, shape, values.tobytes())


def test_numpy_opens_the_arrays_and_no_bit_is_lost() -> None:
    odd = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32).view(np.float32)
    golden = Golden(KEY, "outputs", {"out": odd, "~1": odd, "x/../y": odd})
    assert unpack(*pack(golden)).same_arrays(golden.arrays)
    with np.load(io.BytesIO(pack_arrays(golden.arrays)), allow_pickle=False) as held:
        assert sorted(held.files) == ["out", "~1", "~2"]
        assert all(held[name].tobytes() == odd.tobytes() for name in held.files)


def test_big_endian_arrays_are_kept_as_little_endian() -> None:
    values = np.arange(3, dtype=">f4")
    got = unpack(*pack(Golden(KEY, "outputs", {"out": values}))).arrays["out"]
    assert got.dtype == np.dtype("<f4")
    assert got.tolist() == [0, 1, 2]


def test_what_comes_back_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        unpack(MANIFEST, ARRAYS).arrays["logits"][0] = 3


def test_each_array_begins_at_a_multiple_of_64_bytes() -> None:
    with zipfile.ZipFile(io.BytesIO(ARRAYS)) as file:
        for info in file.infolist():
            head = info.header_offset
            starts = head + 30 + sum(np.frombuffer(ARRAYS, "<u2", 2, head + 26).tolist())
            assert starts % 64 == 0
            assert info.date_time == (1980, 1, 1, 0, 0, 0)


def test_facts_are_plain_data_and_keep_odd_numbers() -> None:
    facts = {"rms": np.float32(0.5), "list": (1, math.inf, {"low": -math.inf}), "nan": math.nan, "none": None}
    manifest, _ = pack(Golden(KEY, "build", {}, facts))
    got = unpack(manifest, b"").facts
    assert b"NaN" not in manifest and b"Infinity" not in manifest
    assert got["list"] == [1, math.inf, {"low": -math.inf}]
    assert math.isnan(got["nan"])
    assert got["rms"] == 0.5


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"x": {1}}, "facts.x of a golden is not plain data: set"),
        ({"x": [{"y": b""}]}, "facts.x[0].y of a golden is not plain data: bytes"),
        ({"x": {1: 2}}, "facts.x of a golden is not plain data: dict"),
        ({"x": {"float": 1}}, "facts.x of a golden is not plain data: dict"),
    ],
)
def test_facts_that_are_no_plain_data_are_refused(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(GoldenError) as caught:
        pack(Golden(KEY, "build", {}, facts))
    assert caught.value.what == words


def test_facts_without_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(GoldenError, match="nested too deeply"):
        pack(Golden(KEY, "build", {}, {"x": endless}))


@pytest.mark.parametrize(
    "values", [np.array([{}], object), np.ones(2, complex), np.array(["a"])], ids=lambda v: v.dtype.name
)
def test_types_that_no_tensor_has_are_refused(values: Any) -> None:
    with pytest.raises(GoldenError, match="output 'out' has the type"):
        pack(Golden(KEY, "outputs", {"out": values}))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(GoldenError, match="no kind of golden: 'x'"):
        pack(Golden(KEY, "x"))


def test_a_foreign_gpu_is_refused_when_it_is_kept_and_when_it_is_read() -> None:
    words = "foreign GPU: recorded on the class 'a100', and kept as 't4'"
    with pytest.raises(GoldenError, match=words):
        pack(Golden(KEY, "build", {}, {}, KNOWN | {"gpu_class": "a100"}))
    with pytest.raises(GoldenError, match=words):
        unpack(edit(lambda held: held["provenance"].update(gpu_class="a100")), ARRAYS)


def test_limits_of_size_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays_module, "MAX_ARRAYS", 27)
    with pytest.raises(GoldenError, match="the outputs have 32 bytes; a golden holds up to 27"):
        pack(make_golden())
    monkeypatch.setattr(files_module, "MAX_MANIFEST", 99)
    with pytest.raises(GoldenError, match="a manifest holds up to 99"):
        pack(make_build())
    with pytest.raises(GoldenError, match="one holds up to 99"):
        read_manifest(MANIFEST)


@pytest.mark.parametrize(
    "text", [MANIFEST.replace(b"\n", b"\r\n"), json.dumps(json.loads(MANIFEST)).encode()]
)
def test_white_space_is_no_damage(text: bytes) -> None:
    assert is_same(unpack(text, ARRAYS), make_golden())


@pytest.mark.parametrize(
    "manifest, words",
    [
        (b"", "the manifest is empty"),
        (MANIFEST[:-40], "the manifest is truncated: it ends early"),
        (MANIFEST.replace(b'"facts"', b'"facts'), "the manifest is damaged: no JSON at line"),
        (MANIFEST.replace(b'"number": 1', b'"number": 3'), "the manifest is damaged: it was changed"),
        (MANIFEST.replace(b"case", b"\xffase"), "the manifest is damaged: byte"),
        (b"<<<<<<< HEAD\n" + MANIFEST, "the manifest holds an unresolved merge"),
        (b"[" * 100_000, "the manifest"),
        (b"[]", "it is JSON, and no manifest"),
        (b"{}", "it is JSON, and no manifest"),
        (edit(lambda held: held.update(schema=2)), "its schema is 2; this pytest-trt reads up to 1"),
        (edit(lambda held: held.update(schema=True)), "it is JSON, and no manifest"),
        (edit(lambda held: held.pop("facts")), "the manifest has other fields than schema 1"),
        (edit(lambda held: held.update(facts=math.nan), fresh=False), "numbers that JSON does not have"),
        (edit(lambda held: held.update(kind="x")), "the manifest has no key, kind"),
        (edit(lambda held: held["key"].update(case=" ")), "the manifest has no key, kind"),
        (edit(lambda held: held["key"].update(case="\ud800")), "the manifest has no key, kind"),
        (edit(lambda held: held.update(facts=[])), "the manifest has no key, kind"),
        (edit(lambda held: held.update(facts={"x": {"float": "x"}})), "a number that is none"),
        (edit(lambda held: held.update(facts={"float": "inf"})), "a number for facts or provenance"),
        (edit(lambda held: held.update(arrays=[])), "does not say which arrays"),
        (edit(lambda held: held["arrays"].update(sha256="../x")), "does not say which arrays"),
        (edit(lambda held: held["arrays"].update(bytes=1 << 40)), "the arrays have 1099511627776 bytes"),
        (edit(lambda held: held["arrays"].update(outputs={})), "the manifest names no outputs"),
        (edit(lambda held: held["arrays"]["outputs"]["logits"].update(type="object")), "describes output 'logits'"),
        (edit(lambda held: held["arrays"]["outputs"]["logits"].update(shape=[-1])), "describes output 'logits'"),
        (edit(lambda held: held["arrays"]["outputs"]["logits"].update(shape=[3, 2])), "is not the one of the manifest"),
        (edit(lambda held: held["arrays"]["outputs"]["logits"].update(type="int32")), "is not the one of the manifest"),
        (edit(lambda held: held["arrays"]["outputs"].pop("logits")), "the .npz holds other arrays"),
    ],
)  # fmt: skip
def test_each_damage_of_a_manifest_has_its_words(manifest: bytes, words: str) -> None:
    with pytest.raises(GoldenError) as caught:
        unpack(manifest, ARRAYS)
    assert words in caught.value.what


@pytest.mark.skipif(
    not hasattr(sys, "get_int_max_str_digits"), reason="this Python reads numbers of any length"
)
def test_a_number_of_thousands_of_digits_is_a_damage() -> None:
    with pytest.raises(GoldenError, match="cannot be read"):
        unpack(MANIFEST.replace(b'"number": 1', b'"number": 1' + b"0" * 5000), ARRAYS)


@pytest.mark.parametrize(
    "arrays, words",
    [
        (b"", "the arrays are truncated: 0 bytes"),
        (ARRAYS[:-1], "the arrays are truncated"),
        (ARRAYS + b"\0", "the arrays are longer than recorded"),
        (ARRAYS[:200] + bytes([ARRAYS[200] ^ 4]) + ARRAYS[201:], "the arrays are damaged: bits have changed"),
    ],
)
def test_each_damage_of_the_arrays_has_its_words(arrays: bytes, words: str) -> None:
    with pytest.raises(GoldenError) as caught:
        unpack(MANIFEST, arrays)
    assert words in caught.value.what


@pytest.mark.parametrize(
    "forged, words",
    [
        (b"no zip at all", "the arrays are no .npz"),
        (make_zip(members_of(), zipfile.ZIP_DEFLATED), "is compressed or encrypted"),
        (make_zip(members_of() | {"more.npy": b""}), "the .npz holds other arrays"),
        (make_zip({"../" + name: data for name, data in members_of().items()}), "the .npz holds other arrays"),
        (make_zip(members_of() | {"logits.npy": b"\x93NUMPY"}), "no header that numpy writes"),
        (make_zip(members_of() | {"logits.npy": dump(np.array([{}], object))}), "no header that numpy writes"),
        (make_zip(members_of() | {"logits.npy": dump(np.ones((2, 3), "<f4", "F"))}), "no header that numpy writes"),
        (make_zip(members_of() | {"logits.npy": dump(np.ones((2, 3), "<f4"))[:-1]}), "which its shape [2, 3] is not"),
        (make_zip(members_of() | {"logits.npy": dump(np.ones((2, 3), "<f8"))}), "is not the one of the manifest"),
    ],
)  # fmt: skip
def test_arrays_that_someone_forged_are_refused(forged: bytes, words: str) -> None:
    with pytest.raises(GoldenError) as caught:
        unpack(with_arrays(forged), forged)
    assert words in caught.value.what


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_each_version_of_numpy_headers_is_read(version: tuple[int, int]) -> None:
    again = make_zip(members_of() | {"logits.npy": dump(np.full((2, 3), 7, "<f4"), version)})
    assert unpack(with_arrays(again), again).arrays["logits"].tolist() == [[7] * 3] * 2


def test_arrays_larger_than_their_file_are_refused() -> None:
    """Two names for the same bytes: what grows on reading without any compression."""
    one = bytearray(make_zip({"~0.npy": bytes(900), "logits.npy": bytes(900)}))
    start = one.index(b"PK\x01\x02", one.index(b"PK\x01\x02") + 1)
    for place in (start + 20, start + 24):
        one[place : place + 4] = (5000).to_bytes(4, "little")
    with pytest.raises(GoldenError, match="larger than their file"):
        unpack(with_arrays(bytes(one)), bytes(one))


def test_a_local_header_outside_of_the_file_is_refused() -> None:
    one = bytearray(ARRAYS)
    start = one.index(b"PK\x01\x02")
    one[start + 42 : start + 46] = (len(one) - 5).to_bytes(4, "little")
    with pytest.raises(GoldenError, match=r"lies outside|no header"):
        unpack(with_arrays(bytes(one)), bytes(one))


def test_a_type_that_this_machine_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    held = pack(Golden(KEY, "outputs", {"logits": np.ones(2, np.uint16)}))
    manifest = json.loads(held[0])
    manifest["arrays"]["outputs"]["logits"]["type"] = "bfloat16"
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(GoldenError, match="'bfloat16' needs ml_dtypes") as caught:
        unpack(json.dumps(reseal(manifest)).encode(), held[1])
    assert caught.value.mend == "pip install -U ml_dtypes"
