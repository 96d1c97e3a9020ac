"""The rules of other tools, as one table: each says whether it would refuse an output.

They get the best case: an exact reference on the same quantised inputs, already rounded to the output's type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pytest_trt.numerics.formats import Array, Float64


@dataclass(frozen=True)
class Pair:
    """An output and its reference, with what several rules need, worked out once.

    Attributes
    ----------
    got, want : float64 ndarray
    kind : str
        Type of the output: `fp32`, `fp16` or `bf16`.
    """

    got: Float64
    want: Float64
    kind: str
    gap: Float64
    size: Float64
    same_infinity: Array

    @classmethod
    def of(cls, got: Array, want: Array, kind: str) -> Pair:
        """Return the pair of two arrays of one shape."""
        left, right = np.asarray(got, np.float64), np.asarray(want, np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.abs(left - right)
        return cls(left, right, kind, gap, np.abs(right), np.isinf(right) & (left == right))


Rule = Callable[[Pair], bool]


def _close(rtol: float, atol: float, *, equal_nan: bool = False) -> Rule:
    """Return |got - want| <= atol + rtol |want|; infinities of one sign are equal."""

    def refuses(pair: Pair) -> bool:
        with np.errstate(invalid="ignore"):
            good = (pair.gap <= atol + rtol * pair.size) & np.isfinite(pair.want)
        good |= pair.same_infinity
        if equal_nan:
            good |= np.isnan(pair.got) & np.isnan(pair.want)
        return not bool(good.all())

    return refuses


_EPSILON = 2.220446049250313e-16  # what Polygraphy puts in place of a zero reference


def _polygraphy(tolerance: float) -> Rule:
    """Return Polygraphy's element rule: an element fails where both differences exceed the tolerance, or are NaN."""

    def refuses(pair: Pair) -> bool:
        with np.errstate(invalid="ignore", over="ignore"):
            relative = pair.gap / np.where(pair.size == 0, _EPSILON, pair.size)
        bad = ~(pair.gap <= tolerance) & ~(relative <= tolerance)
        return bool(bad.any())

    return refuses


_TORCH = {"fp32": (1.3e-6, 1e-5), "fp16": (1e-3, 1e-5), "bf16": (1.6e-2, 1e-5)}


def _torch(pair: Pair) -> bool:
    rtol, atol = _TORCH[pair.kind]
    return _close(rtol, atol)(pair)


def _cosine(limit: float) -> Rule:
    """Return cosine similarity > limit; two zero tensors are alike."""

    def refuses(pair: Pair) -> bool:
        left, right = pair.got.ravel(), pair.want.ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            # Scaled first: squares of large numbers overflow.
            left, right = left / (np.abs(left).max() or 1.0), right / (np.abs(right).max() or 1.0)
            norms = np.sqrt(np.dot(left, left)) * np.sqrt(np.dot(right, right))
            if norms == 0:
                return bool(left.any() or right.any())
            return not bool(np.dot(left, right) / norms > limit)

    return refuses


# Sources: NumPy's isclose; onnx.backend.test.runner; Polygraphy 0.53 (comparator/compare.py, check_error_stat="elemwise");
# torch.testing.assert_close.
PEERS: dict[str, Rule] = {
    "np.allclose": _close(1e-5, 1e-8),
    "ONNX backend 1e-3/1e-7": _close(1e-3, 1e-7, equal_nan=True),
    "Polygraphy 1e-5": _polygraphy(1e-5),
    "Polygraphy 1e-3": _polygraphy(1e-3),
    "Polygraphy 1e-2": _polygraphy(1e-2),
    "torch.testing": _torch,
    "cosine > 0.999": _cosine(0.999),
}
