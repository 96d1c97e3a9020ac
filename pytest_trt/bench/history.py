"""Stored runs of pytest-benchmark as series over time, and whether a series has a step or only noise.

A run is compared by its rank among the runs before it, so that the rate of false alarms does not depend on how the times are
distributed: noise with two modes has the same as a normal one. Numbers that were unreliable are kept and shown, never used.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pytest_trt.bench.machine import name_cpu
from pytest_trt.bench.stability import MATTERS

# Of the CUSUM, in standard deviations of one score: what a score has to exceed to count, and the sum that is an alarm.
# `benchmarks/history_alarm.py` measures what they bring; a larger LIMIT means fewer false alarms and later ones.
ALLOWANCE = 0.5
LIMIT = 4.0
SURE = 3.6  # standard deviations of the sum of ranks (Mann-Whitney) by which the runs after a step differ from those before
SEPARATED = 0.85  # share of pairs (a run before, a run after) in the order that the step says
FEWEST = 3  # runs on each side of a step
BASELINE = 8  # runs: their median is what the latest run is shown against


@dataclass(frozen=True)
class Point:
    """One benchmark in one stored run.

    Attributes
    ----------
    when : datetime
        With a time zone.
    seconds : float
        Median of the rounds.
    variation : float
        Standard deviation over mean, of the rounds; NaN where it is not stored.
    reasons : tuple of str
        Why the number cannot be relied on; empty: it can.
    commit : str
        Id of the commit; `+` behind it for changes that were not committed, empty where none is stored.
    source : str
        The file, relative to the folder.
    """

    when: datetime
    seconds: float
    variation: float
    reasons: tuple[str, ...] = ()
    commit: str = ""
    source: str = ""

    @property
    def reliable(self) -> bool:
        """True where nothing speaks against the number."""
        return not self.reasons


@dataclass(frozen=True)
class Step:
    """A lasting change of a series.

    Attributes
    ----------
    first : int
        Index of the first value after the change.
    noticed : int
        Index of the value at which it was found.
    before, after : float
        Medians of the values since the step before this one, and up to the next one.
    """

    first: int
    noticed: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """Relative change: 0.1 is 10 % slower, -0.1 is faster."""
        return self.after / self.before - 1


@dataclass(frozen=True)
class Series:
    """What one benchmark took on one machine, in the order of time.

    Attributes
    ----------
    benchmark : str
        Its full name: the node id of the test.
    machine : str
        The id of the machine.
    points : tuple of Point
    """

    benchmark: str
    machine: str
    points: tuple[Point, ...]

    @cached_property
    def used(self) -> tuple[Point, ...]:
        """The points that can be relied on."""
        return tuple(point for point in self.points if point.reliable)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps; their indexes count the points of `used`."""
        return find_steps([point.seconds for point in self.used])

    @property
    def change(self) -> float:
        """Relative change of the latest used point to the median of the first `BASELINE` ones; NaN without any."""
        used = [point.seconds for point in self.used]
        return used[-1] / median(used[:BASELINE]) - 1 if used else math.nan

    def is_slower(self, recent: int) -> bool:
        """Return whether a slow-down began in the latest `recent` used points, and is not made good since."""
        steps, count = self.steps, len(self.used)
        if not steps:
            return False
        now = steps[-1].after
        return any(
            step.first >= count - recent and step.change > 0 and now > step.before * (1 + MATTERS)
            for step in steps
        )


def find_steps(values: Sequence[float]) -> tuple[Step, ...]:
    """Return the lasting changes of a series of positive values, in its order; empty where there is only noise.

    A two-sided CUSUM adds up how far each value's rank among those since the last step, itself included, lies from the middle.
    Over `LIMIT`, a step is looked for where the values before and after differ most in rank. It is told if at least `FEWEST`
    values lie on each side, their sums of ranks differ by `SURE`, their medians by more than `MATTERS`, and `SEPARATED` of all
    pairs are in its order; otherwise the next value is waited for. It is placed near there, where both sides lie closest to their
    medians.

    Notes
    -----
    Sources: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954), for the CUSUM; D. McDonald, A CUSUM procedure based
    on sequential ranks, Naval Research Logistics 37 (1990), for the ranks: without a change they are independent and uniform
    whatever the distribution; A. N. Pettitt, A non-parametric approach to the change-point problem, Applied Statistics 28
    (1979), for the place. Equal values share their middle rank.
    """
    found: list[tuple[int, int]] = []
    start = at = 0
    ordered: list[float] = []
    up = down = 0.0
    while at < len(values):
        score = _score(ordered, values[at])
        insort(ordered, values[at])
        up, down = max(0.0, up + score - ALLOWANCE), max(0.0, down - score - ALLOWANCE)
        first = _place(values[start : at + 1], slower=up > down) if max(up, down) > LIMIT else None
        at += 1
        if first is not None:
            found.append((start + first, at - 1))
            start = at = start + first
            ordered, up, down = [], 0.0, 0.0
    edges = [0, *(first for first, _ in found), len(values)]
    middles = [median(values[low:high]) for low, high in pairwise(edges) if low < high]
    return tuple(
        Step(first, noticed, middles[number], middles[number + 1])
        for number, (first, noticed) in enumerate(found)
    )


