"""Throughput of threads that each run a context of one engine on a stream of their own, with their answers checked.

Every thread runs a closed loop: it enqueues, waits for its stream, and enqueues again. All begin together, behind a barrier, and
the time of a block goes from the first start to the last end by the host's clock, so that no stream's time passes for that of
all. An enqueue that is refused ends the measurement, and is never counted. Before each block the inputs are exchanged behind a
run on other ones, so that only a run of the block can have given the answer that is found after it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from pytest_trt.bench.stability import PERCENTILES, Steadiness, finite, judge_steadiness, percentile
from pytest_trt.check.concurrent import run_in_threads
from pytest_trt.check.crosstalk import START_SECONDS, Cases, explain_wrong
from pytest_trt.check.relations import Base, compare_rows
from pytest_trt.errors import ExecutionError, UsageError
from pytest_trt.runtime.events import event_on
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session

COUNTED = "every-run-counted"
TOOK_PART = "every-thread-took-part"
WHOLE_TIME = "time-is-that-of-all"
OUTPUTS = "outputs-right"

HOST_CLOCK = "host clock, from the first start of a thread to the last end"
CPU_CLOCK = f"{HOST_CLOCK}; around the emulator's work, not a GPU"
ON_CPU = (
    "threads share the cores of the CPU with all that runs there: these times are shown, and never compared"
)


@dataclass(frozen=True)
class Lane:
    """What one thread did in a block.

    Attributes
    ----------
    began, ended : float
        Its loop, in seconds of the host's clock.
    waits : tuple of float
        Seconds from the enqueue to the end of the wait, one entry for each time that it waited.
    device_seconds : float
        Between an event before its first run and one behind its last.
    """

    began: float
    ended: float
    waits: tuple[float, ...]
    device_seconds: float

    @property
    def seconds(self) -> float:
        """How long its loop took."""
        return self.ended - self.began


@dataclass(frozen=True)
class Block:
    """One measurement of all threads at once: `seconds` from the first start to the last end, and each thread's lane."""

    seconds: float
    lanes: tuple[Lane, ...]


@dataclass(frozen=True)
class Throughput:
    """How many runs a second so many threads got done, and how long each waited.

    Attributes
    ----------
    threads, in_flight : int
        Each thread enqueues `in_flight` runs and then waits for them.
    rounds : int
        How often each thread waited in a block.
    frames : int
        Rows of a run.
    blocks : tuple of Block
        Without the one that warmed up.
    wrong : tuple of str
        Answers after a block that were not those to the inputs of its runs, in words.
    clock : str
        What `seconds` are measured by.
    """

    threads: int
    in_flight: int
    rounds: int
    frames: int
    blocks: tuple[Block, ...]
    wrong: tuple[str, ...] = ()
    clock: str = HOST_CLOCK

    @property
    def runs(self) -> int:
        """Runs of a block, all threads together."""
        return self.threads * self.rounds * self.in_flight

    @property
    def run_seconds(self) -> tuple[float, ...]:
        """Seconds for each run, one entry a block: what a block took, divided by its runs."""
        return tuple(block.seconds / self.runs for block in self.blocks)

    @property
    def runs_per_second(self) -> float:
        """Median over the blocks."""
        return 1 / median(self.run_seconds)

    @property
    def frames_per_second(self) -> float:
        """Rows that were computed in a second."""
        return self.frames * self.runs_per_second

    @property
    def steadiness(self) -> Steadiness:
        """Whether the blocks agree."""
        return judge_steadiness(self.run_seconds)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the times cannot be relied on; empty where they can."""
        return (*((ON_CPU,) if self.clock == CPU_CLOCK else ()), *self.steadiness.reasons)

    @property
    def by_thread(self) -> tuple[float, ...]:
        """Runs a second that each thread got done while it ran: median over the blocks."""
        each = self.rounds * self.in_flight
        return tuple(
            median(each / block.lanes[place].seconds for block in self.blocks)
            for place in range(self.threads)
        )

    @property
    def overlap(self) -> float:
        """How much the threads ran at once: 1 if each worked from the first start to the last end, 1/threads in turns."""
        return median(
            sum(lane.seconds for lane in block.lanes) / (self.threads * block.seconds)
            for block in self.blocks
        )

    def latency(self, percent: float, thread: int | None = None) -> float:
        """Return a percentile of the host's seconds from an enqueue to the end of its wait, see `stability.percentile`."""
        waits = [
            wait
            for block in self.blocks
            for place, lane in enumerate(block.lanes)
            if thread is None or place == thread
            for wait in lane.waits
        ]
        return percentile(waits, percent)

    def efficiency(self, alone: Throughput) -> float:
        """Return the throughput over that of as many times one thread: 1 where threads do not hinder each other."""
        return self.runs_per_second * alone.threads / (alone.runs_per_second * self.threads)

    def _percentiles(self, thread: int | None) -> dict[str, float]:
        return {str(percent): self.latency(percent, thread) for percent in PERCENTILES}

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data for a benchmark's further information."""
        return {
            "reliable": not self.reasons,
            "reasons": list(self.reasons),
            "clock": self.clock,
            "variation": finite(self.steadiness.variation),
            "percentiles": self._percentiles(None),
            "latency": f"host clock, from an enqueue to the end of the wait, {self.in_flight} run(s) each",
            "batch": self.frames,
            "threads": self.threads,
            "runs": self.runs * len(self.blocks),
            "runs_per_second": self.runs_per_second,
            "frames_per_second": self.frames_per_second,
            "overlap": self.overlap,
            "by_thread": [
                {"runs_per_second": rate, "percentiles": self._percentiles(place)}
                for place, rate in enumerate(self.by_thread)
            ],
            "warm_up": {"blocks": 1},
        }


