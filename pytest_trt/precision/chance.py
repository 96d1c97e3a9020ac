"""How likely it is that a range is off only because samples are drawn: the largest of a few hundred values fluctuates.

A limit on how far a scale may be off, held against the worst of many tensors, refuses honest calibrations: where large values
are rare, two halves of the same data give ranges that are 1.2 times apart. No fixed number allows for that, and no
model of the tails is needed to. If the calibration and the fresh samples are draws from one source, each order of all of them
is as likely as any other. So of those that reach beyond a range, each side should have about its share, and what is left to
chance is exact, whatever the tensor's distribution. The few that reach far say little of the many that do not, and a source
that is smaller throughout shows in those: the ranks of all have to be those of one source too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.precision.calibration import count_rows
from pytest_trt.precision.ranges import Watcher

Array = NDArray[Any]
Float64 = NDArray[np.float64]


def measure_reaches(
    model: ModelProto, data: Iterable[Mapping[str, Array]], names: Iterable[str]
) -> dict[str, Float64]:
    """Return the largest finite magnitude of some tensors in each sample, 0.0 where a sample has none.

    A tensor whose first dimension is not that of the samples gives one value a batch.
    """
    watcher = Watcher(model)
    found: dict[str, list[Float64]] = {name: [] for name in names}
    for feed in data:
        rows = count_rows(feed)
        values = watcher.watch(feed)
        for name, reaches in found.items():
            array = values[name]
            kept = np.where(np.isfinite(array), np.abs(array), 0).astype(np.float64)
            by_row = array.ndim > 0 and array.shape[0] == rows
            reaches.append(
                kept.reshape(rows if by_row else 1, -1).max(axis=1, initial=0.0)
                if array.size
                else np.zeros(1)
            )
    return {name: np.concatenate(reaches) if reaches else np.zeros(0) for name, reaches in found.items()}


def chance_of(few: Float64, many: Float64, limit: float) -> float:
    """Return how likely samples of one source are to reach as much further on one side as these do.

    Parameters
    ----------
    few, many : ndarray, shape (n,)
        How far each sample of either side reaches. `many` is the side that is said to reach further.
    limit : float
        What the largest of `few`, or most of them, do not exceed.

    Returns
    -------
    float
        Twice the smaller one of `tail_chance` and `rank_chance`, 1 at most.
    """
    return min(1.0, 2 * min(tail_chance(few, many, limit), rank_chance(few, many)))


def tail_chance(few: Float64, many: Float64, limit: float) -> float:
    """Return the probability that of all samples beyond a limit as many, or more, are of `many`.

    Notes
    -----
    The exact test of R. A. Fisher in a table of two by two. With the limit at the largest of `few` it is the probability
    that the k largest of all are on the side of `many`: about (share of `many`) ** k.
    """
    beyond_few, beyond_many = int(np.count_nonzero(few > limit)), int(np.count_nonzero(many > limit))
    return hypergeometric_tail(beyond_many, beyond_few + beyond_many, many.size, few.size + many.size)


def rank_chance(few: Float64, many: Float64) -> float:
    """Return the probability that `many` takes ranks as high, or higher, among all samples.

    Notes
    -----
    H. B. Mann and D. R. Whitney, "On a test of whether one of two random variables is stochastically larger than the other",
    1947: its normal limit, with the variance that ties leave.
    """
    _, places, counts = np.unique(np.concatenate([few, many]), return_inverse=True, return_counts=True)
    total = few.size + many.size
    ranks = np.cumsum(counts) - (counts - 1) / 2
    taken = float(ranks[places.reshape(-1)[few.size :]].sum())
    ties = float(np.sum(counts.astype(np.float64) ** 3 - counts))
    variance = few.size * many.size / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    return 0.5 * math.erfc((taken - many.size * (total + 1) / 2) / math.sqrt(2 * variance))


def least_chance(few: int, many: int) -> float:
    """Return the least that `tail_chance` can give with so many samples: all of one side beyond all of the other."""
    return math.exp(-_log_choose(few + many, few))


def hypergeometric_tail(least: int, drawn: int, marked: int, total: int) -> float:
    """Return the probability that at least `least` of `drawn` are marked: `marked` of `total` are, none is drawn twice."""
    whole = _log_choose(total, drawn)
    first, last = max(least, drawn - (total - marked)), min(drawn, marked)
    logs = [
        _log_choose(marked, count) + _log_choose(total - marked, drawn - count) - whole
        for count in range(first, last + 1)
    ]
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
