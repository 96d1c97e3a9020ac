"""Stores of goldens: a folder, a zip file, or what fsspec reaches.

A golden is a manifest at the path of its key and, where it has arrays, a file beside it whose name ends in their digest. Arrays
are written first and the manifest is replaced last: at every moment a reader finds the old golden or the new one, whole. What
an interrupted record leaves is told by `problems` and taken away by `clean`; it is never read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from pytest_trt.errors import GoldenError, GoldenMissing
from pytest_trt.golden.arrays import MAX_ARRAYS
from pytest_trt.golden.files import MAX_MANIFEST, Manifest, join, pack, read_manifest
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import Golden

_ARRAYS = re.compile(r"(?P<stem>.+)\.(?P<digest>[0-9a-f]{16})\.npz")
_BESIDE = re.compile(r"\.new-[0-9a-z_]+")
"""Name of a file that is being written, before it takes its place."""
# What people and version control put at the top of a store.
_GUESTS = re.compile(r"readme(\.\w+)?|licen[cs]e(\.\w+)?|\.git(ignore|attributes|keep)|\.lock", re.I)
_TRIES = 20


class Files(Protocol):
    """Where a store's files lie. Names are relative, with `/` between their parts."""

    place: str
    """Path or URL, for messages."""

    shared: bool
    """True where `lock` does not hold for everyone who writes: then nothing is taken away that another may have written."""

    def list_names(self) -> list[str]:
        """Return the names of all files, in any order; none where the store does not exist."""

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes; raise FileNotFoundError, or GoldenError where it is larger than a limit or no plain file."""

    def change(self, writes: Mapping[str, bytes], removes: Sequence[str] = ()) -> None:
        """Write files whole, in this order, then take others away; one that is not there is none to take away."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold off other writers; makes the store where it does not exist."""


