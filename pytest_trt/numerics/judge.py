"""Measure one output against its admissible interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import Array, spacing
from pytest_trt.numerics.patterns import describe_pattern

# Half-width of the statistical interval in standard deviations. Tails are not Gaussian: on normal data 1 in 10**5 sums lies
# beyond 5 sigma.
SIGMAS = 12.0


@dataclass(frozen=True)
class Measure:
    """What one comparison found: numbers only.

    Attributes
    ----------
    total, judged, certified, bad : int
        Elements; those with a promise; those with one admissible value; those outside.
    cause : str
        `interval`, `certificate`, `nan` or `slices`: the rule that the worst bad element broke; empty when none did.
    index : tuple of int
        Place of the worst element.
    got, low, high, want : float
        There.
    pattern : str
        Where the bad elements lie, in words.
    """

    total: int
    judged: int
    certified: int
    bad: int = 0
    cause: str = ""
    index: tuple[int, ...] = ()
    got: float = 0.0
    low: float = 0.0
    high: float = 0.0
    want: float = 0.0
    pattern: str = ""


def measure(got: Array, want: Bound) -> Measure:
    """Return how an output lies in its admissible interval.

    Parameters
    ----------
    got : ndarray
        The output. Its shape must be the bound's.
    want : Bound
        The admissible values. -0.0 equals 0.0.
    """
    value = np.asarray(got, dtype=np.float64)
    total = value.size
    inside = (value >= want.low) & (value <= want.high)
    if inside.all():
        return Measure(total, want.judged, want.certified)
    is_nan = np.isnan(value)
    inside = np.where(np.isnan(want.mid), is_nan, inside)
    if want.loose is not None:
        inside |= want.loose
    if want.overflow is not None:
        lost = ~np.isfinite(value)
        inside |= want.overflow & (lost | (value == 0) if want.may_vanish else lost)
    if inside.all():
        return Measure(total, want.judged, want.certified)
    bad = ~inside
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.maximum(want.low - value, value - want.high)
    gap = np.where(bad, np.where(np.isnan(gap), np.inf, gap), -np.inf)
    at = np.unravel_index(int(np.argmax(gap)), gap.shape)
    cause = "nan" if bool(np.isnan(value[at]) != np.isnan(want.mid[at])) else "interval"
    if cause == "interval" and bool(want.is_sharp()[at]):
        cause = "certificate"
    return Measure(
        total,
        want.judged,
        want.certified,
        bad=int(np.count_nonzero(bad)),
        cause=cause,
        index=tuple(int(i) for i in at),
        got=float(value[at]),
        low=float(want.low[at]),
        high=float(want.high[at]),
        want=float(want.mid[at]),
        pattern=describe_pattern(bad),
    )


def measure_slices(got: Array, want: Bound) -> Measure | None:
    """Return how large the errors of an FP32 output are together in its slices.

    A statement about data that do not depend on the order of summation, such as those that a battery draws at random. Where
    outputs have 16 bits or fewer it adds nothing: the interval leaves them one value.

    Parameters
    ----------
    got : ndarray
        The output, inside its interval.
    want : Bound
        With `sigma` and `bias`.

    Returns
    -------
    Measure or None
        None where there is nothing to say: no standard deviation is known, or every element has one admissible value.

    Notes
    -----
    A slice (the tensor, a batch item, a channel) of m >= 8 elements is bad when the sum of z**2 exceeds
    2.25 (m + 8 sqrt(2 m)), z being the error without bias over the standard deviation, output rounding included.
    """
    if want.sigma is None or want.bias is None or want.kind != "fp32":
        return None
    value = np.asarray(got, dtype=np.float64)
    free = (want.low < want.high) & np.isfinite(want.mid) & np.isfinite(value)
    if want.loose is not None:
        free &= ~want.loose
    count = int(np.count_nonzero(free))
    if count == 0:
        return None
    with np.errstate(invalid="ignore"):
        error = np.where(free, np.abs(value - want.mid), 0.0)
        step = spacing(np.where(free, want.mid, 1.0), "fp32")
        z = np.maximum(error - want.bias, 0.0) / np.sqrt(want.sigma**2 + step**2 / 12)
    bad = _bad_slices(np.where(free, z, 0.0) ** 2, free)
    if not bad.any():
        return Measure(value.size, count, 0)
    worst = np.where(bad, z, -np.inf)
    at = np.unravel_index(int(np.argmax(worst)), worst.shape)
    room = 1.5 * float(want.sigma[at] + step[at]) + float(want.bias[at])
    return Measure(
        value.size,
        count,
        0,
        bad=int(np.count_nonzero(bad)),
        cause="slices",
        index=tuple(int(i) for i in at),
        got=float(value[at]),
        low=float(want.mid[at] - room),
        high=float(want.mid[at] + room),
        want=float(want.mid[at]),
        pattern=describe_pattern(bad),
    )


def _bad_slices(squares: Array, free: Array) -> Array:
    """Return a mask of the slices whose errors are too large together."""
    bad = np.zeros(squares.shape, bool)
    every = tuple(range(squares.ndim))
    for axes in (every, every[1:], (0, *every[2:])):
        if not axes or not squares.ndim:
            continue
        total = squares.sum(axis=axes, keepdims=True)
        count = free.sum(axis=axes, keepdims=True)
        bad |= (count >= 8) & (total > 2.25 * (count + 8 * np.sqrt(2.0 * count)))
    return np.asarray(bad & free)
