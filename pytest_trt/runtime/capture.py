"""Catch what compilers inside TensorRT print past its logger, at the level of file descriptors 1 and 2."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO


class Captured:
    """Holder of the text; filled when the block ends."""

    def __init__(self) -> None:
        self.text = ""


class FdCapture:
    """Redirects descriptors 1 and 2 while at least one block is open; safe for several threads.

    Blocks that overlap in time share one redirection, so builders in parallel threads are not serialised;
    each gets all that was printed while it was open. pytest's own capture is a redirection too and is put
    back as it was.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._saved: list[tuple[int, int]] = []
        self._file: IO[bytes] | None = None

    @contextmanager
    def block(self, held: Captured | None = None) -> Iterator[Captured]:
        """Capture until the block ends; gives the holder, whose `text` is set then, also after an error."""
        held = held or Captured()
        with self._lock:
            self._enter()
            file = self._file
            start = _size(file)
        try:
            yield held
        finally:
            with self._lock:
                _flush()
                held.text = _tail(file, start)
                self._leave()

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        _flush()
        try:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed in _restore
            for number in (1, 2):
                self._saved.append((number, os.dup(number)))
                os.dup2(self._file.fileno(), number)
        except OSError:  # A closed descriptor: there is nothing to catch, and nothing may break for it.
            self._restore()

    def _leave(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._restore()

    def _restore(self) -> None:
        while self._saved:
            number, saved = self._saved.pop()
            os.dup2(saved, number)
            os.close(saved)
        if self._file is not None:
            self._file.close()
            self._file = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _size(file: IO[bytes] | None) -> int:
    return 0 if file is None else os.fstat(file.fileno()).st_size


def _tail(file: IO[bytes] | None, start: int) -> str:
    if file is None:
        return ""
    # pread leaves the shared offset alone, at which descriptors 1 and 2 go on writing.
    return os.pread(file.fileno(), max(0, _size(file) - start), start).decode("utf-8", "replace")


@functools.cache
def process_capture() -> FdCapture:
    """Return the one capture of this process: descriptors 1 and 2 are the process's own."""
    return FdCapture()
