"""Limits of pointwise operators, softmax and batch normalisation.

Arithmetic is FP32 (16-bit tensors are widened first); the constants for transcendental functions are measured on CPU kernels
and stated as such: they are data on implementations, not theory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_trt.check.interpret import Step, handles, lowest_for_infinity
from pytest_trt.check.ops_heavy import sorted_ends
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import U32, Float64

Function = Callable[[Float64], Float64]


def _any_loose(*bounds: Bound | None) -> np.ndarray | None:
    found: np.ndarray | None = None
    for bound in bounds:
        if bound is not None and bound.loose is not None:
            found = bound.loose if found is None else found | bound.loose
    return found


def _rounded(
    step: Step, mid: Float64, low: Float64, high: Float64, loose: np.ndarray | None, steps: float
) -> Bound:
    """Return an interval with `steps` FP32 roundings of the result added; a correctly rounded FP32 result needs none."""
    if step.kind == "fp32" and steps <= 1:
        slack: Float64 | float = 0.0
    else:
        slack = np.where(np.isfinite(mid), steps * U32 * np.maximum(np.abs(low), np.abs(high)), 0.0)
        slack = np.where(np.isfinite(slack), slack, 0.0)
    return Bound(
        mid, low - slack, high + slack, step.kind, loose=None if loose is None else _shaped(loose, mid)
    )


def _shaped(mask: np.ndarray, like: Float64) -> np.ndarray:
    return np.asarray(np.broadcast_to(mask, like.shape))


def _binary(step: Step, function: Callable[[Float64, Float64], Float64], *, mixed: bool) -> Bound:
    a, b = step.arg(0), step.arg(1)
    mid = np.asarray(function(a.mid, b.mid))
    loose = _any_loose(a, b)
    if a.is_exact and b.is_exact:
        if step.kind in ("fp32", "fp64"):
            # float64 holds the result with at least 2 p + 2 bits, so rounding it to FP32 is the correct rounding.
            return replace(Bound.exact(mid, step.kind), loose=None if loose is None else _shaped(loose, mid))
        return _rounded(step, mid, mid, mid, loose, 1)
    if mixed:
        corners = [function(p, q) for p in (a.low, a.high) for q in (b.low, b.high)]
        low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    else:
        low, high = function(a.low, b.low), function(a.high, b.high)
    return _rounded(step, mid, np.asarray(low), np.asarray(high), loose, 1)


@handles("Add")
def _add(step: Step) -> list[Bound]:
    return [_binary(step, np.add, mixed=False)]


@handles("Sub")
def _sub(step: Step) -> list[Bound]:
    return [_binary(step, np.subtract, mixed=True)]


@handles("Mul")
def _mul(step: Step) -> list[Bound]:
    return [_binary(step, np.multiply, mixed=True)]


@handles("Div")
def _div(step: Step) -> list[Bound]:
    made = _binary(step, np.divide, mixed=True)
    b = step.arg(1)
    through_zero = (b.low <= 0) & (b.high >= 0) & ~(np.asarray(b.low == b.high))
    if bool(np.any(through_zero)):
        loose = _shaped(through_zero, made.mid)
        made = replace(made, loose=loose if made.loose is None else made.loose | loose)
    # GPUs multiply by a reciprocal that is good to one unit: two roundings more.
    return [_rounded(step, made.mid, made.low, made.high, made.loose, 3)]


@handles("Max", "Min")
def _extreme(step: Step) -> list[Bound]:
    function = np.maximum if step.node.op == "Max" else np.minimum
    made = step.arg(0)
    for position in range(1, len(step.args)):
        other = step.arg(position)
        loose = _nan_is_open(made, _any_loose(made, other))
        loose = _nan_is_open(other, loose)
        mid = np.asarray(function(made.mid, other.mid))
        ends = (np.asarray(function(made.low, other.low)), np.asarray(function(made.high, other.high)))
        shaped = None if loose is None else _shaped(loose, mid)
        if made.is_exact and other.is_exact:
            made = replace(Bound.exact(mid, step.kind), loose=shaped)
        else:
            made = Bound(mid, *ends, step.kind, loose=shaped)
    return [made]


def _nan_is_open(x: Bound, loose: np.ndarray | None) -> np.ndarray | None:
    """Return `loose` with NaN inputs added: what Max, Min, Clip and ReLU make of a NaN is the vendor's choice."""
    is_nan = np.isnan(x.mid)
    if not is_nan.any():
        return loose
    return is_nan if loose is None else loose | is_nan


