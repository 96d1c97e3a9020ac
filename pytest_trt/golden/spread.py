"""How the errors of one version are spread, on edges that never change, so that two goldens can be shown side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pytest_trt.golden.record import Array
from pytest_trt.golden.units import in_limits, to_numbers
from pytest_trt.numerics.bounds import Bound

_SMALLEST = -16
_UP = [2.0**power for power in range(_SMALLEST, 1)]
EDGES = (*(-edge for edge in reversed(_UP)), *_UP)
"""In units of the limit: powers of two to both sides of zero. The bins at the ends hold what lies beyond as well."""


def count_spread(outputs: Mapping[str, Array], limits: Mapping[str, Bound]) -> dict[str, list[int]]:
    """Return how many errors of each output lie between `EDGES`; outputs without a limit, or with exact ones alone, are left out.

    Parameters
    ----------
    outputs : mapping of str to ndarray
    limits : mapping of str to Bound
    """
    found = {}
    for name, got in outputs.items():
        if name not in limits:
            continue
        limit = limits[name]
        if np.shape(got) != limit.mid.shape:
            continue
        units = in_limits(to_numbers(got, limit), limit)
        with np.errstate(invalid="ignore"):
            units = units[(limit.low < limit.high) & np.isfinite(limit.high - limit.low) & np.isfinite(units)]
        if units.size:
            found[name] = np.histogram(np.clip(units, -1.0, 1.0), EDGES)[0].tolist()
    return found


def pair_spreads(old: object, new: object) -> dict[str, dict[str, Any]]:
    """Return the spreads of two goldens as histograms with common edges, by output that both have."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return {}
    size = len(EDGES) - 1
    return {
        name: {"edges": list(EDGES), "old": list(old[name]), "new": list(new[name])}
        for name in old
        if name in new and len(old[name]) == len(new[name]) == size
    }
