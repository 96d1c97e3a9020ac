"""Histograms of the errors of two versions, on the same edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

BINS = 40
# The range holds this share of the errors of both versions; the bins at its ends hold what lies beyond.
_SHARE = 0.999


def count_errors(old: Float64, new: Float64, bins: int = BINS) -> Mapping[str, Any]:
    """Return `edges`, and the counts `old` and `new` of two sets of errors between them, as lists.

    Parameters
    ----------
    old, new : ndarray of float64, any shape
        In units of the limit: 1 lies at its end. Not finite ones are passed over.
    bins : int
        Even, so that zero is an edge.

    Returns
    -------
    dict
        Plain data. The range is a power of two to both sides of zero; the first and the last bin hold what lies beyond as well.
    """
    sides = [values[np.isfinite(values)].ravel() for values in (old, new)]
    sizes = np.abs(np.concatenate(sides))
    reach = float(np.quantile(sizes, _SHARE)) if sizes.size else 0.0
    top = 2.0 ** np.ceil(np.log2(reach)) if reach > 0 else 1.0
    edges = np.linspace(-top, top, bins + 1)
    counts = [np.histogram(np.clip(values, -top, top), edges)[0] for values in sides]
    return {"edges": edges.tolist(), "old": counts[0].tolist(), "new": counts[1].tolist()}