def monotone(
    step: Step, x: Bound, function: Function, error: Callable[[Float64, Float64], Float64] | None
) -> Bound:
    """Return the bound of a non-decreasing function; `error(x, f(x))` is its own absolute error, None when it has none."""
    mid = function(x.mid)
    loose = x.loose
    if error is None:
        if x.is_exact:
            return replace(Bound.exact(mid, step.kind), loose=loose)
        return Bound(mid, function(x.low), function(x.high), step.kind, loose=loose)
    low, high = (mid, mid) if x.is_exact else (function(x.low), function(x.high))
    down = error(x.low, low)
    up = down if x.is_exact else error(x.high, high)
    down, up = (np.where(np.isfinite(e), e, 0.0) for e in (down, up))
    return Bound(mid, low - down, high + up, step.kind, loose=loose)


@handles("Relu")
def _relu(step: Step) -> list[Bound]:
    x = step.arg(0)
    x = replace(x, loose=_nan_is_open(x, x.loose)) if not x.is_exact else x
    made = monotone(step, x, lambda v: np.maximum(v, 0.0), None)
    return [replace(made, loose=_nan_is_open(step.arg(0), made.loose))]


@handles("LeakyRelu")
def _leaky_relu(step: Step) -> list[Bound]:
    x = step.arg(0)
    alpha = float(step.node.attributes.get("alpha", 0.01))
    return [
        monotone(
            step,
            x,
            lambda v: np.where(v >= 0, v, alpha * v),
            lambda v, y: np.where(v < 0, 2 * U32 * np.abs(y), 0.0),
        )
    ]


@handles("Clip")
def _clip(step: Step) -> list[Bound]:
    x = step.arg(0)
    low, high = -np.inf, np.inf
    if step.opset < 11:
        low = float(step.node.attributes.get("min", low))
        high = float(step.node.attributes.get("max", high))
    else:
        least, most = step.optional(1), step.optional(2)
        low = low if least is None else float(least.mid.reshape(-1)[0])
        high = high if most is None else float(most.mid.reshape(-1)[0])
    made = monotone(step, x, lambda v: np.minimum(np.maximum(v, low), high), None)
    made = lowest_for_infinity(made, below=low == -np.inf, above=high == np.inf)
    return [replace(made, loose=_nan_is_open(x, made.loose))]


def _sigmoid_values(v: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-v)))


@handles("Sigmoid")
def _sigmoid(step: Step) -> list[Bound]:
    # As 1 / (1 + exp(-x)): 6 U p (1 + |x| p(-x)). As 1/2 + tanh(x / 2) / 2 or 1 - p(-x), which libraries use as well, the error
    # is absolute: half of tanh's 8 U and two roundings of numbers up to 1. Small p then lose their digits. ONNX Runtime's CPU
    # kernel is off by at most 2.8 U over [-100, 100] (5 million points).
    return [
        monotone(
            step,
            step.arg(0),
            _sigmoid_values,
            lambda v, p: 6 * U32 * p * (1 + np.abs(v) * _sigmoid_values(-v)) + 5 * U32,
        )
    ]


@handles("Tanh")
def _tanh(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), np.tanh, lambda v, y: 8 * U32 * np.abs(y) + 2.0**-149)]


@handles("Exp")
def _exp(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), np.exp, lambda v, y: 4 * U32 * y * (1 + np.abs(v) / 16) + 2.0**-126)]


@handles("Sqrt")
def _sqrt(step: Step) -> list[Bound]:
    return [monotone(step, step.arg(0), lambda v: np.sqrt(v), lambda v, y: 2 * U32 * y)]


@handles("HardSigmoid")
def _hard_sigmoid(step: Step) -> list[Bound]:
    alpha = float(step.node.attributes.get("alpha", 0.2))
    beta = float(step.node.attributes.get("beta", 0.5))
    return [
        monotone(
            step,
            step.arg(0),
            lambda v: np.minimum(np.maximum(alpha * v + beta, 0.0), 1.0),
            lambda v, y: np.where((y > 0) & (y < 1), 3 * U32 * (np.abs(alpha * v) + abs(beta)), 3 * U32),
        )
    ]


