"""What is kept of a long log: the newest lines, and of the mildest severity the first to go."""

from __future__ import annotations

import threading
from collections import deque

from pytest_trt.records import LogLine

MOST_LINES = 2_000
MOST_BYTES = 256 * 1024
LINE_BYTES = 16 * 1024
# From the worst to the mildest; a name that is none of them counts as INFO.
SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")


class KeptLog:
    """Lines in the order in which they came, within bounds; may be used by several threads.

    Where there are too many, the oldest VERBOSE line goes first, then the oldest INFO line, and so on: an error goes only
    where there is nothing else. A line that is longer than `LINE_BYTES` is cut.

    Parameters
    ----------
    most_lines, most_bytes : int
        The bounds; bytes are those of the texts in UTF-8.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES) -> None:
        self._most = (most_lines, most_bytes)
        self._lock = threading.Lock()
        self._held: dict[str, deque[tuple[int, int, LogLine]]] = {name: deque() for name in SEVERITIES}
        self._dropped = dict.fromkeys(SEVERITIES, 0)
        self._count = self._lines = self._bytes = 0

    def add(self, line: LogLine) -> None:
        """Keep a line, at the cost of older or milder ones."""
        data = line.text.encode("utf-8", "replace")
        if len(data) > LINE_BYTES:
            data = data[:LINE_BYTES]
            line = LogLine(line.severity, data.decode("utf-8", "ignore") + " ... (cut)")
        severity = line.severity if line.severity in SEVERITIES else "INFO"
        with self._lock:
            self._count += 1
            self._held[severity].append((self._count, len(data), line))
            self._lines += 1
            self._bytes += len(data)
            while self._lines > 1 and (self._lines > self._most[0] or self._bytes > self._most[1]):
                self._drop()

    def _drop(self) -> None:
        mildest = next(name for name in reversed(SEVERITIES) if self._held[name])
        _, size, _ = self._held[mildest].popleft()
        self._dropped[mildest] += 1
        self._lines -= 1
        self._bytes -= size

    def lines(self, level: str = "VERBOSE") -> tuple[LogLine, ...]:
        """Return the lines of severity `level` and worse that were kept."""
        with self._lock:
            names = SEVERITIES[: SEVERITIES.index(level) + 1]
            return tuple(line for _, _, line in sorted(row for name in names for row in self._held[name]))

    def dropped(self, level: str = "VERBOSE") -> int:
        """Return how many lines of severity `level` and worse were not kept."""
        with self._lock:
            return sum(self._dropped[name] for name in SEVERITIES[: SEVERITIES.index(level) + 1])

    def text(self, level: str = "VERBOSE") -> str:
        """Return the lines of severity `level` and worse as text, and how many were lost; empty without either."""
        shown = [f"[{line.severity}] {line.text}" for line in self.lines(level)]
        lost = self.dropped(level)
        if lost:
            shown.insert(0, f"({lost} earlier or milder lines were dropped)")
        return "\n".join(shown)
