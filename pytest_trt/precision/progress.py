"""Progress of a calibration, on one line of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

# Called with how many batches are done, and how many there are; None where nobody knows.
Progress = Callable[[int, "int | None"], None]

_WIDTH = 30


class TerminalProgress:
    """Shows batches as a line that is written over; silent where the stream is no terminal.

    Parameters
    ----------
    stream : file
        Where to write.
    label : str
        What is going on.
    """

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream, self._label = stream, label
        self._shown = 0

    def __call__(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` batches are done; ends the line when all are."""
        if not _is_terminal(self._stream):
            return
        if total:
            filled = _WIDTH * min(done, total) // total
            text = f"{self._label} [{'#' * filled}{'.' * (_WIDTH - filled)}] {done}/{total}"
        else:
            text = f"{self._label} {done} batches"
        self._stream.write("\r" + text.ljust(self._shown))
        self._shown = len(text)
        if total is not None and done >= total:
            self.close()
        self._stream.flush()

    def close(self) -> None:
        """End the line, if one was begun."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()
        self._shown = 0


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # closed, or a stand-in
        return False


def terminal_progress(stream: TextIO | None = None, label: str = "calibration") -> TerminalProgress:
    """Return a `progress` for a terminal: stderr, or the stream that is given."""
    return TerminalProgress(sys.stderr if stream is None else stream, label)
