"""Limits of normalisations: softmax, batch, layer, instance, group and RMS normalisation, norms of vectors.

A normalisation is bounded with its own mean and variance: their errors are those of sums in FP32, and the interval of the
variance is pushed through 1 / sqrt(v + epsilon).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from pytest_trt.check.interpret import Step, handles, map_parts
from pytest_trt.check.ops_reduce import LARGEST, any_along, sum_ends
from pytest_trt.check.ops_special import FLUSHED
from pytest_trt.numerics.accumulators import arch_factor
from pytest_trt.numerics.bounds import Bound, either
from pytest_trt.numerics.formats import FORMATS, U32, Float64, round_to

RSQRT = 8 * U32
"""Relative error of 1 / sqrt: CUDA's rsqrtf 2 ulp; a square root of 1 ulp and a division of 2 come to less than 8 U."""


def _along_axis(step: Step, x: Bound) -> tuple[Float64, int]:
    """Return the values of a softmax and the axis it runs over; below operator set 13 all axes from that one on are one."""
    axis = int(step.node.attributes.get("axis", -1 if step.opset >= 13 else 1))
    if step.opset >= 13:
        return x.mid, axis
    shape = x.mid.shape
    return x.mid.reshape(int(np.prod(shape[: axis % len(shape)])), -1), -1


@handles("Softmax")
def _softmax(step: Step) -> list[Bound]:
    x = step.arg(0)
    values, axis = _along_axis(step, x)
    shape = x.mid.shape
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
    if step.node.attributes.get("training_mode", 0):
        return []  # the mean and the variance of the batch
    x, scale, shift, mean, var = (step.arg(i) for i in range(5))
    shape = (1, -1, *(1,) * (x.mid.ndim - 2))
    epsilon = float(step.node.attributes.get("epsilon", 1e-5))
    factor = (scale.mid / np.sqrt(var.mid + epsilon)).reshape(shape)
    offset, centre = shift.mid.reshape(shape), mean.mid.reshape(shape)
    mid = (x.mid - centre) * factor + offset
    # Folded affine form: a x + (b - a mu), a from a division and a square root; 8 U covers either form.
    error = 8 * U32 * (np.abs(x.mid * factor) + np.abs(centre * factor) + np.abs(offset))
    if step.folded is not None:
        # The shift of the rewrite is b - a mu; the engine may add b and a mu one after the other.
        error = error + 16 * U32 * step.folded.reshape(shape)
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


@handles("LogSoftmax")
def _log_softmax(step: Step) -> list[Bound]:
    """x - max - log(sum exp(x - max)), or the logarithm of a softmax, whose smallest values are zero."""
    x = step.arg(0)
    values, axis = _along_axis(step, x)
    shape = x.mid.shape
    top = values.max(axis=axis, keepdims=True)
    mid = values - top - np.log(np.exp(values - top).sum(axis=axis, keepdims=True))
    size = np.abs(values)
    count = values.shape[axis]
    error = U32 * (16 + count + 2 * (size + size.max(axis=axis, keepdims=True)) + 8 * np.abs(mid))
    radius = x.radius()
    if radius is not None:
        error = error + 2 * radius.reshape(values.shape).max(axis=axis, keepdims=True)
    low, high = mid - error, mid + error
    # The softmax before the logarithm may be subnormal, which loses digits, or flushed to zero,
    small = low < np.log(FLUSHED)
    blurred = np.log(np.exp(high) + 2.0**-148)
    high = np.where(small & (high > np.log(2.0**-150)), np.maximum(high, blurred), high)
    low = np.where(small, -np.inf, low)
    if step.kind in FORMATS and (not step.contract.fused or step.contract.weak):
        # or stored in the tensor's own type.
        low = np.minimum(low, np.log(round_to(np.exp(low), step.kind)))
        high = np.maximum(high, np.log(round_to(np.exp(high), step.kind)))
    loose = np.broadcast_to(~np.isfinite(values).all(axis=axis, keepdims=True), values.shape).reshape(shape)
    if x.loose is not None:
        loose = loose | x.loose
    return [
        Bound(
            mid.reshape(shape),
            low.reshape(shape),
            high.reshape(shape),
            step.kind,
            loose=loose if loose.any() else None,
        )
    ]


@dataclass(frozen=True)
class Norm:
    """One normalisation: (x - mean) / sqrt(variance + epsilon) * scale + shift, over some axes.

    Attributes
    ----------
    axes : tuple of int
    epsilon : float
    scale, shift : Bound or None
        Broadcastable to x.
    centred : bool
        False: no mean is subtracted (RMS normalisation).
    """

    axes: tuple[int, ...]
    epsilon: float
    scale: Bound | None
    shift: Bound | None
    centred: bool = True


