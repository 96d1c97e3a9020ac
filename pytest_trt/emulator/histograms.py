"""How far a tensor reaches, by each of TensorRT's calibration algorithms, as far as NVIDIA has published them.

Min-max takes the largest magnitude. Entropy takes the threshold at which 128 levels lose the least information, judged on a
histogram of 2048 bins (S. Migacz, "8-bit Inference with TensorRT", GTC 2017); the first and the second entropy algorithm are
one here, since only one was published. Legacy takes a quantile of the magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BINS = 2048
LEVELS = 128
STRIDE = 8  # The threshold is searched at every eighth bin: 0.4 % of the range.


class Histogram:
    """Counts of the finite magnitudes of a tensor, in 2048 bins from 0 to a power of two.

    Bins are merged in pairs as the range grows, so the counts do not depend on how the data came in batches.
    """

    def __init__(self) -> None:
        self.amax = 0.0
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._exponent: int | None = None

    @property
    def width(self) -> float:
        """How wide a bin is."""
        return 2.0 ** (0 if self._exponent is None else self._exponent) / BINS

    def add(self, values: NDArray[np.float32]) -> None:
        """Count some values; NaN and infinities do not count."""
        sizes = np.abs(values[np.isfinite(values)]).astype(np.float64)
        largest = float(sizes.max(initial=0.0))
        self.amax = max(self.amax, largest)
        if not largest:
            self.counts[0] += sizes.size
            return
        exponent = int(np.frexp(largest)[1])  # largest < 2 ** exponent
        if self._exponent is None:
            self._exponent = exponent
        for _ in range(
            min(exponent - self._exponent, 11)
        ):  # 2 ** 11 bins: more would merge all into the first
            self.counts = np.concatenate(
                [self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)]
            )
        self._exponent = max(self._exponent, exponent)
        self.counts += np.bincount((sizes / self.width).astype(np.int64), minlength=BINS)[:BINS]


def minmax(histogram: Histogram) -> float:
    """Return the largest magnitude."""
    return histogram.amax


def quantile(part: float) -> Callable[[Histogram], float]:
    """Return the algorithm that keeps this part of the magnitudes, to the end of a bin."""

    def find(histogram: Histogram) -> float:
        running = np.cumsum(histogram.counts)
        last = int(np.searchsorted(running, part * running[-1]))
        return min(histogram.amax, (last + 1) * histogram.width)

    return find


def entropy(histogram: Histogram) -> float:
    """Return the threshold that diverges least from the distribution; of equal ones the widest."""
    used = np.flatnonzero(histogram.counts)
    if not used.size:
        return 0.0
    counts = histogram.counts[: int(used[-1]) + 1].astype(np.float64)
    best, least = len(counts), np.inf
    for bins in range(len(counts), min(LEVELS, len(counts)) - 1, -STRIDE):
        loss = _divergence(counts, bins)
        if loss < least:
            best, least = bins, loss
    return min(histogram.amax, (best + 0.5) * histogram.width)


def _divergence(counts: NDArray[np.float64], bins: int) -> float:
    """Return the Kullback-Leibler divergence of the first bins in 128 levels from all of the bins, the rest in the last."""
    kept = counts[:bins]
    starts = np.unique(np.arange(min(LEVELS, bins)) * bins // LEVELS) if bins > LEVELS else np.arange(bins)
    filled = kept > 0
    sums, sizes = np.add.reduceat(kept, starts), np.add.reduceat(filled.astype(np.int64), starts)
    means = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    coarse = np.repeat(means, np.diff([*starts, bins])) * filled
    whole = kept.copy()
    whole[-1] += counts[bins:].sum()
    some = whole > 0
    if np.any(coarse[some] == 0):
        return float(np.inf)
    p, q = whole[some] / whole.sum(), coarse[some] / coarse.sum()
    return float(np.sum(p * np.log(p / q)))
