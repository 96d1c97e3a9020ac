"""Stores: what is kept comes back from each kind, and what is wrong in one has its words."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.errors import GoldenError, GoldenMissing
from pytest_trt.golden import folder as folder_module
from pytest_trt.golden.files import pack
from pytest_trt.golden.folder import FolderFiles
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BUILD, Golden
from pytest_trt.golden.store import FileStore, Store, open_store

from .stores import KEY, KNOWN, is_same, list_files, make_build, make_golden, reseal

PATH = KEY.path
OTHER = KEY.of("tensorrt-11.4")


@pytest.fixture(params=["folder", "file://", "zip", "zip://::", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind that needs no server."""
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec")
        fsspec.filesystem("memory").store.clear()
        return open_store("memory://goldens/all")
    place = {
        "folder": f"{tmp_path}/g",
        "file://": f"file://{tmp_path}/g",
        "zip": f"{tmp_path}/g.zip",
        "zip://::": f"zip://::file://{tmp_path}/g.zip",
    }[request.param]
    return open_store(place)


def find_arrays(folder: Path) -> Path:
    (found,) = folder.rglob("*.npz")
    return found


def test_a_golden_comes_back_and_goes_away(store: Store) -> None:
    assert (store.keys(), store.problems(), store.clean()) == ((), {}, ())
    store.save(make_golden(1))
    store.save(make_build(OTHER))
    assert is_same(store.load(KEY), make_golden(1))
    assert is_same(store.load(OTHER), make_build(OTHER))
    assert store.keys() == tuple(sorted([KEY, OTHER]))
    store.save(make_golden(2))
    assert is_same(store.load(KEY), make_golden(2))
    store.clean()
    assert store.problems() == {}
    store.remove(KEY)
    assert store.keys() == (OTHER,)
    with pytest.raises(GoldenMissing, match="no golden of conv one"):
        store.load(KEY)
    with pytest.raises(GoldenMissing, match="no golden of conv one"):
        store.remove(KEY)
    assert store.problems() == {}


def test_outputs_become_a_build_and_the_other_way_round(store: Store) -> None:
    for golden in (make_golden(), make_build(), make_golden(2)):
        store.save(golden)
        assert is_same(store.load(KEY), golden)
    store.clean()
    assert store.problems() == {}


def test_a_missing_golden_says_how_to_record_it(store: Store) -> None:
    with pytest.raises(GoldenMissing) as caught:
        store.load(KEY)
    assert store.place.rstrip("/") in caught.value.why[0]
    assert caught.value.mend == "record one: --trt-golden=record"


def test_looking_makes_nothing(tmp_path: Path) -> None:
    for place in (tmp_path / "a" / "b", tmp_path / "c.zip"):
        store = open_store(place)
        assert (store.keys(), store.problems(), store.clean()) == ((), {}, ())
        with pytest.raises(GoldenMissing):
            store.load(KEY)
    assert list(tmp_path.iterdir()) == []


