"""Confidence intervals of shares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_Z95 = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Share:
    """So many of a number."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """The share; 1 where there is nothing, since nothing was missed."""
        return self.count / self.total if self.total else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided 95 % interval of a share (Wilson, 1927)."""
        n, p, z = self.total, self.value, _Z95
        if not n:
            return 0.0, 1.0
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def upper(self) -> float:
        """One-sided 95 % upper limit (Clopper & Pearson, 1934): 0 of n gives 1 - 0.05**(1/n)."""
        if not self.total or self.count >= self.total:
            return 1.0
        low, high = self.value, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _tail(self.count, self.total, middle) > 0.05 else (low, middle)
        return high


def _tail(count: int, total: int, p: float) -> float:
    """Return the probability of at most `count` of `total`."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 0.0
    k = np.arange(count + 1)
    ratios = np.log(total - k[:-1]) - np.log(k[1:])
    choose = np.concatenate([[0.0], np.cumsum(ratios)])
    return float(np.exp(choose + k * math.log(p) + (total - k) * math.log1p(-p)).sum())
