"""Limits of pooling operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pytest_trt.check.interpret import Step, handles, lowest_for_infinity
from pytest_trt.check.ops_heavy import window_of
from pytest_trt.numerics.accumulators import SINGLE
from pytest_trt.numerics.bounds import Bound, either
from pytest_trt.numerics.formats import U32, Float64
from pytest_trt.numerics.linear import Window, windows


def _geometry(step: Step, x: Bound) -> tuple[Window, tuple[int, ...], tuple[int, ...]]:
    kernel = step.node.ints("kernel_shape", ())
    window = window_of(step, kernel, x.mid.shape[2:])
    out = window.output_size(x.mid.shape[2:], ceil=bool(step.node.attributes.get("ceil_mode", 0)))
    rank = len(kernel)
    return window, out, tuple(range(2 + rank, 2 + 2 * rank))


@handles("MaxPool")
def _max_pool(step: Step) -> list[Bound]:
    x = step.arg(0)
    window, out, axes = _geometry(step, x)

    def top(values: Float64) -> Float64:
        return np.asarray(windows(values, window, out, fill=-np.inf).max(axis=axes))

    loose = either(x.loose, np.isnan(x.mid))
    open_ = windows(loose.astype(np.float64), window, out).max(axis=axes) > 0 if loose.any() else None
    if x.is_exact:
        made = replace(Bound.exact(top(x.mid), step.kind), loose=open_)
    else:
        made = Bound(top(x.mid), top(x.low), top(x.high), step.kind, loose=open_)
    return [lowest_for_infinity(made, below=True, above=False)]


@handles("AveragePool")
def _average_pool(step: Step) -> list[Bound]:
    x = step.arg(0)
    window, out, axes = _geometry(step, x)
    include = bool(step.node.attributes.get("count_include_pad", 0))
    size = x.mid.shape[2:]
    inside = np.ones((1, 1, *size))
    if include:
        pads = [(0, 0), (0, 0), *zip(window.begin, window.end, strict=True)]
        inside = np.pad(inside, pads, constant_values=1.0)
        plain = replace(window, begin=(0,) * len(size), end=(0,) * len(size))
        count = windows(inside, plain, out).sum(axis=axes)
    else:
        count = windows(inside, window, out).sum(axis=axes)
    return [mean_bound(step, x, lambda v: np.asarray(windows(v, window, out).sum(axis=axes)), count)]


@handles("GlobalAveragePool")
def _global_average(step: Step) -> list[Bound]:
    x = step.arg(0)
    axes = tuple(range(2, x.mid.ndim))
    count = np.full((1,) * x.mid.ndim, float(np.prod(x.mid.shape[2:])))
    return [mean_bound(step, x, lambda v: np.asarray(v.sum(axis=axes, keepdims=True)), count)]


@handles("GlobalMaxPool")
def _global_max(step: Step) -> list[Bound]:
    x = step.arg(0)
    axes = tuple(range(2, x.mid.ndim))

    def top(values: Float64) -> Float64:
        return np.asarray(values.max(axis=axes, keepdims=True))

    loose = either(x.loose, np.isnan(x.mid))
    open_ = np.asarray(loose.any(axis=axes, keepdims=True)) if loose.any() else None
    made = Bound(top(x.mid), top(x.low), top(x.high), step.kind, loose=open_)
    return [lowest_for_infinity(made, below=True, above=False)]


def mean_bound(step: Step, x: Bound, total: object, count: Float64) -> Bound:
    """Return the bound of a mean: n - 1 additions in any order and one division, or a product with 1/n.

    U (n + 2) mean|x|: each addition commits at most U of a partial sum that is at most the sum of moduli.
    """
    assert callable(total)
    sums = total(x.mid)
    mid = sums / count
    magnitude = total(np.abs(x.mid))
    largest = float(count.max())
    # A division or two roundings with the reciprocal; U**2 terms are covered by the last unit.
    error = U32 * (largest + 2) * (magnitude / count)
    if x.is_exact:
        whole = SINGLE.certified(magnitude, x.lsb)
        even = np.frexp(count)[0] == 0.5
        error = np.where(whole, np.where(even, 0.0, 2.5 * U32 * np.abs(mid)), error)
    else:
        radius = x.radius()
        error = error + total(radius) / count
    finite = np.isfinite(mid)
    error = np.where(finite, error, 0.0)
    loose = None if x.loose is None else total(x.loose.astype(np.float64)) > 0
    return Bound(mid, mid - error, mid + error, step.kind, loose=loose)