def normalise(step: Step, x: Bound, norm: Norm) -> Bound:
    """Return the admissible values of a normalisation in FP32.

    The variance may be the mean of squared differences or E[x^2] - E[x]^2, and the scale may be folded into a factor and an
    offset: libraries do all of these. With n values, m their mean, q the mean of squares, c the tensor core's factor (sums of
    16-bit numbers may be products with ones):

        e_m = c U (n + 2) mean|x|                 the mean: a sum and a division
        e_v = c U (n + 8) q + 2 |m| e_m + e_m^2   the variance, in either form
        1 / sqrt(v + epsilon), v in [v - e_v, v + e_v], times 1 +- 8 U

    Where the graph's inner tensors may be stored, the normalised value and its product with the scale are rounded as well
    (ONNX LayerNormalization-17 casts the former back to the type of x).
    """
    count = float(np.prod([x.mid.shape[a] for a in norm.axes]))

    def mean(values: Float64) -> Float64:
        return np.asarray(values.sum(axis=norm.axes, keepdims=True) / count)

    unit = U32 * max(1.0, arch_factor(step.contract.sm, x.kind) or 1.0)
    size, radius = np.abs(x.mid), x.radius()
    r = np.zeros(()) if radius is None else radius
    shared = mean(r) if radius is not None and norm.centred else np.zeros(())
    centre = mean(x.mid) if norm.centred else np.zeros((1,) * x.mid.ndim)
    error_mean = unit * (count + 2) * mean(size) + shared if norm.centred else np.zeros(())
    away = x.mid - centre
    variance, power = mean(away**2), mean(size**2)
    moved = r + shared
    error = unit * (count + 8) * power + 2 * np.abs(centre) * error_mean + error_mean**2 + 2 * FLUSHED
    if radius is not None:
        error = error + mean((2 * np.abs(away) + moved) * moved)
    least = np.maximum(variance - error, 0.0) + norm.epsilon
    most = variance + error + norm.epsilon
    factor = 1.0 / np.sqrt(variance + norm.epsilon)
    high, low = (1 + RSQRT) / np.sqrt(least), (1 - RSQRT) / np.sqrt(most)
    error_away = error_mean + r + U32 * (np.abs(away) + error_mean)
    value = away * factor
    off = np.abs(away) * np.maximum(high - factor, factor - low) + error_away * high + 2 * U32 * np.abs(value)
    scale, spare_scale = _middle(norm.scale, 1.0)
    shift, spare_shift = _middle(norm.shift, 0.0)
    reach = np.abs(scale) + spare_scale
    mid = value * scale + shift
    # A folded factor and offset: x a + (b - m a).
    off = reach * (off + 4 * U32 * (size + r + np.abs(centre)) * high) + np.abs(value) * spare_scale
    off = off + spare_shift + U32 * (3 * np.abs(value * scale) + 2 * np.abs(shift) + np.abs(mid))
    if step.kind in ("fp16", "bf16") and (not step.contract.fused or step.contract.weak):
        form = FORMATS[step.kind]
        off = off + 2 * form.roundoff * reach * np.abs(value) + form.quantum * (1 + reach)
    # A row with an infinity, or with squares beyond FP32, has no variance; a row with a NaN is NaN.
    wild = ~(power * count < LARGEST) | ~(least > 0)
    loose = np.asarray(np.broadcast_to(wild & ~np.isnan(power), x.mid.shape))
    if x.loose is not None:
        loose = loose | np.broadcast_to(any_along(x.loose, norm.axes), x.mid.shape)
    off = np.where(np.isfinite(mid) & np.isfinite(off), off, 0.0)
    return Bound(mid, mid - off, mid + off, step.kind, loose=loose if loose.any() else None)


def _middle(bound: Bound | None, default: float) -> tuple[Float64, Float64]:
    if bound is None:
        return np.full((), default), np.zeros(())
    radius = bound.radius()
    return bound.mid, np.zeros(()) if radius is None else radius


def _channels(bound: Bound | None, shape: tuple[int, ...]) -> Bound | None:
    return None if bound is None else map_parts(bound, lambda v: v.reshape(shape))


def _from_axis(step: Step, default_epsilon: float = 1e-5) -> tuple[tuple[int, ...], float]:
    rank = step.arg(0).mid.ndim
    axis = int(step.node.attributes.get("axis", -1)) % rank
    return tuple(range(axis, rank)), float(step.node.attributes.get("epsilon", default_epsilon))


@handles("LayerNormalization")
def _layer_norm(step: Step) -> list[Bound]:
    axes, epsilon = _from_axis(step)
    return [normalise(step, step.arg(0), Norm(axes, epsilon, step.arg(1), step.optional(2)))]


@handles("RMSNormalization")
def _rms_norm(step: Step) -> list[Bound]:
    axes, epsilon = _from_axis(step)
    return [normalise(step, step.arg(0), Norm(axes, epsilon, step.arg(1), None, centred=False))]


