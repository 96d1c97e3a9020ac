"""How much accuracy a second classifier loses against a first one on the same samples, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

ACCEPTED, REJECTED, INCONCLUSIVE = "accepted", "rejected", "inconclusive"

_BISECTIONS = 60
# Samples from where on the normal limit is as good as the exact one.
_MANY = 20_000


@dataclass(frozen=True)
class PairedLoss:
    """The loss of accuracy on the same samples, its confidence limits, and what follows.

    Attributes
    ----------
    n : int
        Samples.
    lost, won : int
        Samples that only the first classifier has right, and that only the second has.
    limit, confidence : float
        A loss of `limit` or more is to be excluded with this one-sided confidence.
    loss : float
        (lost - won) / n.
    lower, upper : float
        One-sided confidence limits of the loss.
    needed : int, optional
        Samples that would show a loss under the limit, at these rates; None where the measured loss reaches the limit.
    outcome : str
        `accepted`: the upper limit is under `limit`. `rejected`: the loss reaches it on a sample that could have been accepted,
        or the lower limit does. `inconclusive`: neither; more samples will tell.
    """

    n: int
    lost: int
    won: int
    limit: float
    confidence: float
    loss: float
    lower: float
    upper: float
    needed: int | None
    outcome: str


def paired(lost: int, won: int, n: int, *, limit: float = 0.01, confidence: float = 0.95) -> PairedLoss:
    """Return whether a loss of accuracy stays under a limit, by a paired test.

    Parameters
    ----------
    lost, won : int
        Of `n` samples those that only the first classifier has right, and those that only the second has.
    n : int
        Samples, the same for both; 1 or more.
    limit : float
        Share of the samples, in (0, 1).
    confidence : float
        One-sided, in (0.5, 1).

    Raises
    ------
    ValueError
        The counts contradict each other, or `limit` or `confidence` is out of its range.

    Notes
    -----
    The upper limit is the larger of two. One is the normal limit of the difference of paired shares, d + z sqrt(lost + won -
    (lost - won)^2 / n) / n (Q. McNemar 1947). Alone it covers too rarely while the counts are small: 80 % instead of 95 % where
    three losses and no win are expected. The other joins the exact binomial limits u and l (C. Clopper and E. Pearson 1934) of
    the two shares: d + sqrt(A^2 + B^2 + 2 r A B) with A = u_lost - lost / n, B = won / n - l_won and -r the correlation of
    the two counts (R. Newcombe, Statistics in Medicine 17, 1998; G. Zou and A. Donner, Statistics in Medicine 27, 2008). Without
    a disagreement it is the exact rule of three, 1 - 0.05^(1/n). The lower limit is the upper one with the classifiers swapped.
    """
    if n < 1 or min(lost, won) < 0 or lost + won > n:
        raise ValueError(f"{lost} samples lost and {won} won of {n} cannot be")
    if not 0 < limit < 1 or not 0.5 < confidence < 1:
        raise ValueError(f"limit {limit!r} must be in (0, 1), confidence {confidence!r} in (0.5, 1)")
    loss = (lost - won) / n
    upper, lower = _upper(lost, won, n, confidence), -_upper(won, lost, n, confidence)
    least = least_samples(limit, confidence)
    if upper < limit:
        outcome = ACCEPTED
    elif lower >= limit or (loss >= limit and n >= least):
        outcome = REJECTED
    else:
        outcome = INCONCLUSIVE
    needed = n if upper < limit else _find_needed(lost, won, n, limit, confidence)
    return PairedLoss(n, lost, won, limit, confidence, loss, lower, upper, needed, outcome)


def least_samples(limit: float = 0.01, confidence: float = 0.95) -> int:
    """Return the least sample without any disagreement that shows a loss under the limit: 299 for 1 % at 95 %."""
    count = math.ceil(math.log1p(-confidence) / math.log1p(-limit))
    return count if 1 - (1 - confidence) ** (1 / count) < limit else count + 1


def _upper(lost: int, won: int, n: int, confidence: float) -> float:
    a, b = lost / n, won / n
    z = NormalDist().inv_cdf(confidence)
    normal = a - b + z * math.sqrt(max(lost + won - (lost - won) ** 2 / n, 0.0)) / n
    above = _binomial_upper(lost, n, confidence) - a
    below = b - (1 - _binomial_upper(n - won, n, confidence))
    # The two counts share the samples, so they go against each other.
    against = math.sqrt(a * b / ((1 - a) * (1 - b))) if 0 < a < 1 and 0 < b < 1 else 0.0
    exact = a - b + math.sqrt(above**2 + below**2 + 2 * against * above * below)
    return min(max(normal, exact), 1.0)


@lru_cache(maxsize=4096)
def _binomial_upper(k: int, n: int, confidence: float) -> float:
    """Return the exact upper limit of a share, k of n seen: where k or fewer have a probability of 1 - confidence."""
    if k >= n:
        return 1.0
    i = np.arange(1, k + 1, dtype=np.float64)
    ways = np.concatenate([[0.0], np.cumsum(np.log(n - i + 1) - np.log(i))])
    counts = np.concatenate([[0.0], i])
    low, high = k / n, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        tail = float(np.exp(ways + counts * math.log(middle) + (n - counts) * math.log1p(-middle)).sum())
        low, high = (middle, high) if tail > 1 - confidence else (low, middle)
    return high


def _find_needed(lost: int, won: int, n: int, limit: float, confidence: float) -> int | None:
    loss = (lost - won) / n
    if loss >= limit:
        return None
    z = NormalDist().inv_cdf(confidence)
    spread = (lost + won) / n - loss**2
    count = max(least_samples(limit, confidence), n + 1, math.ceil(spread * (z / (limit - loss)) ** 2))
    while (
        count < _MANY
        and _upper(math.ceil(lost / n * count), math.floor(won / n * count), count, confidence) >= limit
    ):
        count = math.ceil(count * 1.1)
    return count
