"""Throughput over the number of threads: what is measured, how it enters pytest-benchmark's table, and what the report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_trt.bench.threads import PERCENTILES, Throughput, measure_threads
from pytest_trt.bench.timer import watch_device
from pytest_trt.check.crosstalk import answer_alone, deal
from pytest_trt.check.workbench import Workbench
from pytest_trt.hardware.telemetry import Telemetry
from pytest_trt.runtime.load import Runtime
from pytest_trt.strategies import Case

from ._threads import small_integers

COUNTS = (1, 2, 4, 8)
# One convolution with a residual: small enough that one run leaves room on a GPU, and 8 frames of it.
CASE = Case.parse("conv_add_relu-n8-c16-o1-i28x28-k3-lo0-hi1-w_int-s1")
# Runs of each thread in a block, by budget.
ROUNDS = {"quick": 10, "standard": 50, "thorough": 200}
ROUNDS_GPU = {"quick": 200, "standard": 1000, "thorough": 5000}
BLOCKS = 5


@dataclass(frozen=True)
class Measured:
    """One number of threads, and what the GPU did meanwhile."""

    throughput: Throughput
    telemetry: Telemetry

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the times cannot be relied on; empty where they can."""
        return (*self.throughput.reasons, *self.telemetry.unreliable)

    def to_plain(self, rt: Runtime, precision: str) -> dict[str, Any]:
        """Return what a benchmark file keeps."""
        return {
            **self.throughput.to_plain(),
            "reliable": not self.reasons,
            "reasons": list(self.reasons),
            "precision": precision,
            "runtime": rt.title,
            "gpu": rt.gpu.name,
            "telemetry": self.telemetry.to_plain(),
        }


def measure_counts(bench: Workbench, precision: str, budget: str, seed: int) -> dict[int, Measured]:
    """Return the throughput at each number of threads, of one engine."""
    rt = bench.executor
    feeds = small_integers([CASE.input_shapes] * 2 * max(COUNTS), seed)
    rounds = (ROUNDS if rt.device == "cpu" else ROUNDS_GPU)[budget]
    measured = {}
    with bench.subject(CASE.model(), precision, CASE.profile) as subject:
        bases = answer_alone(rt, subject.engine, feeds)
        for count in COUNTS:
            cases = deal(bases, max(COUNTS))[:count]
            with watch_device(rt) as seen:
                found = measure_threads(rt, subject.engine, cases, rounds=rounds, blocks=BLOCKS)
                measured[count] = Measured(found, seen.take())
    return measured


class Replay:
    """A timer for pytest-benchmark: it goes on by the seconds of one run whenever a block is played back.

    A block takes the time of all its threads, and a table that shows it would have to be divided by the reader.
    """

    __name__ = "host_seconds_of_one_run"

    def __init__(self) -> None:
        self.seconds = 0.0
        self._left: list[float] = []

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self.seconds

    def load(self, run_seconds: Sequence[float]) -> None:
        """Take the seconds of one run of each block."""
        self._left = list(run_seconds)

    def take(self) -> None:
        """Play one block back."""
        self.seconds += self._left.pop(0)


REPLAY = Replay()


def enter(benchmark: Any, measured: Measured, plain: Mapping[str, Any]) -> None:
    """Enter a measurement into pytest-benchmark's table and files, where it is at work; each round is a block."""
    if benchmark is None:
        return
    run_seconds = measured.throughput.run_seconds
    REPLAY.load(run_seconds)
    benchmark.extra_info["trt"] = dict(plain)
    benchmark.pedantic(REPLAY.take, rounds=len(run_seconds), iterations=1)


def section(measured: Mapping[int, Measured], precision: str) -> dict[str, Any]:
    """Return the table and the plot over the number of threads."""
    alone = measured[COUNTS[0]].throughput
    rows = []
    for count, one in measured.items():
        found = one.throughput
        waits = [f"{1e6 * found.latency(percent):.4g}" for percent in PERCENTILES]
        slow, fast = min(found.by_thread), max(found.by_thread)
        rows.append(
            (
                *(count, f"{found.runs_per_second:.5g}", f"{found.frames_per_second:.5g}"),
                *(
                    f"{found.efficiency(alone):.2f}",
                    *waits,
                    f"{found.overlap:.2f}",
                    f"{slow:.4g} to {fast:.4g}",
                ),
                "yes" if not one.reasons else "no",
            )
        )
    everywhere = set.intersection(*(set(one.reasons) for one in measured.values()))
    reasons = [f"unreliable: {why}" for why in sorted(everywhere)] + [
        f"{count} threads, unreliable: {why}"
        for count, one in measured.items()
        for why in one.reasons
        if why not in everywhere
    ]
    return {
        "title": f"Throughput over threads, contexts and streams, {precision}",
        "text": [
            f"{alone.clock}; every thread enqueues a run of {alone.frames} frames and waits for it, "
            f"{alone.rounds} times in each of {len(alone.blocks)} blocks",
            "efficiency: throughput over that of as many times one thread; together: 1 where all ran all the time",
            *reasons,
        ],
        "head": [
            *("threads", "runs/s", "frames/s", "efficiency"),
            *(f"wait {percent} % (us)" for percent in PERCENTILES),
            *("together", "runs/s of a thread", "reliable"),
        ],
        "rows": rows,
        "plot": {
            "kind": "lines",
            "title": "Runs a second over threads",
            "x": list(measured),
            "series": {
                "measured": [one.throughput.runs_per_second for one in measured.values()],
                "if threads did not hinder each other": [
                    count * alone.runs_per_second / alone.threads for count in measured
                ],
            },
        },
    }
