"""How many runs it takes to see a cross-talk of one run in so many, against what theory says.

    python benchmarks/crosstalk_trials.py

Eight threads, contexts and streams of the emulator (TensorRT's API played over ONNX Runtime) on a CPU, with the injected faults
`crosstalk_one_in_8`, `_100` and `_1000`. For each seed the runs that `trials_for` asks for are made and checked; a seed is a miss
where none was wrong. Exits with 1 where a fault is missed more often than 1 time in 1,000 explains at 1 in 1,000 (binomial), or
where its rate is not the one that was injected.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from pytest_trt.check.concurrent import MISSED, trials_for
from pytest_trt.check.crosstalk import THREADS, Hammered, answer_alone, deal, hammer
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session
from pytest_trt.strategies import Case

CASE = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
# One run in so many, and how many seeds: about as many runs for each.
RATES = {8: 200, 100: 50, 1000: 10}


@dataclass(frozen=True)
class Row:
    """What one rate gave over its seeds."""

    rarity: int
    trials: int
    seeds: int
    runs: int
    wrong: int
    missed: int
    seconds: float

    @property
    def spread(self) -> float:
        """By how many standard deviations the number of wrong runs is off the binomial one."""
        chance = 1 / self.rarity
        return (self.wrong - self.runs * chance) / math.sqrt(self.runs * chance * (1 - chance))

    @property
    def is_wrong(self) -> bool:
        """Whether chance does not explain it."""
        most = next(k for k in range(self.seeds + 1) if _above(self.seeds, MISSED, k) < 1e-3)
        return abs(self.spread) > 4 or self.missed > most


def _above(count: int, chance: float, most: int) -> float:
    """Return the probability that more than `most` of `count` happen."""
    return 1 - sum(math.comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(most + 1))


def run_once(seed: int, runs: int, *faults: str) -> Hammered:
    """Return what threads gave with one seed."""
    settings = Settings(runtime="emulator", gpu="t4", faults=faults, seed=seed)
    bench = Workbench(settings, discover(settings))
    rng = np.random.default_rng(seed)
    feeds = [
        {name: rng.integers(-4, 5, shape).astype(np.float32) for name, shape in CASE.input_shapes.items()}
        for _ in range(2 * THREADS)
    ]
    with bench.subject(CASE.model(), "fp32", CASE.profile) as subject, ExitStack() as held:
        cases = deal(answer_alone(subject.rt, subject.engine, feeds), THREADS)
        sessions = [held.enter_context(Session(subject.rt, subject.engine)) for _ in range(THREADS)]
        return hammer(sessions, cases, runs)


def measure(rarity: int, seeds: int) -> Row:
    """Return how often a cross-talk of one run in `rarity` was seen."""
    trials = trials_for(1 / rarity)
    began = time.perf_counter()
    found = [
        run_once(seed, trials, f"pytest_trt.emulator.faults:crosstalk_one_in_{rarity}")
        for seed in range(seeds)
    ]
    return Row(
        rarity,
        trials,
        seeds,
        sum(one.runs for one in found),
        sum(one.wrong for one in found),
        sum(not one.wrong for one in found),
        time.perf_counter() - began,
    )


def main() -> int:
    """Print the table; return 1 where chance does not explain a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the seeds")
    share = parser.parse_args().share
    print(
        "| one run in | runs asked for | seeds | runs | wrong | expected | off by (sd) | seeds missed | seconds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    bad = False
    for rarity, seeds in RATES.items():
        row = measure(rarity, max(1, round(share * seeds)))
        bad |= row.is_wrong
        print(
            f"| {rarity:,} | {row.trials:,} | {row.seeds} | {row.runs:,} | {row.wrong} | {row.runs / rarity:.1f} |"
            f" {row.spread:+.1f} | {row.missed} | {row.seconds:.0f} |",
            flush=True,
        )
    began = time.perf_counter()
    honest = run_once(0, 20_000)
    print(f"no fault: {honest}, {time.perf_counter() - began:.1f} s")
    return int(bad or honest.wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
