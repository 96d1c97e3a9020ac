"""A folder of goldens on this machine."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from pytest_trt.errors import GoldenError
from pytest_trt.golden.lock import hold_lock

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a link is refused, a pipe does not block


class FolderFiles:
    """Files of a folder: written beside, synchronised, and replaced.

    Parameters
    ----------
    folder : str
        It is made by the first `lock`.
    """

    shared = False

    def __init__(self, folder: str) -> None:
        self.place = folder
        self._root = os.path.abspath(folder)

    def list_names(self) -> list[str]:
        """Return the names of all files; links are files here, and not followed."""
        found = []
        for base, folders, names in os.walk(self._root):
            inside = os.path.relpath(base, self._root).replace(os.sep, "/")
            links = [name for name in folders if os.path.islink(os.path.join(base, name))]
            found += [name if inside == "." else f"{inside}/{name}" for name in names + links]
        return found

    def read(self, name: str, limit: int) -> bytes:
        """Return a file's bytes.

        Raises
        ------
        FileNotFoundError
            There is none.
        GoldenError
            It is larger than `limit`, or no plain file.
        """
        try:
            descriptor = os.open(self._find(name), _READ)
        except NotADirectoryError as error:
            raise FileNotFoundError(errno.ENOENT, "a part of the path is a file", name) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            odd = error.errno in (errno.ELOOP, errno.ENXIO)
            raise GoldenError("it is a link, and no plain file" if odd else f"{error.strerror}") from error
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise GoldenError("it is no plain file")
            if facts.st_size > limit:
                raise GoldenError(f"it has {facts.st_size} bytes; such a file has up to {limit}")
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                return file.readall()
        finally:
            os.close(descriptor)

    def change(self, writes: Mapping[str, bytes], removes: Sequence[str] = ()) -> None:
        """Write files whole, in this order, then take others away, and folders that this leaves empty."""
        for name, data in writes.items():
            self._write(self._find(name), data)
        for name in removes:
            with suppress(FileNotFoundError):
                os.unlink(self._find(name))
            base = os.path.dirname(self._find(name))
            with suppress(OSError):  # not empty
                while base.startswith(self._root + os.sep):
                    os.rmdir(base)
                    base = os.path.dirname(base)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold off other writers, of all processes that see the folder."""
        os.makedirs(self._root, exist_ok=True)
        with hold_lock(os.path.join(self._root, ".lock")):
            yield

    def _find(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, path: str, data: bytes) -> None:
        base = os.path.dirname(path)
        os.makedirs(base, exist_ok=True)
        replace_file(path, data)


def replace_file(path: str, data: bytes) -> None:
    """Write a file such that a reader, also after a loss of power, finds the old content or the new one."""
    base = os.path.dirname(path)
    beside = os.path.join(base, f".new-{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some file systems do not synchronise folders
            os.fsync(folder)
    finally:
        os.close(folder)
