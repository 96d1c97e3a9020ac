"""Error recorders: an `IErrorRecorder` in both spellings, and the order of parser and recorder that every TensorRT survives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pytest_trt.errors import UsageError
from pytest_trt.records import LogLine
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in

__all__ = ["ErrorRecorder", "RecordedError", "Recording", "make_parser", "recorded"]

MOST_ERRORS = 1_000
_kept: list[ErrorRecorder] = []  # TensorRT holds plain pointers to them in every object that inherited one


class RecordedError(NamedTuple):
    """One error: `code` is the member's name in `ErrorCodeTRT`."""

    code: str
    text: str


class ErrorRecorder:
    """Keeps the errors that are reported to it; `raw` is the `IErrorRecorder` to attach. Threads may report at once.

    TensorRT asks for `get_num_errors`, which the base class does not show; `num_errors` is the name that it does show. Both
    are there. TensorRT drops what a callback raises, so nothing here raises.

    Parameters
    ----------
    trt : module
        Whose `IErrorRecorder` is subclassed.
    most : int
        How many errors are kept; more set `overflowed`.

    Attributes
    ----------
    overflowed : bool
        Errors were lost.
    """

    def __init__(self, trt: Any, most: int = MOST_ERRORS) -> None:
        self._lock = threading.Lock()
        self._held: list[tuple[Any, str]] = []
        self._most = most
        self.overflowed = False
        hub = self

        def start(this: Any) -> None:
            trt.IErrorRecorder.__init__(this)

        def count(this: Any) -> int:
            return len(hub._held)

        def code(this: Any, index: int) -> Any:
            with hub._lock:
                known = 0 <= index < len(hub._held)
                return hub._held[index][0] if known else trt.ErrorCodeTRT.INVALID_ARGUMENT

        def text(this: Any, index: int) -> str:
            with hub._lock:
                return hub._held[index][1] if 0 <= index < len(hub._held) else ""

        def report(this: Any, error: Any, words: str) -> bool:
            return hub._add(error, str(words))

        members = {
            "__init__": start,
            "get_num_errors": count,
            "num_errors": count,
            "get_error_code": code,
            "get_error_desc": text,
            "has_overflowed": lambda this: hub.overflowed,
            "clear": lambda this: hub.clear(),
            "report_error": report,
        }
        self.raw: Any = type("KeepingRecorder", (trt.IErrorRecorder,), members)()

    def _add(self, code: Any, text: str) -> bool:
        with self._lock:
            if len(self._held) >= self._most:
                self.overflowed = True
                return False
            self._held.append((code, text))
            return True

    @property
    def errors(self) -> tuple[RecordedError, ...]:
        """What was reported, in the order in which it came."""
        with self._lock:
            return tuple(RecordedError(str(code.name), text) for code, text in self._held)

    def clear(self) -> None:
        """Forget all errors."""
        with self._lock:
            self._held.clear()
            self.overflowed = False


class Recording:
    """What is said while `recorded` is open: `lines` by the logger, `recorder` by the objects that have it."""

    def __init__(self, recorder: ErrorRecorder, lines: list[LogLine]) -> None:
        self.recorder = recorder
        self.lines = lines

    @property
    def errors(self) -> tuple[str, ...]:
        """The texts of all errors, wherever they went; each once."""
        texts = (error.text.strip() for error in self.recorder.errors)
        return tuple(dict.fromkeys((*texts, *errors_in(self.lines))))


@contextmanager
def recorded(rt: Runtime, *things: Any) -> Iterator[Recording]:
    """Attach one error recorder to builders, networks, runtimes, engines, contexts or refitters, and collect the log as well.

    What is made from these things inside of the block inherits the recorder and keeps it; what was made before does not.
    At the end the things have none. Make a parser by `make_parser`, inside and outside of the block.

    Raises
    ------
    UsageError
        A thing cannot have an error recorder (a config, a parser).
    """
    for thing in things:
        if not hasattr(type(thing), "error_recorder"):
            raise UsageError(
                f"{type(thing).__name__} has no error_recorder",
                why="TensorRT has none for it: it reports to that of the object it was made from",
                mend="give the builder, network, runtime, engine, context or refitter",
            )
    recorder = ErrorRecorder(rt.trt)
    _kept.append(recorder)
    with rt.logger.collect() as lines:
        attached = []
        try:
            for thing in things:
                thing.error_recorder = recorder.raw
                attached.append(thing)
            yield Recording(recorder, lines)
        finally:
            for thing in attached:
                thing.error_recorder = None


def make_parser(rt: Runtime, network: Any) -> Any:
    """Return an `OnnxParser` of a network, whose error recorder is set aside until the parser is there.

    Notes
    -----
    A parser takes the recorder that the network has as it is made. TensorRT-RTX 1.7.1 then crashes when parser and network
    are released, also where the network only inherited the recorder from its builder. A parser that was made without one
    reports to the logger and keeps its errors (`num_errors`, `get_error`).
    """
    held = network.error_recorder
    if held is not None:
        network.error_recorder = None
    parser = rt.trt.OnnxParser(network, rt.logger.raw)
    if held is not None:
        network.error_recorder = held
    return parser
