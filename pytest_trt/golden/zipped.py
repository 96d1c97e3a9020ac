"""Goldens in one zip file: easy to hand on, rewritten whole at each record."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from pytest_trt.errors import GoldenError
from pytest_trt.golden.folder import replace_file
from pytest_trt.golden.lock import hold_lock

MAX_ZIP = 1 << 30
"""Bytes that a zip of goldens may have."""

_DATE = (1980, 1, 1, 0, 0, 0)
_Stamp = tuple[int, int, int]


class ZipFiles:
    """Members of a local zip file; the same goldens give the same bytes.

    Parameters
    ----------
    path : str
        It is made by the first write; its folder has to exist.
    """

    shared = False

    def __init__(self, path: str) -> None:
        self.place = path
        self._path = os.path.abspath(path)
        self._held: tuple[_Stamp, zipfile.ZipFile] | None = None

    def list_names(self) -> list[str]:
        """Return the names of all members."""
        file = self._open()
        return sorted({info.filename for info in file.infolist() if not info.is_dir()}) if file else []

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes.

        Raises
        ------
        FileNotFoundError
            There is none.
        GoldenError
            It is larger than `limit` when it is unpacked, or the zip is damaged.
        """
        file = self._open()
        if file is None or name not in file.NameToInfo:
            raise FileNotFoundError(name)
        try:
            with file.open(name) as member:
                data = member.read(limit + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            RuntimeError,
            NotImplementedError,
            EOFError,
            ValueError,
        ) as error:
            raise GoldenError(f"it cannot be unpacked from {self.place!r}", why=str(error)) from error
        if len(data) > limit:
            raise GoldenError(f"unpacked it has more than {limit} bytes, and such a file has up to that")
        return data

    def change(self, writes: Mapping[str, bytes], removes: Sequence[str] = ()) -> None:
        """Write a new zip beside and replace the old one: all changes at once."""
        old = self._open()
        kept = {info.filename: info for info in old.infolist() if not info.is_dir()} if old else {}
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as new:
            for name in sorted((kept.keys() - set(removes)) | writes.keys()):
                info = zipfile.ZipInfo(name, _DATE)
                info.create_system, info.external_attr = 3, 0o644 << 16
                new.writestr(info, writes[name] if name in writes else self.read(name, MAX_ZIP))
        replace_file(self._path, held.getvalue())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold off other writers, of all processes that see the file."""
        with hold_lock(self._path + ".lock"):
            yield

    def _open(self) -> zipfile.ZipFile | None:
        """The zip as it is now, from memory where it has not changed."""
        try:
            facts = os.stat(self._path)
        except FileNotFoundError:
            return None
        stamp = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if self._held is None or self._held[0] != stamp:
            if facts.st_size > MAX_ZIP:
                raise GoldenError(
                    f"{self.place!r} has {facts.st_size} bytes; a zip of goldens has up to {MAX_ZIP}"
                )
            try:
                with open(self._path, "rb") as file:
                    self._held = stamp, zipfile.ZipFile(io.BytesIO(file.read()))
            except (
                OSError,
                zipfile.BadZipFile,
                struct.error,
                ValueError,
                NotImplementedError,
                OverflowError,
            ) as error:
                raise GoldenError(
                    f"{self.place!r} is no zip, or damaged",
                    why=str(error),
                    mend="take it back from version control",
                ) from error
        return self._held[1]
