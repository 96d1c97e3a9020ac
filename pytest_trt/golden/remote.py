"""Goldens wherever fsspec reaches: object stores, memory, archives on servers."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pytest_trt.errors import GoldenError
from pytest_trt.golden.lock import hold_lock


class RemoteFiles:
    """Files of an fsspec file system.

    An object store shows each object whole or not at all, and arrays are written before their manifest: a reader finds a
    golden whole. There is no lock over machines; that of this machine keeps its own workers apart. Two machines that record
    one key at once leave the golden of one of them.

    Parameters
    ----------
    url : str
    options : mapping
        Of the file system.

    Raises
    ------
    GoldenError
        fsspec, or the package of the protocol, is not installed; or the URL is none.
    """

    shared = True

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.place = url
        try:
            import fsspec
        except ImportError as error:
            raise GoldenError(
                f"goldens at {url!r} need fsspec", mend="pip install 'pytest-trt[golden]', or give a folder"
            ) from error
        try:
            self._system, root = fsspec.core.url_to_fs(url, **{"use_listings_cache": False, **options})
        except ImportError as error:
            raise GoldenError(
                f"goldens at {url!r} need a package", why=str(error), mend=str(error)
            ) from error
        except Exception as error:  # each file system has its own
            raise GoldenError(
                f"{url!r} is no place for goldens", why=f"{type(error).__name__}: {error}"
            ) from error
        self._root = str(root).rstrip("/")

    def list_names(self) -> list[str]:
        """Return the names of all files; none where the root does not exist."""
        with self._told():
            self._system.invalidate_cache()
            try:
                found = self._system.find(self._root)
            except FileNotFoundError:
                return []
        start = len(self._root.lstrip("/")) + 1 if self._root.strip("/") else 0
        return [name.lstrip("/")[start:] for name in found]

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes.

        Raises
        ------
        FileNotFoundError
            There is none.
        GoldenError
            It is larger than `limit`, or cannot be reached.
        """
        path = self._find(name)
        with self._told():
            self._system.invalidate_cache()
            size = self._system.size(path)
            if size is not None and size > limit:
                raise GoldenError(f"it has {size} bytes; such a file has up to {limit}")
            return bytes(self._system.cat_file(path))

    def change(self, writes: Mapping[str, bytes], removes: Sequence[str] = ()) -> None:
        """Write files in this order, then take others away."""
        with self._told():
            for name, data in writes.items():
                self._write(self._find(name), data)
            for name in removes:
                try:
                    self._system.rm_file(self._find(name))
                except FileNotFoundError:
                    continue

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold off other writers on this machine."""
        name = hashlib.sha256(self.place.encode()).hexdigest()[:16]
        user = os.getuid() if hasattr(os, "getuid") else 0
        with hold_lock(os.path.join(tempfile.gettempdir(), f"pytest-trt-golden-{user}-{name}.lock")):
            yield

    def _find(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, path: str, data: bytes) -> None:
        try:
            self._system.pipe_file(path, data)
        except FileNotFoundError:
            # Folders are made; a bucket is not, since its owner, region and price are no test's choice.
            top = path[: path.index("/", 1)]
            if not self._system.exists(top):
                raise
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._system.pipe_file(path, data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make what a file system raises our own error; only that a file is missing stays as it is."""
        try:
            yield
        except (FileNotFoundError, GoldenError):
            raise
        except Exception as error:  # botocore, aiohttp, paramiko, ...: each has its own
            raise GoldenError(
                f"the goldens at {self.place!r} cannot be reached", why=f"{type(error).__name__}: {error}"
            ) from error
