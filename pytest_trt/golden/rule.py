"""Whether the errors of today are worse than those of a golden, beyond what chance and rounding allow.

The two versions computed the same elements, so their errors come in pairs. A kernel that only adds in another order of the same
quality gives errors that could as well be swapped with the old ones, element by element: each difference is as likely to be
positive as negative. That is all that is assumed; no distribution is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Share of comparisons between kernels of the same quality that may be called drift.
ALARMS = 1e-6
# Growth of the RMS error, and of the bias in units of the old RMS error, that is worth telling.
GROWTH = 1.5
BIAS = 0.5
# RMS error of correct rounding in steps of the output's type: errors are not asked to be smaller.
ROUNDING = 12.0**-0.5
# Elements may move by so many steps whatever the statistics say.
FREE_STEPS = 1.0
# Tails of summation errors fall like exp(-TAIL z): heavier than normal, since the partial sums differ from element to element.
TAIL = 1.3
# Where a growth is one of the whole output, or of all.
WHOLE, TOGETHER = "the whole output", "all outputs together"
# Tests a slice: the RMS error grew, the bias grew to either side.
_TESTS = 3
_BLOCKS = 32
_BLOCK = 8


@dataclass(frozen=True)
class Pairs:
    """Errors of the same elements then and now.

    Attributes
    ----------
    name : str
        Of the output.
    old, new : ndarray of float64, one shape
        Signed errors against the reference, each in units of its element's scale; 0 where not `free`.
    rounding : ndarray of float64
        RMS error of correct rounding in the same units; 0 where not `free`.
    free : ndarray of bool
        Elements that have more than one admissible value, and an admissible one in both versions.
    moved : ndarray of float64
        How far elements moved, in steps of the output's type.
    """

    name: str
    old: Float64
    new: Float64
    rounding: Float64
    free: Mask
    moved: Float64

    @property
    def count(self) -> int:
        """How many elements have errors to compare."""
        return int(np.count_nonzero(self.free))

    @property
    def moves(self) -> bool:
        """True where an element moved by more than a step: else nothing is worse."""
        return bool((self.moved > FREE_STEPS).any())

    @property
    def reference(self) -> float:
        """The RMS error of the old version, at least that of correct rounding."""
        return math.sqrt(max(_mean(self.old**2, self.count), _mean(self.rounding**2, self.count)))


@dataclass(frozen=True)
class Growth:
    """One way in which the error grew.

    Attributes
    ----------
    name : str
        Of the output.
    what : str
        `rms`, `bias` or `jump`.
    where : str
        In words: the whole output, a row, a channel, one element.
    old, new : float
        The RMS error, bias or error, in units of the scale.
    seen, chance : float
        The statistic, and what it is by chance in one of a million comparisons at most.
    """

    name: str
    what: str
    where: str
    old: float
    new: float
    seen: float
    chance: float


def find_growth(outputs: list[Pairs]) -> tuple[Growth, ...]:
    """Return how the errors of the outputs of one golden grew; nothing where chance and rounding explain it.

    Parameters
    ----------
    outputs : list of Pairs
        The changed outputs. Those in which no element moved by more than a step are passed over.

    Notes
    -----
    *Root mean square and bias*, of each output, its rows (first axis), its channels (second axis), and all outputs together.
    With d = new^2 - old^2, or new - old, exchangeable pairs have symmetric d, and so (W. Hoeffding 1963, theorem 2, on
    the signs) P(sum d >= t sqrt(sum d^2)) <= exp(-t^2 / 2). With S slices of three tests each, t = sqrt(2 ln(3 S / 1e-6)) keeps
    the alarms of a whole comparison under one in a million. Where neighbours err together, sum d^2 is taken larger by the
    design effect (L. Kish 1965): the variance of means of blocks over what it would be for independent elements. Beyond
    chance, the RMS error must have grown by half, and the bias by half of the RMS error.

    *Single elements*: an error that grew by more than 1.5 ln(2 N / 1e-6) / 1.3 times the old RMS error, N elements being
    compared: tails of summation errors fall no slower than exp(-1.3 z). A small sample's RMS error may be small by
    luck; `luck` says how small.
    """
    pairs = [one for one in outputs if one.count and one.moves]
    if not pairs:
        return ()
    slices = sum(1 for one in pairs for axis in _axes(one) for _ in range(_length(one, axis)))
    slices += len(pairs) > 1
    chance = threshold(_TESTS * slices)
    found = [growth for one in pairs for axis in _axes(one) for growth in _grown(one, axis, chance)]
    if len(pairs) > 1:
        found += [replace(growth, where=TOGETHER) for growth in _grown(pool(pairs), None, chance)]
    return (*found, *_jumps(pairs))


def threshold(tests: int) -> float:
    """Return the statistic that is reached by chance in one of a million comparisons at most, with so many tests each."""
    return math.sqrt(2.0 * math.log(max(tests, 1) / ALARMS))


def needed_elements(slices: int = 20, missed: float = ALARMS) -> int:
    """Return how many independent elements show that a normal error's RMS doubled, but for a share of samples.

    Parameters
    ----------
    slices : int
        Of the comparison.
    missed : float
        Share of samples in which it may be missed.

    Notes
    -----
    For old errors of variance 1 and new ones of variance 4, independent of them, d = new^2 - old^2 has mean 3, variance
    2 (16 + 1) = 34 and mean square 43. The statistic is normal with mean 3 sqrt(n / 43) and variance 34 / 43, and has to
    reach t = `threshold`: sqrt(n) = (t sqrt(43) + z sqrt(34)) / 3, z being the normal quantile.
    """
    z = NormalDist().inv_cdf(1.0 - missed)
    return math.ceil(((threshold(_TESTS * slices) * math.sqrt(43.0) + z * math.sqrt(34.0)) / 3.0) ** 2)


def luck(count: int, alarms: float = ALARMS) -> float:
    """Return the share of its true value that the RMS of so many normal errors is at least, but for a share of samples.

    Notes
    -----
    Chernoff's limit of the lower tail: P(chi^2 / n <= x) <= (x e^(1 - x))^(n / 2).
    """
    target = math.log(alarms) * 2.0 / max(count, 1)
    low, high = target - 1.0, 0.0  # of ln x, with ln x + 1 - x = target
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if middle + 1.0 - math.exp(middle) < target else (low, middle)
    return math.exp(high / 2)


def design_effect(values: Float64) -> float:
    """Return how much less a sum of values tells than one of as many independent values; 1 or more.

    Parameters
    ----------
    values : ndarray, shape (n,)
        In an order in which those that err together are neighbours.
    """
    blocks = min(_BLOCKS, values.size // _BLOCK)
    if blocks < _BLOCK:
        return 1.0
    size = values.size // blocks
    spread = float(np.var(values))
    if spread == 0.0:
        return 1.0
    means = values[: blocks * size].reshape(blocks, size).mean(axis=1)
    return max(1.0, float(np.var(means, ddof=1)) * size / spread)


def pool(outputs: list[Pairs]) -> Pairs:
    """Return the errors of several outputs as one, each in units of its own old RMS error."""

    def joined(field: str, *, scaled: bool) -> Float64:
        parts = [getattr(one, field)[one.free] / (one.reference if scaled else 1.0) for one in outputs]
        return np.concatenate(parts)

    old = joined("old", scaled=True)
    return Pairs(
        ", ".join(one.name for one in outputs),
        old,
        joined("new", scaled=True),
        joined("rounding", scaled=True),
        np.ones(old.shape, bool),
        joined("moved", scaled=False),
    )


def _axes(pairs: Pairs) -> tuple[int | None, ...]:
    """Return along which axes slices are told apart; None is the whole output."""
    shape = pairs.old.shape
    return (None, *(axis for axis in (0, 1) if len(shape) > 1 and shape[axis] > 1))


def _length(pairs: Pairs, axis: int | None) -> int:
    return 1 if axis is None else pairs.old.shape[axis]


def _grown(pairs: Pairs, axis: int | None, chance: float) -> Iterator[Growth]:
    rest = tuple(i for i in range(pairs.old.ndim) if i != axis)

    def total(values: Float64) -> Float64:
        return np.atleast_1d(values.sum(axis=rest))

    count = np.maximum(total(pairs.free.astype(np.float64)), 1.0)
    old, new = total(pairs.old**2) / count, total(pairs.new**2) / count
    least = np.maximum(old, total(pairs.rounding**2) / count)
    seen = _statistic(pairs, pairs.new**2 - pairs.old**2, axis, total, count)
    for place in np.flatnonzero((seen > chance) & (new > GROWTH**2 * least)):
        yield _told(pairs, "rms", axis, int(place), np.sqrt(old), np.sqrt(new), seen, chance)
    before, after = total(pairs.old) / count, total(pairs.new) / count
    seen = np.abs(_statistic(pairs, pairs.new - pairs.old, axis, total, count))
    grew = np.abs(after) - np.abs(before) > BIAS * np.sqrt(least)
    for place in np.flatnonzero((seen > chance) & grew):
        yield _told(pairs, "bias", axis, int(place), before, after, seen, chance)


def _statistic(
    pairs: Pairs, change: Float64, axis: int | None, total: Callable[[Float64], Float64], count: Float64
) -> Float64:
    sums, squares = total(change), total(change**2)
    means = sums / count
    shape = [1] * change.ndim
    if axis is not None:
        shape[axis] = -1
    effect = design_effect((change - means.reshape(shape))[pairs.free])
    return np.asarray(
        np.where(squares > 0, sums / np.sqrt(np.where(squares > 0, squares, 1.0) * effect), 0.0)
    )


def _told(
    pairs: Pairs,
    what: str,
    axis: int | None,
    place: int,
    old: Float64,
    new: Float64,
    seen: Float64,
    chance: float,
) -> Growth:
    where = WHOLE if axis is None else f"{('row', 'channel')[axis]} {place}"
    return Growth(pairs.name, what, where, float(old[place]), float(new[place]), float(seen[place]), chance)


def _jumps(outputs: list[Pairs]) -> Iterator[Growth]:
    everything = sum(one.count for one in outputs)
    factor = GROWTH * math.log(2 * everything / ALARMS) / TAIL
    for one in outputs:
        chance = factor / luck(one.count)
        grew = np.where(one.moved > FREE_STEPS, np.abs(one.new) - np.abs(one.old), 0.0) / one.reference
        if not (grew > chance).any():
            continue
        at = np.unravel_index(int(np.argmax(grew)), grew.shape)
        many = int(np.count_nonzero(grew > chance))
        where = f"element {tuple(int(i) for i in at)}" + (f" and {many - 1} more" if many > 1 else "")
        yield Growth(one.name, "jump", where, float(one.old[at]), float(one.new[at]), float(grew[at]), chance)


def _mean(values: Float64, count: int) -> float:
    return float(values.sum()) / count if count else 0.0
