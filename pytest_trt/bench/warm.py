"""Warm-up: rounds that nobody counts, until their times have stopped to change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from pytest_trt.bench.stability import finite

AGREE = 1.10  # largest over smallest median of the windows that have to agree
WINDOWS = 3  # consecutive ones
ROUNDS_PER_WINDOW = 5  # one odd round does not move a median of five
MOST_WINDOWS = 30


@dataclass(frozen=True)
class WarmUp:
    """How a device got warm.

    Attributes
    ----------
    rounds : int
        Rounds that were not counted.
    window_seconds : tuple of float
        Medians of the windows of rounds, in order.
    reason : str
        Why it is not warm; empty where it is.
    """

    rounds: int
    window_seconds: tuple[float, ...]
    reason: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data: rounds, the medians in seconds, whether it is warm."""
        told = [finite(seconds) for seconds in self.window_seconds]
        return {"rounds": self.rounds, "window_seconds": told, "warm": not self.reason}


def agree(windows: list[float]) -> bool:
    """Return whether the last `WINDOWS` medians lie within a factor of `AGREE`; those that are no times never do."""
    last = windows[-WINDOWS:]
    if len(last) < WINDOWS or not all(math.isfinite(seconds) and seconds > 0 for seconds in last):
        return False
    return max(last) <= AGREE * min(last)


def warm_up(
    take: Callable[[], float], per_window: int = ROUNDS_PER_WINDOW, most: int = MOST_WINDOWS
) -> WarmUp:
    """Take rounds until three windows in a row agree within 10 %, and return how that went.

    Clocks rise, kernels are loaded or compiled at first use, caches fill: until then a time says little about the next one.

    Parameters
    ----------
    take : callable
        Times one round and returns its seconds.
    per_window : int
        Rounds in a window.
    most : int
        Windows after which it gives up.
    """
    windows: list[float] = []
    while len(windows) < most:
        windows.append(median(take() for _ in range(per_window)))
        if agree(windows):
            return WarmUp(per_window * len(windows), tuple(windows))
    last = ", ".join(f"{1e6 * seconds:.4g}" for seconds in windows[-WINDOWS:])
    reason = (
        f"not warm: after {per_window * len(windows)} rounds the last {WINDOWS} windows took {last} microseconds a run,"
        f" which is not within {100 * (AGREE - 1):.0f} %"
    )
    return WarmUp(per_window * len(windows), tuple(windows), reason)
