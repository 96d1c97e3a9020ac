"""Limits of pointwise arithmetic, rectifiers and step functions.

Arithmetic is FP32 (16-bit tensors are widened first). Integers are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS
from pytest_trt.check.interpret import Step, handles, lowest_for_infinity
from pytest_trt.check.ops_heavy import sorted_ends
from pytest_trt.numerics.accumulators import SINGLE, OpenSum
from pytest_trt.numerics.bounds import Bound, either
from pytest_trt.numerics.formats import FORMATS, U32, Float64
from pytest_trt.numerics.judge import SIGMAS

Function = Callable[[Float64], Float64]


def any_loose(*bounds: Bound | None) -> np.ndarray | None:
    """Return the union of the elements on which nothing is promised, or None."""
    found: np.ndarray | None = None
    for bound in bounds:
        if bound is not None and bound.loose is not None:
            found = either(found, bound.loose)
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
        mid, low - slack, high + slack, step.kind, loose=None if loose is None else shaped(loose, mid)
    )


def shaped(mask: np.ndarray, like: Float64) -> np.ndarray:
    """Return a mask broadcast to the shape of an array."""
    return np.asarray(np.broadcast_to(mask, like.shape))


def _binary(step: Step, function: Callable[[Float64, Float64], Float64], *, mixed: bool) -> Bound:
    a, b = step.arg(0), step.arg(1)
    mid = np.asarray(function(a.mid, b.mid))
    loose = any_loose(a, b)
    if a.is_exact and b.is_exact:
        if step.kind in ("fp32", "fp64") or step.kind not in FLOAT_KINDS:
            # Integers are exact; float64 holds the result with at least 2 p + 2 bits, so that rounding it to FP32 is right.
            return replace(Bound.exact(mid, step.kind), loose=None if loose is None else shaped(loose, mid))
        return _rounded(step, mid, mid, mid, loose, 1)
    if mixed:
        corners = [function(p, q) for p in (a.low, a.high) for q in (b.low, b.high)]
        low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    else:
        low, high = function(a.low, b.low), function(a.high, b.high)
    return _rounded(step, mid, np.asarray(low), np.asarray(high), loose, 1)


@handles("Add")
def _add(step: Step) -> list[Bound]:
    made = _binary(step, np.add, mixed=False)
    beyond = [a.overflow for a in (step.arg(0), step.arg(1)) if a.overflow is not None]
    if beyond:
        masks = [np.broadcast_to(mask, made.mid.shape) for mask in beyond]
        made = replace(made, overflow=np.logical_or.reduce(masks))
    if any(a.requantised is not None for a in (step.arg(0), step.arg(1))):
        # The other addend is scaled by itself in a fused epilogue.
        known = sum(0.0 if a.requantised is None else a.requantised for a in (step.arg(0), step.arg(1)))
        sizes = np.abs(step.arg(0).mid) + np.abs(step.arg(1).mid)
        made = replace(made, requantised=np.asarray(known + 3 * U32 * sizes))
    for one, other in ((step.arg(0), step.arg(1)), (step.arg(1), step.arg(0))):
        if one.open_sum is not None and one.mid.shape == made.mid.shape:
            made = _joined(step, made, one.open_sum, other)
    return [made]


def _joined(step: Step, made: Bound, total: OpenSum, addend: Bound) -> Bound:
    """Return a sum with room for kernels whose accumulator starts with the addend, or takes it in between."""
    quantum = addend.lsb if addend.is_exact else None
    mid, error = total.join(addend.mid, quantum, is_exact=addend.is_exact, sigmas=SIGMAS)
    radius = addend.radius()
    error = error if radius is None else error + radius
    error = np.where(np.isfinite(mid), error, 0.0)
    return replace(
        made, low=np.fmin(made.low, mid - error), high=np.fmax(made.high, mid + error), open_sum=None, _lsb=[]
    )


@handles("Sub")
def _sub(step: Step) -> list[Bound]:
    return [_binary(step, np.subtract, mixed=True)]


@handles("Mul")
def _mul(step: Step) -> list[Bound]:
    return [_binary(step, np.multiply, mixed=True)]


@handles("Div")
def _div(step: Step) -> list[Bound]:
    if step.kind not in FLOAT_KINDS:
        # ONNX Div-14: integer division truncates.
        return [_binary(step, lambda p, q: np.trunc(p / q), mixed=True)]
    made = _binary(step, np.divide, mixed=True)
    b = step.arg(1)
    through_zero = (b.low <= 0) & (b.high >= 0) & ~(np.asarray(b.low == b.high))
    if bool(np.any(through_zero)):
        loose = shaped(through_zero, made.mid)
        made = replace(made, loose=either(made.loose, loose))
    # An approximate division (CUDA's __fdividef) is good to 2 ulp, which is up to 4 unit roundoffs; a product with a reciprocal
    # that is good to 1 ulp stays within 3.
    return [_rounded(step, made.mid, made.low, made.high, made.loose, 4)]


@handles("Reciprocal")
def _reciprocal(step: Step) -> list[Bound]:
    x = step.arg(0)
    mid = 1.0 / x.mid
    if x.is_exact:
        low = high = mid
    else:
        low, high = sorted_ends(1.0 / x.low, 1.0 / x.high)
    # CUDA: 1 ulp where it is approximate, and a subnormal result may be flushed.
    slack = np.where(np.isfinite(mid), 2 * U32 * np.maximum(np.abs(low), np.abs(high)) + 2.0**-126, 0.0)
    through_zero = None if x.is_exact else (x.low <= 0) & (x.high >= 0)
    loose = x.loose if through_zero is None or not through_zero.any() else through_zero
    if loose is not x.loose and x.loose is not None:
        loose = loose | x.loose
    return [Bound(mid, low - slack, high + slack, step.kind, loose=loose)]


@handles("Sum", "Mean")
def _sum(step: Step) -> list[Bound]:
    """n inputs added in any order; a mean divides by n, or multiplies with 1 / n."""
    terms = [step.arg(i) for i in range(len(step.args))]
    count = len(terms)
    if step.node.op == "Sum" and count == 2:
        return [_binary(step, np.add, mixed=False)]
    mid = np.asarray(sum(t.mid for t in terms))
    size = np.asarray(sum(np.abs(t.mid) for t in terms))
    error = SINGLE.error(mid, size, size, count) if count > 1 else np.zeros(mid.shape)
    radii = [r for t in terms if (r := t.radius()) is not None]
    error = error + sum(radii)
    if step.node.op == "Mean" and count > 1:
        mid, error = mid / count, error / count + 3 * U32 * size / count
    error = np.where(np.isfinite(mid) & np.isfinite(error), error, 0.0)
    loose = any_loose(*terms)
    return [
        Bound(mid, mid - error, mid + error, step.kind, loose=None if loose is None else shaped(loose, mid))
    ]


@handles("Max", "Min")
def _extreme(step: Step) -> list[Bound]:
    function = np.maximum if step.node.op == "Max" else np.minimum
    made = step.arg(0)
    for position in range(1, len(step.args)):
        other = step.arg(position)
        loose = any_loose(made, other)
        if step.contract.nan == "any":
            loose = nan_is_open(other, nan_is_open(made, loose))
        mid = np.asarray(function(made.mid, other.mid))
        ends = (np.asarray(function(made.low, other.low)), np.asarray(function(made.high, other.high)))
        open_ = None if loose is None else shaped(loose, mid)
        if made.is_exact and other.is_exact:
            made = replace(Bound.exact(mid, step.kind), loose=open_)
        else:
            made = Bound(mid, *ends, step.kind, loose=open_)
    return [made]


def nan_is_open(x: Bound, loose: np.ndarray | None) -> np.ndarray | None:
    """Return `loose` with NaN inputs added.

    What ReLU makes of a NaN is the vendor's choice: the maximum instruction of GPUs gives the other operand. Max, Min and Clip
    have to keep it (the ONNX operators are numpy's) unless the contract says otherwise.
    """
    is_nan = np.isnan(x.mid)
    if not is_nan.any():
        return loose
    return either(loose, is_nan)


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
    x = replace(x, loose=nan_is_open(x, x.loose)) if not x.is_exact else x
    made = monotone(step, x, lambda v: np.maximum(v, 0.0), None)
    made = replace(made, loose=nan_is_open(step.arg(0), made.loose))
    if x.overflow is not None:
        made = replace(made, overflow=x.overflow, may_vanish=True)
    if x.requantised is not None:
        made = replace(made, requantised=x.requantised)
    return [made]


def bent(
    step: Step,
    x: Bound,
    function: Function,
    error: Callable[[Float64, Float64], Float64],
    turns: Sequence[float] = (),
) -> Bound:
    """Return the bound of a function that rises and falls: its ends, and the turning points between them.

    Parameters
    ----------
    function : callable(values)
    error : callable(values, results)
        Its own absolute error.
    turns : sequence of float
        Where the function is not monotone, or jumps.
    """
    mid = np.asarray(function(x.mid))
    room = _finite(error(x.mid, mid))
    if x.is_exact:
        return Bound(mid, mid - room, mid + room, step.kind, loose=x.loose)
    first, last = np.asarray(function(x.low)), np.asarray(function(x.high))
    room = np.maximum(room, np.maximum(_finite(error(x.low, first)), _finite(error(x.high, last))))
    low, high = sorted_ends(first, last)
    for turn in turns:
        inside = (x.low <= turn) & (x.high >= turn)
        for side in (turn, np.nextafter(turn, np.inf)):
            at = np.asarray(function(np.full((), side)))
            low, high = (
                np.where(inside, np.minimum(low, at), low),
                np.where(inside, np.maximum(high, at), high),
            )
    return Bound(mid, low - room, high + room, step.kind, loose=x.loose)


def _finite(error: Float64) -> Float64:
    return np.where(np.isfinite(error), error, 0.0)


@handles("LeakyRelu")
def _leaky_relu(step: Step) -> list[Bound]:
    alpha = float(step.node.attributes.get("alpha", 0.01))
    return [
        bent(
            step,
            step.arg(0),
            lambda v: np.where(v >= 0, v, alpha * v),
            lambda v, y: np.where(v < 0, 2 * U32 * np.abs(y), 0.0),
            (0.0,),
        )
    ]


@handles("PRelu")
def _prelu(step: Step) -> list[Bound]:
    """x where it is positive, slope times x elsewhere: one product."""
    x, slope = step.arg(0), step.arg(1)
    mid = np.where(x.mid >= 0, x.mid, slope.mid * x.mid)
    if x.is_exact:
        below = np.where(x.mid >= 0, 0.0, x.mid)
        ends = [np.asarray(below * end) for end in (slope.low, slope.high)]
        rest = np.where(x.mid >= 0, x.mid, 0.0)
        low, high = rest + np.minimum(*ends), rest + np.maximum(*ends)
    else:
        ends = [
            np.asarray(np.minimum(end, 0.0) * other)
            for end in (x.low, x.high)
            for other in (slope.low, slope.high)
        ]
        low = np.maximum(x.low, 0.0) + np.minimum.reduce(ends)
        high = np.maximum(x.high, 0.0) + np.maximum.reduce(ends)
    slack = np.where(x.low < 0, _finite(U32 * np.maximum(np.abs(low), np.abs(high))), 0.0)
    loose = nan_is_open(x, any_loose(x, slope))
    return [
        Bound(mid, low - slack, high + slack, step.kind, loose=None if loose is None else shaped(loose, mid))
    ]


@handles("ThresholdedRelu")
def _thresholded(step: Step) -> list[Bound]:
    """x above alpha, 0 elsewhere. A 16-bit kernel may hold x against the rounded alpha."""
    x = step.arg(0)
    alpha = float(step.node.attributes.get("alpha", 1.0))
    near = FORMATS[step.kind].roundoff * abs(alpha) if step.kind in FORMATS else 0.0
    mid = np.where(x.mid > alpha, x.mid, 0.0)
    made = bent(step, x, lambda v: np.where(v > alpha, v, 0.0), lambda v, y: np.zeros(v.shape), (alpha, 0.0))
    if step.kind == "fp32":
        near = 0.0  # the attribute is an FP32 number
    doubtful = (np.abs(x.mid - alpha) <= near) & (x.mid != alpha) if near else np.zeros(mid.shape, bool)
    low = np.where(doubtful, np.minimum(made.low, np.minimum(x.low, 0.0)), made.low)
    high = np.where(doubtful, np.maximum(made.high, np.maximum(x.high, 0.0)), made.high)
    return [Bound(mid, low, high, step.kind, loose=nan_is_open(x, x.loose))]


_STEPS: dict[str, Function] = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Sign": np.sign}


@handles(*_STEPS)
def _step_function(step: Step) -> list[Bound]:
    """Floor, Ceil, Round (half to even, ONNX Round-11) and Sign give whole numbers, without an error."""
    x = step.arg(0)
    made = monotone(step, x, _STEPS[step.node.op], None)
    return [replace(made, loose=nan_is_open(x, made.loose)) if step.node.op == "Sign" else made]


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
    if step.contract.nan == "any":
        made = replace(made, loose=nan_is_open(x, made.loose))
    return [made]


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
