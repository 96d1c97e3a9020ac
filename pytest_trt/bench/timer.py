"""Device time between events: for pytest-benchmark as a timer, and in rounds of many enqueues."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from pytest_trt.errors import ExecutionError
from pytest_trt.hardware.telemetry import Watch, watch
from pytest_trt.runtime.events import Event, open_event
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Stream
from pytest_trt.runtime.session import Session

EVENT_RESOLUTION_SECONDS = 0.5e-6  # CUDA Driver API, cuEventElapsedTime: "around 0.5 microseconds"

CUDA_EVENTS = "CUDA events"
MODELLED = "modelled device of the emulator, not a GPU"
HOST = "host clock around the emulator's work, not a GPU"


def name_clock(rt: Runtime) -> str:
    """Return in words what the events of a runtime tell at the moment: `CUDA_EVENTS`, `MODELLED` or `HOST`."""
    if not rt.emulated or getattr(rt.trt, "emulated_streams", None) is None:
        return CUDA_EVENTS
    return MODELLED if rt.trt.emulated_clock.is_modelled else HOST


def modelled(rt: Runtime) -> AbstractContextManager[Any]:
    """Return a block in which the emulator on a CPU computes its times from the work; elsewhere it has no effect.

    The times of a CPU say nothing about a GPU. Computed ones do not either, but they are the same on each machine.
    """
    if name_clock(rt) == CUDA_EVENTS:
        return nullcontext()
    block: AbstractContextManager[Any] = rt.trt.emulated_clock.modelled()
    return block


def resolve(clock: str) -> float:
    """Return the resolution of a clock in seconds, by its words; 0 for one that is computed."""
    if clock == HOST:
        return time.get_clock_info("perf_counter").resolution
    return EVENT_RESOLUTION_SECONDS if clock == CUDA_EVENTS else 0.0


def watch_device(rt: Runtime, interval_seconds: float = 0.05) -> AbstractContextManager[Watch]:
    """Watch the GPU that a runtime executes on, by its place on the bus where CUDA tells it; see `hardware.telemetry.watch`."""
    kind, _, number = rt.device.partition(":")
    ordinal = int(number) if kind == "cuda" and number else None
    return watch(ordinal, interval_seconds, pci_bus_id=str(getattr(rt.memory, "pci_bus_id", "")))


class EventTimer:
    """A timer for pytest-benchmark: each call records an event on a stream, waits for it, and returns device seconds.

    The seconds are added up from one event to the next, in float64: CUDA tells the time between two events as a float32 of
    milliseconds, which against an old event would lose microseconds after a few seconds.

    Parameters
    ----------
    rt : Runtime
        Who executes.
    stream : Stream
        Where the timed work is enqueued.
    """

    def __init__(self, rt: Runtime, stream: Stream) -> None:
        self._rt, self._stream = rt, stream
        self._last: Event | None = None
        self._spare: Event | None = None
        self._seconds = 0.0

    def __call__(self) -> float:
        """Return the device seconds from the first call to now; 0 for the first call."""
        with self._rt.active():
            event = self._spare or open_event(self._rt)
            self._spare = None
            event.record(self._stream)
            event.synchronize()
            if self._last is not None:
                self._seconds += event.seconds_since(self._last)
            self._last, self._spare = event, self._last
        return self._seconds

    def close(self) -> None:
        """Destroy its events; the next call would start again from where it is."""
        with self._rt.active():
            for event in (self._last, self._spare):
                if event is not None:
                    event.close()
        self._last = self._spare = None

    def __enter__(self) -> EventTimer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def enqueue(session: Session, runs: int) -> None:
    """Enqueue runs on the session's stream, with its last inputs and buffers; the caller has the session for itself.

    Raises
    ------
    ExecutionError
        TensorRT did not enqueue the engine.
    """
    call, handle = session.context.execute_async_v3, session.stream.handle
    for _ in range(runs):
        if not call(handle):
            raise ExecutionError("TensorRT did not enqueue the engine (execute_async_v3 returned False)")


class Rounds:
    """Timed rounds of a session: in each, only enqueues lie between two events on its stream.

    On a GPU one more run goes ahead of the first event. The event then fires as that run ends, with the timed ones already
    waiting behind it, so that the time the host takes to start them is in no round.

    Parameters
    ----------
    session : Session
        Has run once; its inputs, buffers and addresses stay as that run left them.
    runs : int
        Enqueues in a round; it may be changed between rounds.

    Attributes
    ----------
    seconds : list of float
        One entry a round: device seconds of one run.
    waits : list of float
        Host seconds from before the first enqueue of a round until its stream was idle.
    enqueues : list of float
        Host seconds that the enqueues of a round took.
    """

    def __init__(self, session: Session, runs: int = 1) -> None:
        self.session, self.runs = session, runs
        self.seconds: list[float] = []
        self.waits: list[float] = []
        self.enqueues: list[float] = []
        self.clock = name_clock(session.rt)
        self._ahead = int(self.clock == CUDA_EVENTS)
        self._begin, self._end = open_event(session.rt), open_event(session.rt)

    def take(self) -> float:
        """Time one round and return the device seconds of one run in it.

        Raises
        ------
        ExecutionError
            TensorRT did not enqueue the engine, or the device reported a failure.
        """
        session, stream = self.session, self.session.stream
        with session.memory.active():
            enqueue(session, self._ahead)
            self._begin.record(stream)
            started = time.perf_counter()
            enqueue(session, self.runs)
            enqueued = time.perf_counter()
            self._end.record(stream)
            self._end.synchronize()
            stream.synchronize()
            idle = time.perf_counter()
            seconds = self._end.seconds_since(self._begin) / self.runs
        self.seconds.append(seconds)
        self.waits.append(idle - started)
        self.enqueues.append(enqueued - started)
        return seconds

    def forget(self) -> None:
        """Drop the rounds so far, such as those of the warm-up."""
        for series in (self.seconds, self.waits, self.enqueues):
            series.clear()

    @property
    def reading(self) -> float:
        """The rounds' seconds added up: a clock that goes on only while a round is timed."""
        return sum(self.seconds)

    def close(self) -> None:
        """Destroy the events."""
        with self.session.memory.active():
            self._begin.close()
            self._end.close()

    def __enter__(self) -> Rounds:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
