"""One measurement: device seconds of a run, what speaks against relying on them, and outputs checked under the clock."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_trt.bench.stability import PERCENTILES, Steadiness, finite, judge_steadiness, percentile
from pytest_trt.bench.timer import CUDA_EVENTS, MODELLED, Rounds, resolve
from pytest_trt.bench.trust import LEAST_OF_HOST, LONG_ENOUGH, MOST_OF_HOST
from pytest_trt.bench.warm import ROUNDS_PER_WINDOW, WarmUp, warm_up
from pytest_trt.errors import ConformanceError, UsageError
from pytest_trt.runtime.memory import Array
from pytest_trt.runtime.session import Session

if TYPE_CHECKING:
    from pytest_trt.hardware.telemetry import Telemetry, Watch

ROUNDS = 20
# A round is so long that half a microsecond of the events' resolution is 1/4,000 of it, and so is a gap behind the first event.
ROUND_SECONDS = 2e-3
MOST_RUNS = 2000  # enqueues in a round: a queue of launches is finite, and a full one makes the host wait
COARSEST = 0.01  # largest share of a round that the resolution of its clock may be
HOST_BOUND = 0.95  # from this share of a round on, the enqueues are what takes the time
OTHER_POISON = 0x5A


@dataclass(frozen=True)
class Measurement:
    """Device seconds of one run, measured in rounds of several.

    Attributes
    ----------
    seconds : tuple of float
        One entry a round: device seconds of one run.
    runs : int
        Enqueues in a round.
    clock : str
        Where the times come from, in words.
    warm_up : WarmUp
        What went before and is not counted.
    telemetry : Telemetry or None
        What the GPU did meanwhile; None where nothing watched.
    waits, enqueues : tuple of float
        One entry a round, host seconds: until the stream was idle, and for the enqueues alone.
    """

    seconds: tuple[float, ...]
    runs: int
    clock: str
    warm_up: WarmUp
    telemetry: Telemetry | None = None
    waits: tuple[float, ...] = ()
    enqueues: tuple[float, ...] = ()

    @cached_property
    def steadiness(self) -> Steadiness:
        """Whether the rounds agree."""
        return judge_steadiness(self.seconds)

    @property
    def median_seconds(self) -> float:
        """Median over the rounds; NaN where a time is none."""
        return self.steadiness.median_seconds

    @property
    def variation(self) -> float:
        """Coefficient of variation over the rounds: standard deviation over mean."""
        return self.steadiness.variation

    def percentile(self, percent: float) -> float:
        """Return a percentile of the rounds, see `stability.percentile`; NaN where there is no round."""
        return percentile(self.seconds, percent)

    @property
    def is_host_bound(self) -> bool:
        """True where the enqueues took as long as the device: it waited for them, and the gaps are in its time."""
        shares = [
            host / (device * self.runs)
            for host, device in zip(self.enqueues, self.seconds, strict=False)
            if device > 0
        ]
        return self.clock == CUDA_EVENTS and bool(shares) and median(shares) >= HOST_BOUND

    @property
    def notes(self) -> tuple[str, ...]:
        """What helps to read the times, and does not make them unreliable."""
        notes = []
        if self.is_host_bound:
            each = 1e6 * median(self.enqueues) / self.runs
            notes.append(f"host-bound: the device waited for enqueues, {each:.3g} microseconds each")
        if self.clock == CUDA_EVENTS and (self.telemetry is None or not self.telemetry.samples):
            why = "" if self.telemetry is None else f": {self.telemetry.why}"
            notes.append(f"nobody watched clocks and throttling{why}")
        return tuple(notes)

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What no noise explains: the clock is wrong. They are among the reasons."""
        if math.isnan(self.median_seconds):
            return self.steadiness.reasons
        if self.clock == MODELLED:
            return ()
        return tuple(filter(None, [self._find_standstill(), self._find_gap()]))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why these times cannot be relied on; empty where they can."""
        reasons = [*self.contradictions]
        if not math.isnan(self.median_seconds):
            reasons += self.steadiness.reasons
            reasons += filter(None, [self._find_coarseness()])
        reasons += filter(None, [self.warm_up.reason])
        if self.telemetry is not None:
            reasons += self.telemetry.unreliable
        return tuple(reasons)

    @property
    def reliable(self) -> bool:
        """True where nothing speaks against the times."""
        return not self.reasons

    def _find_standstill(self) -> str | None:
        if len(self.seconds) > 1 and len(set(self.seconds)) == 1:
            return f"the clock stands still: {len(self.seconds)} rounds took exactly the same time"
        return None

    def _find_coarseness(self) -> str | None:
        step, length = resolve(self.clock), self.runs * self.median_seconds
        if step > COARSEST * length:
            return (
                f"clock too coarse: a round takes {1e6 * length:.3g} microseconds, and the clock tells steps of"
                f" {1e6 * step:.2g}: take more runs in a round"
            )
        return None

    def _find_gap(self) -> str | None:
        """Return how the events and the host's wait contradict each other, in each round; a busy host only waits longer."""
        shares = [self.runs * device / host for device, host in zip(self.seconds, self.waits, strict=False)]
        if not shares:
            return None
        if min(shares) > MOST_OF_HOST:
            return f"the events tell {min(shares):.3g} times as long as the host waited, or longer"
        if max(shares) < LEAST_OF_HOST and median(self.waits) >= LONG_ENOUGH:
            return (
                f"the events account for {100 * max(shares):.2g} % or less of the {1e3 * median(self.waits):.3g} ms that"
                " the host waited for the stream"
            )
        return None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data that JSON takes; a number that is none is None."""
        return {
            "reliable": self.reliable,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "clock": self.clock,
            "rounds": len(self.seconds),
            "runs": self.runs,
            "median_seconds": finite(self.median_seconds),
            "variation": finite(self.variation),
            "percentiles": {str(percent): finite(self.percentile(percent)) for percent in PERCENTILES},
            "telemetry": {} if self.telemetry is None else self.telemetry.to_plain(),
            "warm_up": self.warm_up.to_plain(),
        }


def measure_session(
    session: Session,
    *,
    rounds: int = ROUNDS,
    round_seconds: float = ROUND_SECONDS,
    watch: Watch | None = None,
    hand_over: Callable[[Rounds, int], None] | None = None,
) -> Measurement:
    """Return the device time of one run of a session, with the inputs and shapes of its last one.

    It warms up, times rounds of several enqueues between two events, and holds what the timed runs wrote, into outputs that
    were overwritten before, against the outputs of a run before them.

    Parameters
    ----------
    session : Session
        Has run once. Nobody else uses it meanwhile.
    rounds : int
        Rounds that count.
    round_seconds : float
        How long a round is to be at least: long against the resolution of the events and the gaps between launches. Where
        times are computed a round is one run.
    watch : Watch, optional
        The telemetry that runs meanwhile.
    hand_over : callable, optional
        Takes the timed rounds, given `Rounds` and how many; what it does not take is taken behind it.

    Raises
    ------
    UsageError
        There has been no run, or `rounds` is not positive.
    ExecutionError
        TensorRT reported a failure.
    ConformanceError
        The timed runs gave other outputs than the run before.
    """
    if rounds < 1:
        raise UsageError(f"a measurement has one round at least, not {rounds}")
    inputs = last_inputs(session)
    want = session.run(inputs)
    warmth: list[WarmUp] = []
    seen: list[Telemetry] = []
    with Rounds(session) as timed:

        def get_warm() -> None:
            warmth.append(_prepare(timed, round_seconds))
            timed.forget()

        def count() -> None:
            cold = 0 if watch is None else len(watch.take().samples)
            if hand_over is not None:
                hand_over(timed, rounds)
            while len(timed.seconds) < rounds:
                timed.take()
            if watch is not None:
                seen.append(_since(watch.take(), cold))

        # The outputs are overwritten before each, and before one more run: an engine that computes nothing from some run on
        # leaves them so.
        for work in (get_warm, count):
            check_outputs(_replay(session, work, inputs), want)
        check_outputs(session.run(inputs), want)
        return Measurement(
            seconds=tuple(timed.seconds[:rounds]),
            runs=timed.runs,
            clock=timed.clock,
            warm_up=warmth[0],
            telemetry=seen[0] if seen else None,
            waits=tuple(timed.waits[:rounds]),
            enqueues=tuple(timed.enqueues[:rounds]),
        )


def _replay(session: Session, work: Callable[[], None], inputs: dict[str, Array]) -> dict[str, Array]:
    """Return what runs wrote, over bytes that are not those of `Session.run`: outputs that neither writes differ."""
    if any(info.on_host for info in session.inputs.values()):
        work()  # such inputs lie outside of the session's buffers, and a replay copies into those
        return session.run(inputs)
    return session.replay(work, inputs, poison=OTHER_POISON)


def _since(telemetry: Telemetry, cold: int) -> Telemetry:
    """Return what was seen from the end of the warm-up on, the sample before it included: clocks rise until then."""
    return replace(telemetry, samples=telemetry.samples[max(0, cold - 1) :])


def _prepare(timed: Rounds, round_seconds: float) -> WarmUp:
    """Warm up, with rounds of the length that is asked for, and leave the number of runs that a warm device needs."""
    if timed.clock == MODELLED:
        return warm_up(timed.take, per_window=1)
    # The first run of all may load or compile kernels: it says nothing about the length of a round.
    timed.runs = count_runs(min(timed.take() for _ in range(ROUNDS_PER_WINDOW)), round_seconds)
    warmth = warm_up(timed.take)
    timed.runs = max(timed.runs, count_runs(warmth.window_seconds[-1], round_seconds))
    return warmth


def count_runs(seconds: float, round_seconds: float) -> int:
    """Return how many runs of some seconds make a round, from 1 to `MOST_RUNS`; 1 where the seconds are no time."""
    if not (math.isfinite(seconds) and seconds > 0):
        return 1
    return min(MOST_RUNS, max(1, math.ceil(round_seconds / seconds)))


def last_inputs(session: Session) -> dict[str, Array]:
    """Return the inputs of a session's last run, read back from where the engine reads them.

    Raises
    ------
    UsageError
        There has been no run.
    """
    held = session.read_inputs()
    inputs: dict[str, Array] = {}
    for name, info in session.inputs.items():
        shape = tuple(int(extent) for extent in session.context.get_tensor_shape(name))
        address = int(session.context.get_tensor_address(name))
        if not address or min(shape, default=1) < 0 or (name not in held and not info.on_host):
            raise UsageError("there is nothing to measure", mend="run the session once before")
        nbytes = info.nbytes(shape)
        if info.on_host:
            inputs[name] = np.frombuffer(ctypes.string_at(address, nbytes), info.stored).reshape(shape).copy()
        else:
            raw = held[name][:nbytes].view(info.stored).reshape(shape)
            inputs[name] = info.from_engine(raw)
    return inputs


def check_outputs(got: dict[str, Array], want: dict[str, Array]) -> None:
    """Hold the outputs of timed runs against those of a run before them, bit by bit.

    Raises
    ------
    ConformanceError
        They differ: the timed runs did other work, or none.
    """
    for name, before in want.items():
        after = got[name]
        if after.shape != before.shape or after.tobytes() != before.tobytes():
            count = before.size if after.shape != before.shape else int(np.sum(_bits(after) != _bits(before)))
            raise ConformanceError(
                f"output {name!r} of the timed runs is not that of the run before them",
                why=f"{count} of {before.size} values have other bits, with the same inputs: their time is not that of the work",
            )


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