@handles("InstanceNormalization")
def _instance_norm(step: Step) -> list[Bound]:
    x = step.arg(0)
    shape = (1, -1, *(1,) * (x.mid.ndim - 2))
    epsilon = float(step.node.attributes.get("epsilon", 1e-5))
    axes = tuple(range(2, x.mid.ndim))
    scale, shift = _channels(step.arg(1), shape), _channels(step.arg(2), shape)
    return [normalise(step, x, Norm(axes, epsilon, scale, shift))]


@handles("GroupNormalization")
def _group_norm(step: Step) -> list[Bound]:
    x = step.arg(0)
    shape = x.mid.shape
    groups = int(step.node.attributes["num_groups"])
    split = (shape[0], groups, shape[1] // groups, *shape[2:])
    # ONNX GroupNormalization-18 has one scale a group, -21 one a channel.
    each = (1, groups, -1, *(1,) * (len(shape) - 2))
    epsilon = float(step.node.attributes.get("epsilon", 1e-5))
    scale, shift = _channels(step.arg(1), each), _channels(step.arg(2), each)
    parts = map_parts(x, lambda v: v.reshape(split))
    made = normalise(step, parts, Norm(tuple(range(2, len(split))), epsilon, scale, shift))
    return [map_parts(made, lambda v: v.reshape(shape))]


def _quotient(step: Step, x: Bound, low: Float64, high: Float64, mid: Float64, relative: Float64) -> Bound:
    """Return x divided by an interval of positive numbers."""
    value = x.mid / mid
    ends = [np.asarray(p / q) for p in (x.low, x.high) for q in (low, high)]
    least, most = np.minimum.reduce(ends), np.maximum.reduce(ends)
    slack = relative * np.maximum(np.abs(least), np.abs(most)) + FLUSHED
    slack = np.where(np.isfinite(value) & np.isfinite(slack), slack, 0.0)
    loose = np.broadcast_to(~((low > 0) & (high < LARGEST)) & ~np.isnan(mid), value.shape)
    return Bound(value, least - slack, most + slack, step.kind, loose=loose)


@handles("LpNormalization")
def _lp_norm(step: Step) -> list[Bound]:
    """x / (sum |x|^p)^(1/p); a zero vector is open."""
    x = step.arg(0)
    axis = int(step.node.attributes.get("axis", -1))
    p = int(step.node.attributes.get("p", 2))
    mid, low, high = sum_ends(step, x, (axis,), power=p)
    root: Callable[[Float64], Float64] = np.sqrt if p == 2 else np.abs
    low, high = root(np.maximum(low, 0.0)) * (1 - 2 * U32), root(high) * (1 + 2 * U32)
    made = _quotient(step, x, low, high, root(mid), np.full((), 4 * U32))
    return [_spread(made, x, (axis,))]


@handles("LRN")
def _lrn(step: Step) -> list[Bound]:
    """x / (bias + alpha / size * sum of squares over neighbouring channels)^beta (ONNX LRN-13)."""
    x = step.arg(0)
    attributes = step.node.attributes
    size, beta = int(attributes["size"]), float(attributes.get("beta", 0.75))
    alpha, bias = float(attributes.get("alpha", 1e-4)), float(attributes.get("bias", 1.0))
    channels = x.mid.shape[1]
    before = (size - 1) // 2

    def near(values: np.ndarray) -> np.ndarray:
        width = [(0, 0)] * values.ndim
        width[1] = (before, size - 1 - before)
        padded = np.pad(values, width)
        return np.stack([padded[:, i : i + channels] for i in range(size)], axis=-1)

    mid, low, high = (np.squeeze(v, -1) for v in sum_ends(step, map_parts(x, near), (-1,), power=2))
    share = alpha / size
    base = bias + share * mid
    # A window may slide over the channels, as ONNX Runtime's does: one square is added, one taken away, the roundings stay.
    drift = (
        2 * U32 * np.nansum(np.where(np.isfinite(mid), mid, 0.0), axis=1, keepdims=True)
        if channels > 1
        else 0.0
    )
    least, most = bias + share * np.maximum(low - drift, 0.0), bias + share * (high + drift)
    least, most = least * (1 - 4 * U32), most * (1 + 4 * U32)
    # As of Pow, with a base known to 4 U.
    relative = U32 * (20 + 6 * beta * np.abs(np.log(base)) + 7 * beta)
    made = _quotient(step, x, least**beta, most**beta, base**beta, relative)
    # What slides over a NaN or an infinity keeps it.
    wild = either(x.loose, ~np.isfinite(x.mid))
    return [_spread(made, replace(x, loose=wild), (1,)) if wild.any() else made]


def _spread(made: Bound, x: Bound, axes: tuple[int, ...]) -> Bound:
    if x.loose is None:
        return made
    rows = np.broadcast_to(any_along(x.loose, axes), made.mid.shape)
    return replace(made, loose=either(made.loose, rows))
