"""Limits of reductions: sums and means, largest and smallest, norms, products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_trt.check.graph import FLOAT_KINDS
from pytest_trt.check.interpret import Step, handles, lowest_for_infinity
from pytest_trt.numerics.accumulators import Accumulator, arch_factor
from pytest_trt.numerics.bounds import Bound, either
from pytest_trt.numerics.formats import FORMATS, U32, Float64

LARGEST = FORMATS["fp32"].largest
_SMALLEST = 2.0**-126  # normal FP32 number: a product below it may be flushed to zero


def any_along(mask: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return where a mask is set anywhere along the axes, which are kept with extent 1."""
    return np.asarray(mask.any(axis=axes, keepdims=True))


def _geometry(step: Step) -> tuple[tuple[int, ...], bool] | None:
    """Return the axes, counted from the front, and whether they are kept; None where nothing is reduced.

    The axes are an attribute, an input since ReduceSum-13 and the other reductions of operator set 18; without any all are.
    """
    rank = step.arg(0).mid.ndim
    given = step.optional(1)
    axes = step.node.ints("axes", ())
    if given is not None:
        axes = tuple(int(v) for v in given.mid.reshape(-1))
    if not axes:
        if step.node.attributes.get("noop_with_empty_axes", 0):
            return None
        axes = tuple(range(rank))
    return tuple(sorted(a % rank for a in axes)), bool(step.node.attributes.get("keepdims", 1))


def _finish(made: Bound, loose: np.ndarray | None, axes: tuple[int, ...], keep: bool) -> list[Bound]:
    """Return the bound with its loose elements, and without the reduced axes unless they are kept."""
    if loose is not None and loose.any():
        made = replace(made, loose=either(made.loose, loose))
    if keep:
        return [made]

    def shrink(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.squeeze(values, axis=axes))

    mid = shrink(made.mid)
    slack = None if made.loose is None else shrink(made.loose)
    if made.is_exact:
        return [replace(Bound.exact(mid, made.kind), loose=slack)]
    return [Bound(mid, shrink(made.low), shrink(made.high), made.kind, loose=slack)]


def sum_ends(
    step: Step, x: Bound, axes: tuple[int, ...], *, power: int = 0
) -> tuple[Float64, Float64, Float64]:
    """Return the sum over axes (kept), and its smallest and largest admissible value in FP32.

    Parameters
    ----------
    power : int
        0: of the values; 1: of their moduli; 2: of their squares, rounded unless they are those of 16-bit numbers.

    Notes
    -----
    Any order of summation, also on a tensor core (a product with ones): c U n M, exact where the certificate holds. Squares
    below FP32's normal numbers may be flushed.
    """
    count = int(np.prod([x.mid.shape[a] for a in axes]))

    def total(values: Float64) -> Float64:
        return np.asarray(values.sum(axis=axes, keepdims=True))

    mid_terms, low_terms, high_terms = (_powered(v, power) for v in (x.mid, x.low, x.high))
    if power and not x.is_exact:
        low_terms, high_terms = np.minimum(low_terms, high_terms), np.maximum(low_terms, high_terms)
        low_terms = np.where((x.low <= 0) & (x.high >= 0), 0.0, low_terms)
    mid = total(mid_terms)
    is_rounded = power == 2 and x.kind not in ("fp16", "bf16")
    keep = Accumulator(factor=arch_factor(step.contract.sm, x.kind), rounds_products=is_rounded)
    if x.is_exact:
        size = total(np.abs(mid_terms))
        error = keep.error(mid, size, size, count)
        quantum = None if x.lsb is None else x.lsb * max(power, 1)
        error = np.where(keep.certified(size, quantum), 0.0, error)
        low, high = mid, mid
    else:
        size = total(np.maximum(np.abs(low_terms), np.abs(high_terms)))
        error = keep.error(size, size, size, count)
        low, high = total(low_terms), total(high_terms)
    if power == 2:
        error = error + _SMALLEST * total(((mid_terms < _SMALLEST) & (x.mid != 0)).astype(np.float64))
    error = np.where(np.isfinite(mid) & np.isfinite(error), error, 0.0)
    return mid, low - error, high + error


def _powered(values: Float64, power: int) -> Float64:
    return np.abs(values) ** power if power else values


def _overflows(x: Bound, axes: tuple[int, ...], mid: Float64) -> np.ndarray:
    """Return where a partial sum may leave FP32 although the sum is finite."""
    size = np.abs(x.mid).sum(axis=axes, keepdims=True)
    return np.asarray((size >= LARGEST) & np.isfinite(mid) & np.isfinite(x.mid).all(axis=axes, keepdims=True))