class Store(Protocol):
    """Goldens by key."""

    @property
    def place(self) -> str:
        """Path or URL, for messages."""

    def load(self, key: Key) -> Golden:
        """Return a golden; raise `GoldenMissing`, or `GoldenError` that names the file and what is wrong."""

    def save(self, golden: Golden) -> None:
        """Write a golden; one of the same key is replaced."""

    def keys(self) -> tuple[Key, ...]:
        """Return the keys of all goldens whose manifest can be read, sorted."""

    def remove(self, key: Key) -> None:
        """Take a golden away; raise `GoldenMissing` where there is none."""

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by file: unknown and damaged files, duplicates, newer schemas, leftovers."""

    def clean(self) -> tuple[str, ...]:
        """Take away what interrupted records left, and return its names."""


def open_store(place: str | os.PathLike[str], **options: object) -> Store:
    """Return the store at a place; it need not exist before the first `save`.

    Parameters
    ----------
    place : str or path
        A folder, a file that ends in `.zip`, or an fsspec URL: `s3://bucket/goldens`, `memory://goldens`, `zip://::/path/to.zip`.
    options : optional
        Of the fsspec file system, beside those of its environment variables.

    Raises
    ------
    GoldenError
        fsspec, or the package of that protocol, is not installed; or the URL is none.
    """
    text = os.fspath(place)
    local = re.sub(r"^(file|local)://(?=/)|^zip://::((file|local)://)?(?=/)", "", text)
    if "://" in local or "::" in local:
        from pytest_trt.golden.remote import RemoteFiles

        return FileStore(RemoteFiles(text, options))
    if local.endswith(".zip"):
        from pytest_trt.golden.zipped import ZipFiles

        return FileStore(ZipFiles(local))
    from pytest_trt.golden.folder import FolderFiles

    return FileStore(FolderFiles(local))


class FileStore:
    """Goldens in files; see `Store` for what each method does.

    Parameters
    ----------
    files : Files
        Where they lie.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    @property
    def place(self) -> str:
        """Path or URL, for messages."""
        return self._files.place

    def load(self, key: Key) -> Golden:
        """Return a golden.

        Raises
        ------
        GoldenMissing
            There is none of that key.
        GoldenError
            It cannot be used; the message names the file and says what is wrong.
        """
        path = key.path
        name = f"{path}.json"
        for _ in range(_TRIES):
            try:
                with self._named(name, absent_is_error=False):
                    data = self._files.read(name, MAX_MANIFEST)
            except FileNotFoundError:
                raise GoldenMissing(
                    f"no golden of {key.title}",
                    why=f"no {self._tell(name)!r}",
                    mend="record one: --trt-golden=record",
                ) from None
            with self._named(name):
                manifest = read_manifest(data)
                if manifest.golden.key != key:
                    _check_place(manifest.golden.key, path)
                    raise GoldenError(f"it is of another key: {manifest.golden.key.title}")
            beside = _name_arrays(manifest, path)
            if not beside:
                return manifest.golden
            try:
                with self._named(beside, absent_is_error=False):
                    return join(manifest, self._files.read(beside, MAX_ARRAYS))
            except FileNotFoundError:
                if self._is_still(name, data):
                    raise GoldenError(
                        f"golden {self._tell(beside)!r}: the arrays are missing",
                        why=f"named by {self._tell(name)!r}",
                        mend="take them back from version control, or record again: --trt-golden=record",
                    ) from None
                # Another process recorded between the two reads.
        raise GoldenError(f"golden {self._tell(name)!r}: it is replaced faster than it can be read")

    def save(self, golden: Golden) -> None:
        """Write a golden; one of the same key is replaced.

        Raises
        ------
        GoldenError
            The golden holds what no file can, or the store cannot be written.
        """
        path = golden.key.path
        name = f"{path}.json"
        with self._named(name):
            manifest, arrays = pack(golden)
            beside = _name_arrays(read_manifest(manifest), path)
            with self._files.lock():
                old = [] if self._files.shared else self._find_arrays(path)
                writes = ({beside: arrays} if beside else {}) | {name: manifest}
                self._files.change(writes, [other for other in old if other != beside])

    def keys(self) -> tuple[Key, ...]:
        """Return the keys of all goldens whose manifest can be read and lies where its key says, sorted."""
        return tuple(sorted(key for _, key in self._list_keys()))

    def remove(self, key: Key) -> None:
        """Take a golden away, also a damaged one.

        Raises
        ------
        GoldenMissing
            There is none of that key.
        """
        name = f"{key.path}.json"
        with self._named(name), self._files.lock():
            names = self._files.list_names()
            if name not in names:
                raise GoldenMissing(f"no golden of {key.title}", why=f"no {self._tell(name)!r}")
            # The manifest goes first: without it the arrays are leftovers.
            self._files.change({}, [name, *(other for other in names if _is_of(other, key.path))])

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by file: every golden is read whole.

        Returns
        -------
        dict of str to str
            Empty where all files are goldens that can be used. What no run asks for is not wrong here.
        """
        names = set(self._files.list_names())
        found: dict[str, str] = {}
        needed = set()
        for name in sorted(names):
            if not name.endswith(".json") or name.count("/") != 3:
                continue
            try:
                manifest = read_manifest(self._files.read(name, MAX_MANIFEST))
                needed.add(_name_arrays(manifest, name[:-5]))
                _check_place(manifest.golden.key, name[:-5], names)
                self.load(manifest.golden.key)
            except FileNotFoundError:
                continue  # taken away meanwhile
            except GoldenError as error:
                found[name] = _flatten(error)
        for name in sorted(names - needed - found.keys()):
            words = _judge_stranger(name, names)
            if words:
                found[name] = words
        return found

    def clean(self) -> tuple[str, ...]:
        """Take away what interrupted records left: half-written files, and arrays that their manifest no longer names.

        Returns
        -------
        tuple of str
            What was taken away, sorted. Arrays whose manifest is missing or damaged stay: a person may still mend it.
        """
        if not self._files.list_names():
            return ()
        with self._named("*"), self._files.lock():
            names = self._files.list_names()
            left = [name for name in names if _BESIDE.fullmatch(name.rpartition("/")[2])]
            for name in names:
                parts = _ARRAYS.fullmatch(name)
                if not parts or f"{parts['stem']}.json" not in names:
                    continue
                try:
                    manifest = read_manifest(self._files.read(f"{parts['stem']}.json", MAX_MANIFEST))
                except (GoldenError, FileNotFoundError):
                    continue
                if _name_arrays(manifest, parts["stem"]) != name:
                    left.append(name)
            self._files.change({}, sorted(left))
        return tuple(sorted(left))

    def _list_keys(self) -> Iterator[tuple[str, Key]]:
        for name in self._files.list_names():
            if name.endswith(".json") and name.count("/") == 3:
                try:
                    key = read_manifest(self._files.read(name, MAX_MANIFEST)).golden.key
                except (GoldenError, FileNotFoundError):
                    continue
                if f"{key.path}.json" == name:
                    yield name, key

    def _find_arrays(self, path: str) -> list[str]:
        """Arrays that lie beside a manifest: those that it names, and leftovers."""
        try:
            old = read_manifest(self._files.read(f"{path}.json", MAX_MANIFEST))
        except FileNotFoundError:
            return []
        except GoldenError:
            return [name for name in self._files.list_names() if _is_of(name, path)]
        return [_name_arrays(old, path)] if old.size else []

    @contextmanager
    def _named(self, name: str, absent_is_error: bool = True) -> Iterator[None]:
        """Say in an error which file it is about, and make errors of the system our own."""
        try:
            yield
        except GoldenMissing:
            raise
        except GoldenError as error:
            raise GoldenError(
                f"golden {self._tell(name)!r}: {error.what}", why=error.why, mend=error.mend
            ) from error
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not absent_is_error:
                raise
            raise GoldenError(
                f"golden {self._tell(name)!r}: {error.strerror or error}", why=repr(error)
            ) from error

    def _tell(self, name: str) -> str:
        return f"{self.place.rstrip('/')}/{name}"

    def _is_still(self, name: str, data: bytes) -> bool:
        try:
            return self._files.read(name, MAX_MANIFEST) == data
        except (FileNotFoundError, GoldenError):
            return False


def _name_arrays(manifest: Manifest, path: str) -> str:
    """Where the arrays of a manifest at a path lie; empty where it has none."""
    return f"{path}.{manifest.digest[:16]}.npz" if manifest.size else ""


def _is_of(name: str, path: str) -> bool:
    parts = _ARRAYS.fullmatch(name)
    return parts is not None and parts["stem"] == path


def _check_place(key: Key, path: str, names: Collection[str] = ()) -> None:
    """Refuse a manifest of a key that lies elsewhere than the key says."""
    right = f"{key.path}.json"
    if right == f"{path}.json":
        return
    if right in names:
        raise GoldenError(f"it is a duplicate of {right!r}: both are of {key.title}", mend="remove this file")
    raise GoldenError(
        f"it is of a foreign key: {key.title}", why=f"a golden of that key lies at {right!r}", mend="move it"
    )


def _judge_stranger(name: str, names: set[str]) -> str:
    """What is wrong with a file that no readable manifest needs; empty where nothing is."""
    if "/" not in name and _GUESTS.fullmatch(name):
        return ""
    if _BESIDE.fullmatch(name.rpartition("/")[2]):
        return "a record was interrupted while it wrote this file; nothing reads it"
    parts = _ARRAYS.fullmatch(name)
    if parts and name.count("/") == 3:
        beside = f"{parts['stem']}.json"
        if beside in names:
            return f"{beside!r} does not name these arrays: a record was interrupted; nothing reads them"
        return f"arrays without a manifest: there is no {beside!r}; nothing reads them"
    return (
        ""
        if name.endswith(".json") and name.count("/") == 3
        else "unknown file: no golden lies at such a path"
    )


def _flatten(error: GoldenError) -> str:
    what = re.sub(r"^golden '[^']*': ", "", error.what)
    return "; ".join([what, *error.why])
