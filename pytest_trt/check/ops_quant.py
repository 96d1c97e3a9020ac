"""Limits of the operators that change a tensor's type: Cast, QuantizeLinear, DequantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS, KINDS
from pytest_trt.check.interpret import Step, handles, settle
from pytest_trt.numerics.bounds import Bound, either, recast
from pytest_trt.numerics.formats import U32, Float64

LEVELS = {"int8": (-128.0, 127.0), "uint8": (0.0, 255.0)}


@handles("Cast")
def _cast(step: Step) -> list[Bound]:
    x = step.arg(0)
    kind = KINDS.get(int(step.node.attributes["to"]), "?")
    if kind in FLOAT_KINDS:
        return [recast(x, kind)]
    if kind == "bool":
        return [Bound.exact((x.mid != 0).astype(np.float64), kind)]
    made = Bound(np.trunc(x.mid), np.trunc(x.low), np.trunc(x.high), kind, loose=x.loose)
    return [Bound.exact(made.mid, kind) if x.is_exact and x.is_finite else made]


def _along(values: Float64, axis: int, rank: int) -> Float64:
    """Return per-channel parameters shaped to broadcast along an axis."""
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape)


def _parameters(step: Step, rank: int) -> tuple[Float64, Float64]:
    axis = int(step.node.attributes.get("axis", 1))
    scale = _along(step.arg(1).mid, axis, rank)
    zero = step.optional(2)
    return scale, _along(zero.mid, axis, rank) if zero is not None else np.zeros(())


@handles("QuantizeLinear")
def _quantize(step: Step) -> list[Bound]:
    """y = clip(rint(x / s) + z): TensorRT documents round to nearest, ties to even."""
    raw = step.args[0]
    assert raw is not None
    x = settle(raw)
    scale, zero = _parameters(step, x.mid.ndim)
    kind = "int8" if len(step.args) < 3 or step.args[2] is None else step.args[2].kind
    least, most = LEVELS.get(kind, LEVELS["int8"])

    def level(values: Float64, slack: Float64 | float) -> Float64:
        return np.asarray(np.clip(np.rint(values / scale + slack) + zero, least, most))

    mid = level(x.mid, 0.0)
    loose = either(x.loose, np.isnan(x.mid))
    open_ = loose if loose.any() else None
    if x.is_exact and bool(np.all(np.frexp(scale)[0] == 0.5)) and step.contract.ties == "even":
        return [replace(Bound.exact(mid, kind), loose=open_)]
    # x / s, or x times a rounded 1 / s: three roundings.
    ratio = 3 * U32 * np.abs(np.where(np.isfinite(x.mid), x.mid, 0.0) / scale)
    if raw.requantised is not None:
        # A kernel may fold the scale into its own factor and bias, and rounds both.
        ratio = ratio + np.where(np.isfinite(raw.requantised), raw.requantised, 0.0) / scale
    # The quotient by a power of two is exact.
    ratio = np.where(np.frexp(scale)[0] == 0.5, 0.0, ratio)
    if step.contract.ties == "any":
        ratio = ratio + 2.0**-40 * np.maximum(np.abs(mid), 1.0)
    low, high = level(x.low, -ratio), level(x.high, ratio)
    if np.array_equal(low, high) and np.array_equal(low, mid):
        return [replace(Bound.exact(mid, kind), loose=open_)]
    return [Bound(mid, low, high, kind, loose=open_)]


@handles("DequantizeLinear")
def _dequantize(step: Step) -> list[Bound]:
    """y = (q - z) s, kept unrounded: an INT8 kernel never forms it, any other reader rounds it (`settle`)."""
    q = step.args[0]
    assert q is not None
    scale, zero = _parameters(step, q.mid.ndim)
    if q.is_exact:
        return [replace(Bound.exact((q.mid - zero) * scale, step.kind, scale), loose=q.loose)]
    return [
        Bound(
            (q.mid - zero) * scale,
            (q.low - zero) * scale,
            (q.high - zero) * scale,
            step.kind,
            loose=q.loose,
            scale=scale,
        )
    ]
