"""Outputs as numbers, and their errors against the reference in units of the limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pytest_trt.golden.record import Array
from pytest_trt.numerics.bounds import Bound

Float64 = NDArray[np.float64]


def to_numbers(values: Array, limit: Bound | None) -> Float64:
    """Return an output as numbers; bfloat16 may come as its bits."""
    if limit is not None and limit.kind == "bf16" and values.dtype == np.uint16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(values, np.float64)


def in_limits(values: Float64, limit: Bound) -> Float64:
    """Return signed errors in units of the limit on their side; infinite where that side has no room."""
    with np.errstate(invalid="ignore", divide="ignore"):
        error = values - limit.mid
        room = np.where(error > 0, limit.high - limit.mid, limit.mid - limit.low)
        return np.asarray(np.where(error == 0, 0.0, error / room))