def measure_threads(
    rt: Runtime,
    engine: Any,
    cases: Cases,
    *,
    rounds: int,
    in_flight: int = 1,
    blocks: int = 5,
) -> Throughput:
    """Return the throughput of one thread, context and stream for each list of cases.

    Parameters
    ----------
    rt : Runtime
        Who executes.
    engine : ICudaEngine
        Of that runtime.
    cases : sequence of sequence of Base
        For each thread two or more inputs of one shape, with the answers of a lone context; see `check.crosstalk.deal`.
    rounds : int
        How often each thread enqueues and waits in a block.
    in_flight : int
        Runs that are enqueued before each wait. 1 gives the latency of a run; more keep the device busy meanwhile.
    blocks : int
        How often it is measured, after one block that warms up.

    Raises
    ------
    ExecutionError
        A run was refused or failed, or the threads did not come together.
    UsageError
        A thread has fewer than two cases.
    """
    if not cases or min(len(each) for each in cases) < 2:
        raise UsageError(
            "threads are measured on two inputs each",
            why="an answer to the inputs before would not show as an old one",
        )
    with ExitStack() as held:
        lanes = [_Worker(rt, held.enter_context(Session(rt, engine)), each, held) for each in cases]
        gate = threading.Barrier(len(lanes), timeout=START_SECONDS)
        told = run_in_threads([partial(lane.work, gate, rounds, in_flight, blocks + 1) for lane in lanes])
    if any(one is None for one in told):
        raise ExecutionError(f"{len(lanes)} threads did not come together within {START_SECONDS:.0f} s")
    wrong = [
        f"block {block}: {explain_wrong(cases, place, base, got)}"
        for place, (_, checked) in enumerate(told)
        for block, (base, got) in enumerate(checked)
    ]
    measured = []
    for block in range(1, blocks + 1):
        each = tuple(times[block] for times, _ in told)
        measured.append(Block(_span(each), each))
    return Throughput(
        threads=len(lanes),
        in_flight=in_flight,
        rounds=rounds,
        frames=cases[0][0].rows,
        blocks=tuple(measured),
        wrong=tuple(wrong),
        clock=HOST_CLOCK if rt.device != "cpu" else CPU_CLOCK,
    )


class _Worker:
    """One thread's session, events and cases."""

    def __init__(self, rt: Runtime, session: Session, cases: Sequence[Base], held: ExitStack) -> None:
        self.session, self.cases = session, cases
        self.events = tuple(held.enter_context(event_on(rt)) for _ in range(2))

    def work(
        self, gate: threading.Barrier, rounds: int, in_flight: int, blocks: int
    ) -> tuple[list[Lane], list[tuple[Base, dict[str, Any]]]] | None:
        """Return its lanes and its wrong answers, None where another thread failed or was not there in time."""
        lanes, wrong = [], []
        try:
            with self.session.memory.active():
                for block in range(blocks):
                    before, now = (self.cases[(block + ahead) % len(self.cases)] for ahead in (0, 1))
                    take = self._prepare(before, now)
                    gate.wait()
                    lanes.append(self._loop(rounds, in_flight))
                    gate.wait()  # nobody copies or compares while another one is timed
                    got = take()
                    if compare_rows(OUTPUTS, got, now) is not None:
                        wrong.append((now, got))
        except threading.BrokenBarrierError:
            return None
        except BaseException:
            gate.abort()
            raise
        return lanes, wrong

    def _prepare(self, before: Base, now: Base) -> Callable[[], dict[str, Any]]:
        """Let a run on other inputs write the outputs, and copy those of the block behind it."""
        take = self.session.enqueue(before.feeds)
        self.session.overwrite_inputs(now.feeds)
        self.session.stream.synchronize()
        return take

    def _loop(self, rounds: int, in_flight: int) -> Lane:
        begin, end = self.events
        launch, wait, clock = self.session.launch, self.session.stream.synchronize, time.perf_counter
        begin.record(self.session.stream)
        times = [clock()]
        for _ in range(rounds):
            launch(in_flight)
            wait()
            times.append(clock())
        end.record(self.session.stream)
        end.synchronize()
        waits = tuple(after - before for before, after in pairwise(times))
        return Lane(times[0], times[-1], waits, end.seconds_since(begin))


def check_throughput(measured: Throughput) -> Iterator[tuple[str, str | None]]:
    """Yield what has to hold of any throughput, whatever the machine does besides, with what is wrong."""
    counts = {len(lane.waits) for block in measured.blocks for lane in block.lanes}
    yield (
        COUNTED,
        None
        if counts == {measured.rounds}
        else f"{measured.rounds} waits a thread and block are counted, there were {sorted(counts)}",
    )
    lanes = {len(block.lanes) for block in measured.blocks}
    idle = [
        place
        for block in measured.blocks
        for place, lane in enumerate(block.lanes)
        if not (lane.seconds > 0 and lane.device_seconds > 0)
    ]
    if lanes != {measured.threads}:
        yield TOOK_PART, f"{measured.threads} threads are counted, there were {sorted(lanes)}"
    else:
        yield TOOK_PART, f"thread {idle[0]} took no time" if idle else None
    short = next(
        (
            f"block {number} is said to have taken {1e3 * block.seconds:.4g} ms, its threads"
            f" {1e3 * spanned:.4g} ms from the first start to the last end"
            for number, block in enumerate(measured.blocks)
            for spanned in [_span(block.lanes)]
            if block.seconds < spanned
        ),
        None,
    )
    yield WHOLE_TIME, short
    yield OUTPUTS, measured.wrong[0] if measured.wrong else None


def _span(lanes: Sequence[Lane]) -> float:
    if not lanes:
        return 0.0
    return max(lane.ended for lane in lanes) - min(lane.began for lane in lanes)