def test_an_update_leaves_the_two_files_of_the_new_golden(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(3):
        store.save(make_golden(number))
    assert len(list_files(tmp_path)) == 2
    assert sorted(path.suffix for path in (tmp_path / PATH).parent.iterdir()) == [".json", ".npz"]


def test_the_same_goldens_make_the_same_store(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for place, goldens in (
        (one, (make_golden(3), make_build(OTHER), make_golden(1))),
        (other, (make_golden(1), make_build(OTHER))),
    ):
        for suffix in ("", ".zip"):
            for golden in goldens:
                open_store(f"{place}{suffix}").save(golden)
    assert list_files(one) == list_files(other)
    assert one.with_suffix(".zip").read_bytes() == other.with_suffix(".zip").read_bytes()


def test_a_record_makes_a_damaged_golden_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save(make_golden(1))
    find_arrays(tmp_path).write_bytes(b"")
    store.save(make_golden(1))
    assert is_same(store.load(KEY), make_golden(1))
    (tmp_path / f"{PATH}.json").write_bytes(b"")
    store.save(make_golden(2))
    assert is_same(store.load(KEY), make_golden(2))
    assert store.problems() == {}


def test_what_no_file_can_hold_leaves_the_old_golden(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.save(make_golden(1))
    before = list_files(tmp_path)
    bad = make_golden(2)
    bad.facts["x"] = {1}  # type: ignore[index]
    with pytest.raises(GoldenError, match=r"facts\.x of a golden is not plain data"):
        store.save(bad)
    assert list_files(tmp_path) == before


def test_names_never_leave_the_store(tmp_path: Path) -> None:
    store = open_store(tmp_path / "in")
    keys = [
        Key(case, "../fp16", "/t4", "C:\\x\0y")
        for case in ("../../up", "/etc/passwd", "..", ".", "con", "a" * 300, "é")
    ]
    for key in keys:
        store.save(Golden(key, BUILD))
    assert store.keys() == tuple(sorted(keys))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert store.problems() == {}


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GoldenError, match=r"golden '.*conv"):
        open_store(f"{tmp_path}/file/goldens{suffix}").save(make_golden())
    with pytest.raises(GoldenMissing):
        open_store(f"{tmp_path}/file/goldens").load(KEY)


def test_a_store_that_may_only_be_read_is_checked(tmp_path: Path) -> None:
    open_store(tmp_path).save(make_golden())
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert is_same(open_store(tmp_path).load(KEY), make_golden())
        assert open_store(tmp_path).problems() == {}
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


class Problem:
    """A store of one golden in which one thing is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder)
        self.store.save(make_golden())
        self.manifest = folder / f"{PATH}.json"
        self.arrays = find_arrays(folder)

    def edit(self, **fields: Any) -> None:
        held = json.loads(self.manifest.read_bytes())
        self.manifest.write_text(json.dumps(reseal(held | fields)))

    def unknown(self) -> None:
        (self.folder / "notes.txt").write_text("")

    def truncated_manifest(self) -> None:
        self.manifest.write_bytes(self.manifest.read_bytes()[:-30])

    def flipped_manifest(self) -> None:
        self.manifest.write_bytes(self.manifest.read_bytes().replace(b"tensorrt-10", b"tensorrt-11"))

    def newer(self) -> None:
        self.edit(schema=7)

    def truncated_arrays(self) -> None:
        self.arrays.write_bytes(self.arrays.read_bytes()[:-1])

    def flipped_arrays(self) -> None:
        held = bytearray(self.arrays.read_bytes())
        held[150] ^= 1
        self.arrays.write_bytes(held)

    def no_arrays(self) -> None:
        self.arrays.unlink()

    def no_manifest(self) -> None:
        self.manifest.unlink()

    def half_written(self) -> None:
        (self.manifest.parent / ".new-0123456789abcdef").write_text("")

    def old_arrays(self) -> None:
        self.arrays.with_name(f"{self.manifest.stem}.{'0' * 16}.npz").write_text("")

    def duplicate(self) -> None:
        (self.manifest.parent / "copy.json").write_bytes(self.manifest.read_bytes())

    def foreign_key(self) -> None:
        self.manifest.rename(self.manifest.with_name("copy.json"))
        self.arrays.unlink()

    def foreign_gpu(self) -> None:
        self.edit(provenance={"gpu_class": "a100"})

    def link(self) -> None:
        self.arrays.rename(self.arrays.with_suffix(".x"))
        self.arrays.symlink_to(self.arrays.with_suffix(".x"))

    def pipe(self) -> None:
        self.arrays.unlink()
        os.mkfifo(self.arrays)

    def large(self) -> None:
        with self.manifest.open("ab") as file:
            file.truncate(1 << 25)


PROBLEMS = {
    "unknown": (["notes.txt"], "unknown file"),
    "truncated_manifest": ([".json"], "the manifest is truncated"),
    "flipped_manifest": ([".json"], "the manifest is damaged"),
    "newer": ([".json"], "its schema is 7; this pytest-trt reads up to 1"),
    "truncated_arrays": ([".json"], "the arrays are truncated"),
    "flipped_arrays": ([".json"], "the arrays are damaged"),
    "no_arrays": ([".json"], "the arrays are missing"),
    "no_manifest": ([".npz"], "arrays without a manifest"),
    "half_written": ([".new-0123456789abcdef"], "a record was interrupted while it wrote"),
    "old_arrays": ([".npz"], "does not name these arrays: a record was interrupted"),
    "duplicate": (["copy.json"], "it is a duplicate of"),
    "foreign_key": (["copy.json"], "it is of a foreign key"),
    "foreign_gpu": ([".json"], "it is of a foreign GPU: recorded on the class 'a100', and kept as 't4'"),
    "link": ([".json", ".x"], "it is a link"),
    "pipe": ([".json"], "it is no plain file"),
    "large": ([".json"], "such a file has up to"),
}


@pytest.mark.parametrize("kind", sorted(PROBLEMS))
def test_each_problem_has_its_words(kind: str, tmp_path: Path) -> None:
    problem = Problem(tmp_path)
    getattr(problem, kind)()
    found = problem.store.problems()
    ends, words = PROBLEMS[kind]
    named = {name: text for name, text in found.items() if name.endswith(tuple(ends))}
    assert any(words in text for text in named.values()), found
    readable = kind in ("unknown", "half_written", "old_arrays", "duplicate")
    if readable:
        assert is_same(problem.store.load(KEY), make_golden())
        assert len(found) == 1
    else:
        with pytest.raises(GoldenError) as caught:
            problem.store.load(KEY)
        missing = kind in ("no_manifest", "foreign_key")
        assert isinstance(caught.value, GoldenMissing) == missing
        assert missing or str(tmp_path) in caught.value.what


@pytest.mark.parametrize("kind", sorted(PROBLEMS))
def test_cleaning_takes_leftovers_and_nothing_else(kind: str, tmp_path: Path) -> None:
    problem = Problem(tmp_path)
    getattr(problem, kind)()
    before = set(list_names(tmp_path))
    gone = problem.store.clean()
    assert set(list_names(tmp_path)) == before - set(gone)
    assert len(gone) == (kind in ("half_written", "old_arrays"))


def list_names(folder: Path) -> list[str]:
    return FolderFiles(str(folder)).list_names()


@pytest.mark.parametrize("kind", sorted(PROBLEMS))
def test_a_golden_with_a_problem_can_be_removed(kind: str, tmp_path: Path) -> None:
    problem = Problem(tmp_path)
    getattr(problem, kind)()
    if kind in ("no_manifest", "foreign_key"):
        return
    problem.store.remove(KEY)
    assert not [
        name for name in list_names(tmp_path) if name.startswith(f"{PATH}.") and not name.endswith(".x")
    ]


def test_guests_at_the_top_are_no_problem(tmp_path: Path) -> None:
    problem = Problem(tmp_path)
    for name in ("README.md", ".gitattributes", "LICENSE", ".lock"):
        (tmp_path / name).write_text("")
    assert problem.store.problems() == {}


def test_a_key_whose_path_is_anothers_is_refused(tmp_path: Path) -> None:
    """The digest in a path makes this need a hand: the manifest of one key under the path of another."""
    problem = Problem(tmp_path)
    other = pack(make_golden(1, OTHER))[0]
    problem.manifest.write_bytes(other)
    with pytest.raises(GoldenError, match="it is of a foreign key"):
        problem.store.load(KEY)


def test_arrays_are_not_read_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(tmp_path)
    with problem.arrays.open("ab") as file:
        file.truncate(1 << 34)  # a hole: no disk is used
    with pytest.raises(GoldenError, match="it has 17179869184 bytes; such a file has up to"):
        problem.store.load(KEY)


class Racing:
    """Files of a folder in which another process records between two reads."""

    def __init__(self, folder: Path, times: int) -> None:
        self._files = FolderFiles(str(folder))
        self._other = open_store(folder)
        self._times = times
        self.place, self.shared = self._files.place, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def read(self, name: str, limit: int) -> bytes:
        if name.endswith(".npz") and self._times:
            self._times -= 1
            self._other.save(make_golden(self._times))
        return self._files.read(name, limit)


def test_a_reader_between_two_records_finds_one_of_them(tmp_path: Path) -> None:
    open_store(tmp_path).save(make_golden(9))
    assert is_same(FileStore(Racing(tmp_path, 3)).load(KEY), make_golden(0))


def test_a_reader_does_not_wait_for_ever(tmp_path: Path) -> None:
    open_store(tmp_path).save(make_golden(900))
    with pytest.raises(GoldenError, match="replaced faster than it can be read"):
        FileStore(Racing(tmp_path, 500)).load(KEY)


def test_an_interrupted_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    store.save(make_golden(1))
    before = list_files(tmp_path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.save(make_golden(2))
    assert list_files(tmp_path) == before


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    place = tmp_path / "g.zip"
    store = open_store(place)
    store.save(make_golden())
    whole = place.read_bytes()
    place.write_bytes(whole[:-10])
    with pytest.raises(GoldenError, match="is no zip, or damaged"):
        store.load(KEY)
    start = whole.index(b"tensorrt-10.13.3.9.json") + 40
    place.write_bytes(whole[:start] + b"#####" + whole[start + 5 :])
    with pytest.raises(GoldenError, match="cannot be unpacked"):
        store.load(KEY)


def test_a_zip_that_unpacks_to_more_than_a_manifest_is_refused(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "g.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{PATH}.json", bytes(1 << 25))
    with pytest.raises(GoldenError, match="unpacked it has more than 16777216 bytes"):
        open_store(tmp_path / "g.zip").load(KEY)


@pytest.mark.parametrize("place", ["nothing://x", "memory://", "s3"])
def test_a_place_is_a_store_or_told(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "s3":
        assert isinstance(open_store(place), FileStore)
        return
    pytest.importorskip("fsspec")
    if place == "nothing://x":
        with pytest.raises(GoldenError, match="'nothing://x' is no place for goldens"):
            open_store(place)
    else:
        assert open_store(place).keys() == ()


def test_without_fsspec_an_url_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(GoldenError, match="need fsspec") as caught:
        open_store("s3://bucket/goldens")
    assert caught.value.mend == "pip install 'pytest-trt[golden]', or give a folder"


def test_known_provenance_of_the_same_class_passes(tmp_path: Path) -> None:
    open_store(tmp_path).save(make_golden())
    assert open_store(tmp_path).load(KEY).provenance == KNOWN