def _score(ordered: Sequence[float], value: float) -> float:
    """Return how far a value's rank lies from the middle of the earlier ones, with mean 0 and deviation 1 about."""
    below, upto = bisect_left(ordered, value), bisect_right(ordered, value)
    return math.sqrt(3) * (below + upto - len(ordered)) / (len(ordered) + 2)


def _place(values: Sequence[float], *, slower: bool) -> int | None:
    """Return the index of the first value after the step that these values have, None where it is not one that is told."""
    count, ordered = len(values), sorted(values)
    best, place, excess = 0.0, 0, 0.0
    for split, value in enumerate(values[: max(0, count - FEWEST)], 1):
        # Twice the sum of centred ranks before the split: negative where the values after it are higher.
        excess += bisect_left(ordered, value) + bisect_right(ordered, value) - count
        strength = (-excess if slower else excess) / math.sqrt(split * (count - split) * (count + 1) / 3)
        if split >= FEWEST and strength > best:
            best, place = strength, split
    if best < SURE:
        return None
    share = 0.5 + best * math.sqrt((count + 1) / (12 * place * (count - place)))
    if share < SEPARATED:
        return None
    near = range(max(FEWEST, place - BASELINE), min(count - FEWEST, place + BASELINE) + 1)
    place = min(near, key=lambda split: _spread(values[:split]) + _spread(values[split:]))
    ratio = median(values[place:]) / median(values[:place])
    return place if (ratio if slower else 1 / ratio) > 1 + MATTERS else None


def _spread(values: Sequence[float]) -> float:
    """Return the sum of distances to the median: the ranks say that there is a step, the values where it is."""
    middle = median(values)
    return sum(abs(value - middle) for value in values)


def load(folder: Path) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """Return the series that a storage folder of pytest-benchmark holds, and what of it cannot be read.

    Series come in the order of machine and benchmark. A file's time is the one that it tells; one without time zone is in UTC,
    as pytest-benchmark 4 writes it.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    trouble: list[str] = []
    for path in sorted(folder.rglob("*.json")):
        source = path.relative_to(folder).as_posix()
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            machine = machine_of(stored["machine_info"])
            points = [
                (str(bench["fullname"]), _read(stored, bench, source)) for bench in stored["benchmarks"]
            ]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            trouble.append(f"{source} is no stored run of pytest-benchmark: {type(error).__name__}: {error}")
            continue
        for name, point in points:
            found.setdefault((machine, name), []).append(point)
    series = (
        Series(name, machine, tuple(sorted(points, key=lambda point: (point.when, point.source))))
        for (machine, name), points in sorted(found.items())
    )
    return tuple(series), tuple(trouble)


def machine_of(info: Mapping[str, Any]) -> str:
    """Return the id of the machine of a stored run: ours, or processor and system where the run was not ours."""
    ours = info.get("trt")
    if isinstance(ours, Mapping) and ours.get("id"):
        return str(ours["id"])
    names = (name_cpu(info), info.get("system"))
    return ", ".join(str(name) for name in names if name) or "a machine that is not told"


def reasons_of(bench: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a stored benchmark cannot be relied on; empty for one that can, and for one that is not ours."""
    ours = (bench.get("extra_info") or {}).get("trt")
    if not isinstance(ours, Mapping) or ours.get("reliable", True):
        return ()
    return tuple(str(reason) for reason in ours.get("reasons") or ()) or ("no reason is told",)


def _read(stored: Mapping[str, Any], bench: Mapping[str, Any], source: str) -> Point:
    when = datetime.fromisoformat(str(stored["datetime"]).replace("Z", "+00:00"))
    stats, ours = bench["stats"], (bench.get("extra_info") or {}).get("trt")
    seconds = float(stats["median"])
    reasons = reasons_of(bench)
    if not (math.isfinite(seconds) and seconds > 0):
        reasons = (*reasons, f"a time of {seconds!r} s")
    told = ours.get("variation") if isinstance(ours, Mapping) else None
    variation = float(stats["stddev"]) / float(stats["mean"]) if told is None and stats["mean"] else told
    commit = stored.get("commit_info") or {}
    name = str(commit.get("id") or "")[:10]
    return Point(
        when if when.tzinfo else when.replace(tzinfo=timezone.utc),
        seconds,
        math.nan if variation is None else float(variation),
        reasons,
        name + "+" if name and commit.get("dirty") else name,
        source,
    )