@handles("ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceL2")
def _reduce_sum(step: Step) -> list[Bound]:
    x, where = step.arg(0), _geometry(step)
    if where is None:
        return [x]
    axes, keep = where
    op = step.node.op
    power = {"ReduceSum": 0, "ReduceL1": 1}.get(op, 2)
    mid, low, high = sum_ends(step, x, axes, power=power)
    loose = None if x.loose is None else any_along(x.loose, axes)
    if x.kind not in FLOAT_KINDS and x.is_exact:
        mid = np.trunc(np.sqrt(mid)) if op == "ReduceL2" else mid
        return _finish(Bound.exact(mid, step.kind), loose, axes, keep)
    if power == 2:
        # A plain sum of squares beyond FP32 is infinite, one that scales first is not.
        high = np.where(high > LARGEST, np.inf, high)
        low = np.maximum(low, 0.0)
    else:
        wild = _overflows(x, axes, mid)
        loose = either(loose, wild)
    if op == "ReduceL2":
        mid, low, high = np.sqrt(mid), np.sqrt(low) * (1 - 2 * U32), np.sqrt(high) * (1 + 2 * U32)
    return _finish(Bound(mid, low, high, step.kind), loose, axes, keep)


@handles("ReduceMean")
def _reduce_mean(step: Step) -> list[Bound]:
    x, where = step.arg(0), _geometry(step)
    if where is None:
        return [x]
    axes, keep = where
    count = float(np.prod([x.mid.shape[a] for a in axes]))
    mid, low, high = sum_ends(step, x, axes)
    # Divided, or times 1 / n, which may come first: three roundings of the sum of moduli; none where n is a power of two.
    size = np.abs(x.mid).sum(axis=axes, keepdims=True)
    slack = 0.0 if np.frexp(count)[0] == 0.5 else np.where(np.isfinite(size), 3 * U32 * size, 0.0)
    made = Bound(mid / count, (low - slack) / count, (high + slack) / count, step.kind)
    wild = _overflows(x, axes, mid)
    return _finish(made, wild if x.loose is None else wild | any_along(x.loose, axes), axes, keep)


@handles("ReduceMax", "ReduceMin")
def _reduce_extreme(step: Step) -> list[Bound]:
    x, where = step.arg(0), _geometry(step)
    if where is None:
        return [x]
    axes, keep = where
    is_max = step.node.op == "ReduceMax"
    empty = not all(x.mid.shape[a] for a in axes)
    if empty and step.kind not in FLOAT_KINDS:
        return []
    # ONNX ReduceMax-20, ReduceMin-20: of nothing it is the infinity that changes nothing.
    nothing = -np.inf if is_max else np.inf

    def pick(values: Float64) -> Float64:
        if empty:
            values = np.full([1 if a in axes else n for a, n in enumerate(values.shape)], nothing)
        return np.asarray((np.max if is_max else np.min)(values, axis=axes, keepdims=True))

    open_ = either(x.loose, np.isnan(x.mid))
    loose = any_along(open_, axes) if open_.any() else None
    mid = pick(x.mid)
    made = Bound.exact(mid, step.kind) if x.is_exact else Bound(mid, pick(x.low), pick(x.high), step.kind)
    made = lowest_for_infinity(made, below=is_max, above=not is_max)
    return _finish(made, loose, axes, keep)


@handles("ReduceProd")
def _reduce_product(step: Step) -> list[Bound]:
    """n - 1 products in any order; open where a partial product may leave FP32's normal numbers."""
    x, where = step.arg(0), _geometry(step)
    if where is None:
        return [x]
    axes, keep = where
    count = int(np.prod([x.mid.shape[a] for a in axes]))

    def product(values: Float64) -> Float64:
        return np.asarray(np.prod(values, axis=axes, keepdims=True))

    mid, size = product(x.mid), np.abs(x.mid)
    loose = None if x.loose is None else any_along(x.loose, axes)
    if x.kind not in FLOAT_KINDS and x.is_exact:
        return _finish(Bound.exact(mid, step.kind), loose, axes, keep)
    radius = x.radius()
    largest = product(np.maximum(size, 1.0))
    smallest = product(np.where(size == 0, 1.0, np.minimum(size, 1.0)))
    error = (count - 1) * U32 / (1 - count * U32) * np.abs(mid)
    if radius is None:
        if (x.lsb or 0) >= 0:
            error = np.where(largest <= 2.0**24, 0.0, error)
    else:
        error = product(size + radius) * (1 + count * U32) - product(size) + error
    wild = np.isfinite(x.mid).all(axis=axes, keepdims=True) & ((largest >= LARGEST) | (smallest < _SMALLEST))
    error = np.where(np.isfinite(mid) & np.isfinite(error), error, 0.0)
    loose = either(loose, wild)
    return _finish(Bound(mid, mid - error, mid + error, step.kind), loose, axes, keep)
