"""Times of runs: the device's, by a profiler, and the host's around enqueue and synchronisation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_trt.bench.timer import enqueue
from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.session import Session

LayerTimes = tuple[tuple[str, float], ...]  # layer name and seconds, as a profiler was told


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
    layers: LayerTimes

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

    def take(self) -> LayerTimes:
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

    def run_in_vain(self, tensor: str) -> LayerTimes:
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

    def run_unasked(self) -> tuple[LayerTimes, bool, LayerTimes]:
        """Run once with `enqueue_emits_profile` off, and then ask for the times.

        Returns
        -------
        (before, asked, after)
            What the profiler was told by the run, what `report_to_profiler` returned, and what it told.

        Raises
        ------
        ExecutionError
            TensorRT did not enqueue the engine.
        """
        session, context = self.session, self.session.context
        context.enqueue_emits_profile = False
        try:
            with session.rt.logger.collect(), session.memory.active():
                (run,) = time_together([self])
                asked = bool(context.report_to_profiler())
                return run.layers, asked, self._clock.take()
        finally:
            context.enqueue_emits_profile = True

    def time_totals(self, rounds: int, warm_up: int) -> tuple[Run, ...]:
        """Return whole runs by the host's clock, from before the enqueue until the stream was synchronised; without layers.

        The profiler is off meanwhile, since it disturbs what it measures; `warm_up` runs go before and are not in it. No input
        or output is copied.

        Raises
        ------
        ExecutionError
            TensorRT did not enqueue the engine.
        """
        context = self.session.context
        context.profiler = None
        try:
            runs = [time_together([self])[0] for _ in range(warm_up + rounds)]
        finally:
            context.profiler = self._clock.raw
        return tuple(runs[warm_up:])

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
            enqueue(one.session, 1)
        for one in timed:
            one.session.stream.synchronize()
        seconds = time.perf_counter() - began
        return tuple(Run(seconds, one._clock.take()) for one in timed)