@handles("HardSwish")
def _hard_swish(step: Step) -> list[Bound]:
    x = step.arg(0)
    mid = x.mid * np.minimum(np.maximum(x.mid / 6 + 0.5, 0.0), 1.0)
    error = 4 * U32 * np.abs(x.mid) * (1 + np.abs(x.mid) / 6)
    radius = x.radius()
    if radius is not None:
        error = error + 1.5 * radius  # the steepest slope of x clip(x/6 + 1/2, 0, 1)
    error = np.where(np.isfinite(mid), error, 0.0)
    return [Bound(mid, mid - error, mid + error, step.kind, loose=x.loose)]


@handles("Neg")
def _neg(step: Step) -> list[Bound]:
    x = step.arg(0)
    if x.is_exact:
        return [replace(Bound.exact(-x.mid, step.kind), loose=x.loose)]
    return [Bound(-x.mid, -x.high, -x.low, step.kind, loose=x.loose)]


@handles("Abs")
def _abs(step: Step) -> list[Bound]:
    x = step.arg(0)
    if x.is_exact:
        return [replace(Bound.exact(np.abs(x.mid), step.kind), loose=x.loose)]
    low, high = sorted_ends(np.abs(x.low), np.abs(x.high))
    low = np.where((x.low <= 0) & (x.high >= 0), 0.0, low)
    return [Bound(np.abs(x.mid), low, high, step.kind, loose=x.loose)]


@handles("Softmax")
def _softmax(step: Step) -> list[Bound]:
    x = step.arg(0)
    axis = int(step.node.attributes.get("axis", -1 if step.opset >= 13 else 1))
    shape = x.mid.shape
    values = x.mid
    if step.opset < 13:
        lead = int(np.prod(shape[: axis % len(shape)]))
        values, axis = values.reshape(lead, -1), -1
    finite = np.isfinite(values).all(axis=axis, keepdims=True)
    top = values.max(axis=axis, keepdims=True)
    power = np.exp(values - top)
    p = power / power.sum(axis=axis, keepdims=True)
    count = values.shape[axis]
    size = np.abs(values)
    error = U32 * p * (8 + count + 2 * (size + size.max(axis=axis, keepdims=True))) + 2.0**-126
    radius = x.radius()
    if radius is not None:
        spread = radius.reshape(values.shape).max(axis=axis, keepdims=True)
        error = error + p * np.expm1(2 * spread)
    loose = np.broadcast_to(~finite, values.shape).reshape(shape)
    if x.loose is not None:
        loose = loose | x.loose
    mid, error = p.reshape(shape), np.where(np.isfinite(error), error, np.inf).reshape(shape)
    return [Bound(mid, mid - error, mid + error, step.kind, loose=loose if loose.any() else None)]


@handles("BatchNormalization")
def _batch_norm(step: Step) -> list[Bound]:
    x, scale, shift, mean, var = (step.arg(i) for i in range(5))
    shape = (1, -1, *(1,) * (x.mid.ndim - 2))
    epsilon = float(step.node.attributes.get("epsilon", 1e-5))
    factor = (scale.mid / np.sqrt(var.mid + epsilon)).reshape(shape)
    offset, centre = shift.mid.reshape(shape), mean.mid.reshape(shape)
    mid = (x.mid - centre) * factor + offset
    # Folded affine form: a x + (b - a mu), a from a division and a square root; 8 U covers either form.
    error = 8 * U32 * (np.abs(x.mid * factor) + np.abs(centre * factor) + np.abs(offset))
    radius = x.radius()
    if radius is not None:
        error = error + radius * np.abs(factor) * (1 + 8 * U32)
    spare = [np.zeros(p.mid.shape) if (r := p.radius()) is None else r for p in (scale, shift, mean, var)]
    if any(r.any() for r in spare):
        # Parameters that a layer may read before or after they were rounded.
        least = np.maximum(var.mid - spare[3] + epsilon, np.finfo(np.float64).tiny)
        wide = ((np.abs(scale.mid) + spare[0]) / np.sqrt(least)).reshape(shape)
        reach = np.abs(x.mid - centre) + (0.0 if radius is None else radius)
        error = error + (wide - np.abs(factor)) * reach
        error = error + wide * spare[2].reshape(shape) + spare[1].reshape(shape)
    error = np.where(np.isfinite(mid), error, 0.0)
    return [Bound(mid, mid - error, mid + error, step.kind, loose=x.loose)]
