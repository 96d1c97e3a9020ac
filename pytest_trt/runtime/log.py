"""One process-wide logger for each loaded TensorRT module, fanning out to whoever collects at the moment."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol

from pytest_trt.records import LogLine
from pytest_trt.runtime.kept import SEVERITIES

__all__ = ["SEVERITIES", "Listener", "TrtLogger", "errors_in", "keep", "listen", "logger_of"]

_LEVELS = {
    "INTERNAL_ERROR": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}


class Listener(Protocol):
    """Who hears everything that every logger of this process is told, besides the collectors."""

    def hear(self, line: LogLine) -> None:
        """Take a line as it comes, on the thread that logs."""

    def note_call(self, lines: Sequence[LogLine]) -> None:
        """Take the lines of a call that succeeded, and that nobody collected besides the call itself."""

    def note_stray(self, line: LogLine) -> None:
        """Take a line that came outside of all calls and collectors."""


_listeners: list[Listener] = []  # loggers live as long as the process; the last listener has the floor


def listen(listener: Listener) -> Callable[[], None]:
    """Give the lines of all loggers to a listener; return what ends that. A later listener takes over until it ends."""
    _listeners.append(listener)

    def end() -> None:
        if listener in _listeners:
            _listeners.remove(listener)

    return end


class _Collector:
    """Who collects on which thread; a call collects for its own message, not because somebody wants to read the lines.

    A class and no generator: one is entered at every run of a context.
    """

    __slots__ = ("_hub", "is_call", "lines", "thread")

    def __init__(self, hub: TrtLogger, is_call: bool) -> None:
        self._hub = hub
        self.is_call = is_call

    def __enter__(self) -> list[LogLine]:
        self.thread = threading.get_ident()
        self.lines: list[LogLine] = []
        self._hub._enter(self)
        return self.lines

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub._leave(self, kind is None)


class TrtLogger:
    """TensorRT's logger: `raw` is the `ILogger` to hand over, `collect()` gathers what is said meanwhile.

    TensorRT treats its logger as a singleton and keeps a pointer to it as long as the process lives, so there
    is one of these for each real module (`logger_of`). Lines go to the collectors of the thread that logs;
    lines of TensorRT's own threads go to every open collector; lines that nobody collects go to the `logging`
    logger `pytest_trt.tensorrt`. The listener hears all of them.
    """

    def __init__(self, trt: Any) -> None:
        self._lock = threading.Lock()
        self._open: list[_Collector] = []
        hub = self

        def start(this: Any) -> None:
            trt.ILogger.__init__(this)

        def log(this: Any, severity: Any, msg: str) -> None:
            hub.add(LogLine(str(severity.name), str(msg)))

        self.raw: Any = type("FanOutLogger", (trt.ILogger,), {"__init__": start, "log": log})()

    def add(self, line: LogLine) -> None:
        """Hand one line to its collectors; never raises, since TensorRT drops what a callback raises."""
        me = threading.get_ident()
        listener = _listeners[-1] if _listeners else None
        if listener is not None:
            listener.hear(line)
        with self._lock:
            owners = [one.lines for one in self._open if one.thread == me] or [
                one.lines for one in self._open
            ]
            for lines in owners:
                lines.append(line)
        if owners:
            return
        if listener is not None:
            listener.note_stray(line)
        logging.getLogger("pytest_trt.tensorrt").log(_LEVELS.get(line.severity, logging.INFO), line.text)

    def collect(self) -> AbstractContextManager[list[LogLine]]:
        """Give a list that fills with the lines of this thread and of TensorRT's own threads.

        Who collects is the one who judges: the listener is not told what to make of these lines.
        """
        return _Collector(self, False)

    def call(self) -> AbstractContextManager[list[LogLine]]:
        """As `collect`, around a call that raises where TensorRT fails.

        Where it does not raise, an error among the lines is one that nobody expected: the listener is told.
        """
        return _Collector(self, True)

    def _enter(self, collector: _Collector) -> None:
        with self._lock:
            self._open.append(collector)

    def _leave(self, collector: _Collector, succeeded: bool) -> None:
        with self._lock:
            self._open.remove(collector)
            is_quiet = not (succeeded and collector.is_call and collector.lines and _listeners)
            is_read = not is_quiet and any(
                one.thread == collector.thread and not one.is_call for one in self._open
            )
        if not is_quiet and not is_read:
            _listeners[-1].note_call(tuple(collector.lines))


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
