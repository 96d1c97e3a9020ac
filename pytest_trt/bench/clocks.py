"""Times of runs: the device's, by a profiler, and the host's around enqueue and synchronisation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.session import Session


@dataclass(frozen=True)
class Run:
    """One run as two clocks saw it.

    Attributes
    ----------
    host_seconds : float
        From before the enqueue until the stream was synchronised.
    layers : tuple of (str, float)
        Layer name and seconds, as the profiler was told.
    """

    host_seconds: float
    layers: tuple[tuple[str, float], ...]

    @property
    def device_seconds(self) -> float:
        """The layers' times together."""
        return sum(seconds for _, seconds in self.layers)


class LayerClock:
    """An `IProfiler` that keeps what it is told; `raw` is what a context is given."""

    def __init__(self, trt: Any) -> None:
        hub = self
        self._told: list[tuple[str, float]] = []

        def start(this: Any) -> None:
            trt.IProfiler.__init__(this)

        def report(this: Any, layer_name: str, ms: float) -> None:
            hub._told.append((str(layer_name), float(ms) / 1e3))

        members = {"__init__": start, "report_layer_time": report}
        self.raw: Any = type("SessionLayerClock", (trt.IProfiler,), members)()

    def take(self) -> tuple[tuple[str, float], ...]:
        """Return what was told since the last call."""
        told, self._told = tuple(self._told), []
        return told


class TimedSession:
    """A session whose runs are timed; its inputs are those of the session's last `run`.

    The buffers, shapes and addresses stay as that run left them, so that nothing but the engine is timed.

    Parameters
    ----------
    session : Session
        Has run once at least. While this object is in use it has a profiler.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._clock = LayerClock(session.rt.trt)
        session.context.profiler = self._clock.raw

    def run(self) -> Run:
        """Run once and return its times.

        Raises
        ------
        ExecutionError
            TensorRT did not enqueue the engine.
        """
        return time_together([self])[0]

    def run_in_vain(self, tensor: str) -> tuple[tuple[str, float], ...]:
        """Take the address of an output away, enqueue, put it back, and return the times that the profiler was told.

        Raises
        ------
        ExecutionError
            The engine was enqueued all the same.
        """
        session, context = self.session, self.session.context
        with session.rt.logger.collect(), session.memory.active():
            address = context.get_tensor_address(tensor)
            self._clock.take()
            context.set_tensor_address(tensor, 0)
            accepted = context.execute_async_v3(session.stream.handle)
            context.set_tensor_address(tensor, address)
            session.stream.synchronize()
        if accepted:
            raise ExecutionError(f"TensorRT enqueued an engine whose output {tensor!r} has no address")
        return self._clock.take()

    def close(self) -> None:
        """Let the session go on without a profiler; the session stays open."""
        self.session.context.profiler = None


def time_together(timed: Sequence[TimedSession]) -> tuple[Run, ...]:
    """Enqueue a run of each session on its own stream, wait for all, and return their times.

    The host's seconds are those of all of them together.
    """
    memory = timed[0].session.memory
    with memory.active():
        for one in timed:
            one._clock.take()
        began = time.perf_counter()
        for one in timed:
            if not one.session.context.execute_async_v3(one.session.stream.handle):
                raise ExecutionError("TensorRT did not enqueue the engine (execute_async_v3 returned False)")
        for one in timed:
            one.session.stream.synchronize()
        seconds = time.perf_counter() - began
        return tuple(Run(seconds, one._clock.take()) for one in timed)
