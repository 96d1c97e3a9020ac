"""Whether times are steady enough to be compared, and whether a second series is slower than the first.

No assumption is made on how times are distributed: the interval of the change comes from order statistics of paired ratios.
A pair is one time of each series, taken one right after the other, so that what drifts (clocks, temperature, neighbours)
drifts in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median, pstdev

SAME = "same"
SLOWER = "slower"
FASTER = "faster"
UNRELIABLE = "unreliable"

FEWEST = 16  # pairs; below 11 there is no interval of the median at this confidence at all
CONFIDENCE = 0.999
MATTERS = 0.02  # a change that is told is shown to be larger than this
RESOLVED = 0.05  # times are called the same when a change as large as this is excluded
MOST_VARIATION = 0.10  # coefficient of variation
# Two modes: the samples split at their widest inner gap, each side with a share of this, and the distance of the sides'
# means is this many times their pooled spread. A normal sample split in its middle has 2.7, seldom 5.
SMALLEST_MODE = 0.2
MODES_APART = 6.0
PERCENTILES = (50, 90, 99)  # that are told of a series


@dataclass(frozen=True)
class Steadiness:
    """What one series of times is like.

    Attributes
    ----------
    median_seconds : float
    variation : float
        Coefficient of variation: standard deviation over mean.
    reasons : tuple of str
        Why it cannot be relied on; empty is steady.
    """

    median_seconds: float
    variation: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """How a second series of times relates to a first one.

    Attributes
    ----------
    verdict : str
        `same`, `slower`, `faster` or `unreliable`.
    ratio : float
        Median of second / first; NaN where there is none.
    low, high : float
        Interval of that median, at `CONFIDENCE`.
    reasons : tuple of str
        Why it is `unreliable`; empty otherwise.
    """

    verdict: str
    ratio: float
    low: float
    high: float
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it in one line."""
        if self.reasons:
            return f"{self.verdict}: {'; '.join(self.reasons)}"
        return f"{self.verdict}: {100 * (self.ratio - 1):+.1f} % [{100 * (self.low - 1):+.1f}, {100 * (self.high - 1):+.1f}]"


def judge_steadiness(seconds: Sequence[float]) -> Steadiness:
    """Return median and variation of a series of times, and what speaks against relying on it."""
    if len(seconds) == 0 or not all(math.isfinite(value) and value > 0 for value in seconds):
        return Steadiness(math.nan, math.nan, ("a time is missing, zero, negative or no number",))
    middle, variation = median(seconds), pstdev(seconds) / fmean(seconds)
    reasons = []
    if variation > MOST_VARIATION:
        reasons.append(
            f"times vary by {100 * variation:.3g} %, more than {100 * MOST_VARIATION:.0f} % (standard deviation)"
        )
    apart = modes(seconds)
    if apart:
        reasons.append(f"times have two modes, {1e6 * apart[0]:.4g} and {1e6 * apart[1]:.4g} microseconds")
    return Steadiness(middle, variation, tuple(reasons))


def modes(seconds: Sequence[float]) -> tuple[float, float] | None:
    """Return the means of the two modes that a series of times has, None where it has one."""
    ordered = sorted(seconds)
    least = max(2, math.ceil(SMALLEST_MODE * len(ordered)))
    if len(ordered) < 2 * least:
        return None
    cut = max(range(least, len(ordered) - least + 1), key=lambda at: ordered[at] - ordered[at - 1])
    low, high = ordered[:cut], ordered[cut:]
    spread = math.sqrt((len(low) * pstdev(low) ** 2 + len(high) * pstdev(high) ** 2) / len(ordered))
    distance = fmean(high) - fmean(low)
    # Equal times but for the last bits of the clock are one mode.
    if distance <= MATTERS * fmean(ordered) or distance <= MODES_APART * spread:
        return None
    return fmean(low), fmean(high)


def finite(number: float) -> float | None:
    """Return a number as JSON takes it: None for NaN and infinities."""
    return number if math.isfinite(number) else None


def percentile(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile of some times, interpolated linearly between order statistics; NaN of none.

    Raises
    ------
    ValueError
        `percent` is not in [0, 100].

    Notes
    -----
    Source: definition 7 of R. J. Hyndman and Y. Fan, Sample Quantiles in Statistical Packages (1996); numpy's `linear`.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, {percent!r} does not")
    if not seconds:
        return math.nan
    ordered = sorted(seconds)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def compare(before: Sequence[float], after: Sequence[float]) -> Change:
    """Return whether a second series of times is slower or faster than the first.

    Parameters
    ----------
    before, after : sequence of float
        Seconds; `before[i]` and `after[i]` were taken one right after the other.

    Returns
    -------
    Change
        `slower` or `faster` when a change of more than `MATTERS` is shown, `same` when one of `RESOLVED` is excluded,
        `unreliable` when neither is, or when a series is not steady.

    Raises
    ------
    ValueError
        The series have different lengths.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} times before and {len(after)} after: they are no pairs")
    nothing = (math.nan, math.nan, math.nan)
    if len(before) < FEWEST:
        return Change(UNRELIABLE, *nothing, (f"{len(before)} pairs of times, fewer than {FEWEST}",))
    reasons = [
        f"{name}: {reason}"
        for name, series in (("before", before), ("after", after))
        for reason in judge_steadiness(series).reasons
    ]
    if reasons:
        return Change(UNRELIABLE, *nothing, tuple(reasons))
    ratios = sorted(second / first for first, second in zip(before, after, strict=True))
    rank = interval_rank(len(ratios))
    low, middle, high = ratios[rank], median(ratios), ratios[-1 - rank]
    if low > 1 + MATTERS:
        return Change(SLOWER, middle, low, high)
    if high < 1 / (1 + MATTERS):
        return Change(FASTER, middle, low, high)
    if low > 1 / (1 + RESOLVED) and high < 1 + RESOLVED:
        return Change(SAME, middle, low, high)
    wide = f"the change lies between {100 * (low - 1):+.1f} and {100 * (high - 1):+.1f} %: take more pairs"
    return Change(UNRELIABLE, middle, low, high, (wide,))


def interval_rank(count: int) -> int:
    """Return r so that the sorted values [r, count - 1 - r] hold the median with probability `CONFIDENCE` at least.

    Notes
    -----
    Source: the order statistics of any continuous distribution, P(x_(r) > median) = P(Binomial(n, 1/2) <= r), with ranks
    from 0; H. A. David and H. N. Nagaraja, Order Statistics, section 7.1.
    """
    tail, rank = 0.5**count, -1
    total, term = tail, tail
    while total <= (1 - CONFIDENCE) / 2:
        rank += 1
        term = term * (count - rank) / (rank + 1)
        total += term
    return max(rank, 0)
