"""How likely it is that a range is off only because samples are drawn: the largest of a few hundred values fluctuates.

A limit on how far a scale may be off, held against the worst of many tensors, refuses honest calibrations: where large values
are rare, two halves of the same data give ranges that are 1.2 times apart. No fixed number allows for that, and no
model of the tails is needed to. If the calibration and the fresh samples are draws from one source, each order of all of them
is as likely as any other; so among those that reach beyond a range, as many should be of either side as its share of all
samples says. What is left to chance is then exact, whatever the tensor's distribution is.
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
    """Return how likely the samples beyond a limit are as much on one side as they are, if all come from one source.

    Parameters
    ----------
    few, many : ndarray, shape (n,)
        How far each sample of either side reaches. `many` is the side that has more of them beyond `limit` than its share.
    limit : float

    Returns
    -------
    float
        Probability that `many` has as many beyond the limit, or more, of all that are.

    Notes
    -----
    The exact test of R. A. Fisher (1935) in a table of two by two. With the limit at the largest of `few` it is
    the probability that the k largest of all are on the side of `many`: about (share of `many`) ** k.
    """
    beyond_few, beyond_many = int(np.count_nonzero(few > limit)), int(np.count_nonzero(many > limit))
    return hypergeometric_tail(beyond_many, beyond_few + beyond_many, many.size, few.size + many.size)


def least_chance(few: int, many: int) -> float:
    """Return the least that `chance_of` can give with so many samples: all of one side beyond all of the other."""
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
