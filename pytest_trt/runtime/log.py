"""One process-wide logger for each loaded TensorRT module, fanning out to whoever collects at the moment."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pytest_trt.records import LogLine

SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
_LEVELS = {
    "INTERNAL_ERROR": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}


class TrtLogger:
    """TensorRT's logger: `raw` is the `ILogger` to hand over, `collect()` gathers what is said meanwhile.

    TensorRT treats its logger as a singleton and keeps a pointer to it as long as the process lives, so there
    is one of these for each real module (`logger_of`). Lines go to the collectors of the thread that logs;
    lines of TensorRT's own threads go to every open collector; lines that nobody collects go to the `logging`
    logger `pytest_trt.tensorrt`.
    """

    def __init__(self, trt: Any) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[int, list[LogLine]]] = []
        hub = self

        def start(this: Any) -> None:
            trt.ILogger.__init__(this)

        def log(this: Any, severity: Any, msg: str) -> None:
            hub.add(LogLine(str(severity.name), str(msg)))

        self.raw: Any = type("FanOutLogger", (trt.ILogger,), {"__init__": start, "log": log})()

    def add(self, line: LogLine) -> None:
        """Hand one line to its collectors; never raises, since TensorRT drops what a callback raises."""
        me = threading.get_ident()
        with self._lock:
            owners = [lines for thread, lines in self._open if thread == me] or [
                lines for _, lines in self._open
            ]
            for lines in owners:
                lines.append(line)
        if not owners:
            logging.getLogger("pytest_trt.tensorrt").log(_LEVELS.get(line.severity, logging.INFO), line.text)

    @contextmanager
    def collect(self) -> Iterator[list[LogLine]]:
        """Give a list that fills with the lines of this thread and of TensorRT's own threads."""
        lines: list[LogLine] = []
        entry = (threading.get_ident(), lines)
        with self._lock:
            self._open.append(entry)
        try:
            yield lines
        finally:
            with self._lock:
                self._open = [other for other in self._open if other is not entry]


@functools.cache
def logger_of(trt: Any) -> TrtLogger:
    """Return the one logger of a real TensorRT module; as TensorRT demands, it never dies."""
    return TrtLogger(trt)


def keep(lines: Iterable[LogLine], level: str) -> tuple[LogLine, ...]:
    """Return the lines whose severity is `level` or worse."""
    worst = SEVERITIES[: SEVERITIES.index(level) + 1] if level in SEVERITIES else SEVERITIES[:3]
    return tuple(line for line in lines if line.severity in worst)


def errors_in(lines: Iterable[LogLine]) -> tuple[str, ...]:
    """Return the texts of error lines, each once, in the order in which they came."""
    return tuple(dict.fromkeys(line.text.strip() for line in keep(lines, "ERROR")))
