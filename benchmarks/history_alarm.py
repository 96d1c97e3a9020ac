"""How often `python -m pytest_trt history` takes noise for a step, and how soon it finds a real one.

    python benchmarks/history_alarm.py [--series 2000] [--seed 1]

Series of medians are drawn: first noise alone, of several distributions, 100 runs long; then a step of +5 % and +10 % after
10, 20 and 40 runs, with 40 runs behind it. Printed are the false alarms per 1,000 series, and the runs until a step is noticed
(median and 95th percentile) with the share that is not found in those 40 runs. Exit status 1: more false alarms than
`MOST_ALARMS`, or a step of 5 % at noise of 1 % that is found later than `MOST_RUNS` (95th percentile) or not at all in more than
5 % of the series.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from statistics import median

from pytest_trt.bench.history import find_steps

LENGTH = 100
AFTER = 40
MOST_ALARMS = 30.0  # per 1,000 series of LENGTH runs: one in 3,300 runs
MOST_RUNS = {10: 10, 20: 7, 40: 6}
LEVELS = (0.005, 0.01, 0.02, 0.03, 0.05)

Draw = Callable[[random.Random], float]


def normal(spread: float) -> Draw:
    """Return a source of normal noise around 1."""
    return lambda rng: max(0.1, rng.gauss(1.0, spread))


def heavy(spread: float) -> Draw:
    """Return a source of Student's t noise with 3 degrees of freedom."""
    return lambda rng: max(0.1, 1 + spread * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3))


def two_modes(share: float, low: float = 0.8, high: float = 1.2, spread: float = 0.01) -> Draw:
    """Return a source that is at `low` with this share, else at `high`."""
    return lambda rng: (low if rng.random() < share else high) * max(0.1, rng.gauss(1.0, spread))


NOISE: dict[str, Draw] = {
    "normal, 1 %": normal(0.01),
    "normal, 3 %": normal(0.03),
    "normal, 10 %": normal(0.10),
    "Student t, 3 degrees, 1 %": heavy(0.01),
    "Student t, 3 degrees, 5 %": heavy(0.05),
    "two modes, -20 % and +20 %, half each": two_modes(0.5),
    "two modes, -20 % and +20 %, 7 : 3": two_modes(0.7),
    "one run in ten 20 % slower": two_modes(0.9, 1.0, 1.2),
    "two values, -20 % and +20 %, no more": two_modes(0.5, spread=0.0),
    "one value": lambda rng: 1.0,
}


def count_alarms(draw: Draw, series: int, seed: int) -> float:
    """Return the false alarms per 1,000 series of noise."""
    rng = random.Random(seed)
    alarms = sum(bool(find_steps([draw(rng) for _ in range(LENGTH)])) for _ in range(series))
    return 1000 * alarms / series


def time_detection(
    size: float, spread: float, before: int, series: int, seed: int
) -> tuple[float, float, float]:
    """Return the runs until a step is noticed, median and 95th percentile, and the share that is missed or misplaced."""
    rng = random.Random(seed)
    delays: list[int] = []
    for _ in range(series):
        values = [rng.gauss(1.0, spread) for _ in range(before)]
        values += [rng.gauss(1.0 + size, spread * (1 + size)) for _ in range(AFTER)]
        hits = [step for step in find_steps(values) if step.change > 0 and abs(step.first - before) <= 5]
        if hits:
            delays.append(hits[0].noticed - before + 1)
    delays.sort()
    missed = 1 - len(delays) / series
    if not delays:
        return math.nan, math.nan, missed
    return median(delays), delays[min(len(delays) - 1, int(0.95 * len(delays)))], missed


def main() -> int:
    """Draw, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = []
    print(f"false alarms per 1,000 series of {LENGTH} runs; {given.series} series each, seed {given.seed}")
    for name, draw in NOISE.items():
        alarms = count_alarms(draw, given.series, given.seed)
        print(f"  {name:<40} {alarms:6.1f}")
        if alarms > MOST_ALARMS:
            wrong.append(f"{name}: {alarms:.1f} false alarms, more than {MOST_ALARMS:.0f}")
    print(
        f"\nruns until a step is noticed: median, 95 % (not found within {AFTER} runs, or more than 5 runs off)"
    )
    print("  step  runs before  " + "".join(f"{f'noise {100 * level:g} %':>20}" for level in LEVELS))
    for size in (0.05, 0.10):
        for before in (10, 20, 40):
            cells = []
            for level in LEVELS:
                middle, late, missed = time_detection(size, level, before, given.series // 4, given.seed)
                cells.append(f"{middle:.0f}, {late:.0f} ({100 * missed:.0f} %)")
                if level == 0.01 and not (late <= MOST_RUNS[before] and missed <= 0.05):
                    wrong.append(f"+{100 * size:.0f} % after {before} runs: {cells[-1]}")
            print(f"  +{100 * size:<3.0f}% {before:>12}  " + "".join(f"{cell:>20}" for cell in cells))
    for line in wrong:
        print(f"wrong: {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
