"""How two loops are measured against each other on a GPU, and how what was found is told and judged."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from pytest_trt.bench.stability import interval_rank

MET, NOT_MET, NOT_JUDGED = "met", "NOT MET", "not judged"


@dataclass(frozen=True)
class Paired:
    """The middle of numbers that pairs of measurements gave, and the interval of that middle.

    Attributes
    ----------
    middle, low, high : float
        Median, and the order statistics that hold it with the confidence of `pytest_trt.bench.stability.CONFIDENCE`.
    pairs : int
    """

    middle: float
    low: float
    high: float
    pairs: int

    def told(self, scale: float = 1.0, digits: int = 3) -> str:
        """Return it in words: middle, interval and number of pairs."""
        middle, low, high = (f"{scale * value:.{digits}f}" for value in (self.middle, self.low, self.high))
        return f"{middle} [{low}, {high}] of {self.pairs} pairs"


def summarize(numbers: Sequence[float]) -> Paired:
    """Return the median of some numbers and its interval.

    Raises
    ------
    ValueError
        There is none.
    """
    if not numbers:
        raise ValueError("there are no numbers to summarize")
    ordered = sorted(numbers)
    rank = min(interval_rank(len(ordered)), (len(ordered) - 1) // 2)
    return Paired(median(ordered), ordered[rank], ordered[-1 - rank], len(ordered))


def alternate(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Return what two measurements gave, taken in the order first, second, second, first and so on.

    What drifts evenly, a clock or a temperature, so favours neither. `first[i]` and `second[i]` were taken one beside the other.
    """
    ones: list[float] = []
    others: list[float] = []
    with collector_off():
        for number in range(pairs):
            if number % 2:
                others.append(second())
                ones.append(first())
            else:
                ones.append(first())
                others.append(second())
    return ones, others


def throughput_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """Return the throughput of the first as a share of the second's, from seconds for the same work."""
    return summarize([other / one for one, other in zip(ours, theirs, strict=True)])


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """Return how many seconds more the first takes than the second."""
    return summarize([one - other for one, other in zip(ours, theirs, strict=True)])


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's garbage collector out of what is measured."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def runs_for(seconds: float, one: float, most: int = 100_000) -> int:
    """Return how many runs of this length fill a time, one at least."""
    return max(1, min(most, math.ceil(seconds / max(one, 1e-9))))


@dataclass(frozen=True)
class Wanted:
    """One thing that is wanted, and what came of it.

    Attributes
    ----------
    what, wanted, measured : str
        For people.
    state : str
        `met`, `NOT MET` or `not judged`.
    """

    what: str
    wanted: str
    measured: str
    state: str


@dataclass
class Report:
    """What the parts print and keep.

    Attributes
    ----------
    where : str
        Begins each line: who computes.
    judges_times : bool
        False on a CPU, where times say nothing of a GPU.
    rows : list of Wanted
    data : dict
        Plain data for the JSON file, by part.
    """

    where: str
    judges_times: bool
    rows: list[Wanted] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str, where: str | None = None) -> None:
        """Print a line."""
        print(f"{self.where if where is None else where} | {line}", flush=True)

    def want(
        self, what: str, wanted: str, measured: str, met: bool, *, is_time: bool, is_told: bool = True
    ) -> None:
        """Keep a row of the last table; times are judged on a GPU only, and only what the measurement can tell."""
        judged = is_told and (self.judges_times or not is_time)
        self.rows.append(Wanted(what, wanted, measured, (MET if met else NOT_MET) if judged else NOT_JUDGED))

    @property
    def is_met(self) -> bool:
        """True if nothing that was judged is missing; False without a row."""
        return bool(self.rows) and all(row.state != NOT_MET for row in self.rows)

    def table(self) -> list[str]:
        """Return the last table in lines: wanted, measured, met or not."""
        cells = [("what", "wanted", "measured", "")]
        cells += [(row.what, row.wanted, row.measured, row.state) for row in self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells
        ]
        return [line.rstrip() for line in lines]

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "where": self.where,
            "judges_times": self.judges_times,
            "wanted": [asdict(row) for row in self.rows],
            **self.data,
        }
