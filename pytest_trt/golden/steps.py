"""How far the neighbour of a value of an output is: one step of its type, or one level where it is quantized."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import FORMATS, spacing

Float64 = NDArray[np.float64]

# Elements of a channel that tell how large its values are.
_TELLING = 8
# A quantized output has no more levels to either side of zero; fewer distinct values than these do not tell.
_LEVELS, _LEAST = 256, 6
# How far from whole a value may be in levels: the scale is known from values that were rounded.
_OFF = 0.02


def step_sizes(limit: Bound) -> Float64:
    """Return one step at each element of an output: the smallest honest difference between two kernels.

    Notes
    -----
    Floats: the spacing of the type at the usual size of the values of an element's channel, or at its own if larger. Partial
    sums have that size, and are rounded there, also where the sum itself comes near zero. Channels of few elements do not
    tell their size: the output's is taken. Where the values are levels of a quantizer, and the limit admits the next one, a
    level is the step: a sum that lies at a tie may go to either side.
    """
    mid = np.where(np.isfinite(limit.mid), limit.mid, 0.0)
    if limit.scale is not None:
        return np.asarray(np.broadcast_to(np.asarray(limit.scale, np.float64), mid.shape))
    if limit.kind not in FORMATS:
        return np.ones(mid.shape)
    by_channel = mid.ndim > 1 and mid.size >= _TELLING * mid.shape[1]
    axes = tuple(i for i in range(mid.ndim) if i != 1 or not by_channel)
    usual = np.sqrt(np.mean(mid**2, axis=axes, keepdims=True)) if mid.size else 1.0
    step = spacing(np.maximum(np.abs(mid), usual), limit.kind)
    level = find_level(mid)
    if not level:
        return step
    with np.errstate(invalid="ignore"):
        reach = np.maximum(limit.high - limit.mid, limit.mid - limit.low)
        return np.asarray(np.where(reach > (1 - _OFF) * level, np.maximum(step, level), step))


def find_level(values: Float64) -> float:
    """Return the distance of the levels that all values lie on, 0 where they lie on none.

    Parameters
    ----------
    values : ndarray of float64, any shape
        Finite.
    """
    known = np.unique(values)
    if known.size < _LEAST:
        return 0.0
    gap = float(np.min(np.diff(known)))
    levels = known / gap
    if not np.abs(levels).max() <= _LEVELS or not (np.abs(levels - np.rint(levels)) < _OFF).all():
        return 0.0
    whole = np.rint(levels)
    return float(np.sum(known * whole) / np.sum(whole**2))
