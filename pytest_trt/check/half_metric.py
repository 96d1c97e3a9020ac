"""How far a 16-bit tensor lies from its FP32 twin: the deviation ratio, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import FORMATS, Array, Float64, spacing

SHARE = 0.1
"""Relative difference from which on an element deviates (TensorRT FAQ, "How to fix FP16 accuracy issue?")."""


@dataclass(frozen=True)
class Deviation:
    """How one tensor in 16 bits differs from the same tensor in FP32.

    Attributes
    ----------
    total : int
        All elements, zeros and values that are not finite included: the denominator of `ratio`.
    deviating : int
        Elements that deviate.
    zeros : int
        Those among them where FP32 has zero: no relative difference is defined there.
    lost : int
        Those among them that are infinite or NaN in 16 bits and finite in FP32.
    relative_rms : float
        Root of the sum of squared errors over that of squared FP32 values, of elements finite on both sides.
    ulp_median, ulp_99, ulp_max : float
        Quantiles of the error in units in the last place of the 16-bit type at the FP32 value, of the same elements.
    """

    total: int
    deviating: int
    zeros: int
    lost: int
    relative_rms: float
    ulp_median: float
    ulp_99: float
    ulp_max: float

    @property
    def ratio(self) -> float:
        """Deviating elements over all elements."""
        return self.deviating / self.total

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantisation-noise ratio in decibels: infinite where nothing differs, -infinite where the signal is zero."""
        if self.relative_rms == 0:
            return float("inf")
        return float(-20 * np.log10(self.relative_rms))


def find_deviating(got: Array, want: Array, *, share: float = SHARE, atol: float) -> Array:
    """Return a mask of the elements that deviate: |want - got| / |want| > share, decided by name where that is undefined.

    Parameters
    ----------
    got, want : ndarray of one shape
        The 16-bit side and the FP32 side; widened to float64 before they are subtracted.
    share : float
        The relative difference.
    atol : float
        Where `want` is zero, `got` deviates if its magnitude exceeds this.

    Notes
    -----
    NaN agrees with NaN, and an infinity with the same infinity. Every other pair with a NaN or an infinity deviates.
    """
    value, right = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        far = np.abs(value - right) > np.where(right == 0, atol, share * np.abs(right))
    finite = np.isfinite(value) & np.isfinite(right)
    same = (value == right) | (np.isnan(value) & np.isnan(right))
    return np.asarray(np.where(finite, far, ~same))


def measure_deviation(
    got: Array, want: Array, precision: str = "fp16", *, share: float = SHARE, atol: float | None = None
) -> Deviation:
    """Return how far a tensor in 16 bits lies from its FP32 twin.

    Parameters
    ----------
    got, want : ndarray of one shape
        The 16-bit side and the FP32 side.
    precision : str
        `fp16` or `bf16`: the type of `got`.
    share : float
        Relative difference from which on an element deviates.
    atol : float, optional
        Where FP32 has zero, an element deviates beyond this magnitude. Default: the smallest positive number of the type
        (2**-24 of fp16), which is as near to zero as the type can tell from it.

    Raises
    ------
    UsageError
        Shapes differ, or there are no elements: a share of nothing says nothing.
    """
    value, right = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    if value.shape != right.shape:
        raise UsageError(f"got has shape {value.shape}, want {right.shape}", why="nothing is broadcast")
    if value.size == 0:
        raise UsageError("the tensors are empty: nothing was compared")
    floor = FORMATS[precision].quantum if atol is None else atol
    far = find_deviating(value, right, share=share, atol=floor)
    finite = np.isfinite(value) & np.isfinite(right)
    median, most, largest = _ulp_quantiles(value[finite], right[finite], precision)
    return Deviation(
        total=value.size,
        deviating=int(np.count_nonzero(far)),
        zeros=int(np.count_nonzero(far & (right == 0))),
        lost=int(np.count_nonzero(np.isfinite(right) & ~np.isfinite(value))),
        relative_rms=_relative_rms(value[finite], right[finite]),
        ulp_median=median,
        ulp_99=most,
        ulp_max=largest,
    )


def _relative_rms(got: Float64, want: Float64) -> float:
    error, signal = float(np.sum((got - want) ** 2)), float(np.sum(want**2))
    if error == 0:
        return 0.0
    return float(np.sqrt(error / signal)) if signal else float("inf")


def _ulp_quantiles(got: Float64, want: Float64, precision: str) -> tuple[float, float, float]:
    if got.size == 0:
        return 0.0, 0.0, 0.0
    steps = np.abs(got - want) / spacing(want, precision)
    median, most = np.quantile(steps, (0.5, 0.99))
    return float(median), float(most), float(steps.max())
