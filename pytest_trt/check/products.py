"""The admissible values of a sum of products, given by the linear map that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_trt.check.interpret import SINGLE_SUMS, Step, settle
from pytest_trt.check.large import LARGE, LargeSums, quantum_of, takes
from pytest_trt.numerics.accumulators import Accumulator, OpenSum, accumulator_of
from pytest_trt.numerics.bounds import Bound, either, input_error, term_quantum
from pytest_trt.numerics.formats import FORMATS, U32, Float64, round_to
from pytest_trt.numerics.judge import SIGMAS
from pytest_trt.numerics.ladder import fft_error, split_error, takes_winograd, winograd_error
from pytest_trt.numerics.linear import Window

# Roundings of an INT8 epilogue in FP32: two scales multiplied, applied to the sum, the bias added, the output scale applied;
# each commits at most one unit roundoff of the result, and six cover every order of them that was seen.
REQUANT_ROUNDINGS = 6.0


@dataclass(frozen=True)
class Products:
    """A sum of products, given by the linear map that makes it.

    Attributes
    ----------
    apply : callable(data, weight) -> array
        The map on float64 arrays; it is called on values and on moduli.
    terms : int
        Products a sum has at most.
    alpha : float
        Factor on the sum.
    window : Window or None
        Of a convolution, which may also be computed by Winograd's algorithm or an FFT.
    groups : int
    outputs : int
        Sums that a convolution has: whether it is large.
    """

    apply: Callable[[Float64, Float64], Float64]
    terms: int
    alpha: float = 1.0
    window: Window | None = None
    groups: int = 1
    outputs: int = 0


def bound_products(step: Step, products: Products, bias: Bound | None) -> Bound:
    """Return the admissible values of a sum of products before it is stored.

    The kind of the data input says how products are rounded: FP32 products are rounded (or contracted to an FMA), those of
    16-bit and TF32 numbers are exact in FP32, INT8 sums are exact in INT32.
    """
    raw_x, raw_w = step.args[0], step.args[1]
    assert raw_x is not None and raw_w is not None
    is_int8 = raw_x.scale is not None and raw_w.scale is not None
    x, w = (raw_x, raw_w) if is_int8 else (settle(raw_x), settle(raw_w))
    contract = step.contract
    keep = accumulator_of(x.kind, contract.sm, tf32=contract.tf32, accumulate=contract.accumulate)
    reading = _reading(step, x, w)
    if step.fast and products.outputs * products.terms >= LARGE and not is_int8:
        if (large := _large(step, products, x, w, bias, keep, reading)) is not None:
            return large
    sums = _sum_up(step, products, x, w, bias)
    if is_int8:
        error = _int8_error(step, x, sums)
    else:
        error = keep.error(sums.mid, sums.magnitude, sums.products, sums.terms, reading=reading)
    # A float kernel reads both operands of an INT8 product rounded to 16 bits, where that is their type: nothing is exact then.
    rereads = is_int8 and not contract.integer and x.kind in ("fp16", "bf16")
    certifiable = products.alpha == 1.0 and not rereads
    exact = _certificate(x, w, bias, sums, keep, reading) if certifiable else None
    made = Bound(sums.mid, sums.mid, sums.mid, step.kind, loose=_loose(products, x, w))
    squares: Float64 | None = None
    if not is_int8 and (contract.likely or (contract.statistics and x.kind == "fp32")):
        if exact is None or not exact.all() or not step.stored:
            squares = _squares(step, products, x, w, bias)
            sigma, drift = keep.deviation(sums.mid, squares, sums.terms, reading=reading)
            if contract.likely:
                error = np.minimum(error, SIGMAS * sigma + drift)
            if x.is_exact and w.is_exact and (bias is None or bias.is_exact) and x.kind == "fp32":
                made.sigma, made.bias = sigma, drift
    if products.alpha != 1.0:
        error = error + 2 * U32 * sums.magnitude
    if exact is not None and exact.any():
        error = np.where(exact, 0.0, error)
    inherited = _inherited(products, x, w, bias, sums.size_x, sums.size_w)
    error = error + inherited
    if not is_int8 and not step.stored and products.alpha == 1.0 and contract.algorithm == "direct":
        made.open_sum = OpenSum(
            keep,
            sums.mid,
            sums.magnitude,
            sums.products,
            squares if contract.likely else None,
            sums.terms,
            term_quantum(x, w, bias) if exact is not None else None,
            exact is not None,
            reading,
            inherited,
        )
    if not is_int8:
        error = error + _algorithm(step, products, x, w, sums.magnitude)
        if contract.flush:
            error = error + _flushed(products, x, w, sums)
        _open(made, step, products, x, w, keep, sums)
    elif exact is not None and exact.any():
        made.requantised = np.where(exact, _requantisation(sums), 0.0)
    finite = np.isfinite(sums.mid)
    if not finite.all():
        error = np.where(finite, error, 0.0)
        if contract.nan == "any":
            is_nan = np.isnan(sums.mid)
            made.loose = either(made.loose, is_nan)
    made.low, made.high = sums.mid - error, sums.mid + error
    if bias is not None and not contract.fused and x.kind in ("fp16", "bf16"):
        _add_separate_bias(made, bias, error, x.kind)
    return made


def _add_separate_bias(made: Bound, bias: Bound, error: Float64, kind: str) -> None:
    """Widen a bound by what a kernel gives that stores the products' sum before the bias is added to it."""
    bare = made.mid - bias.mid
    low, high = round_to(bare - error, kind) + bias.low, round_to(bare + error, kind) + bias.high
    made.low, made.high = np.fmin(made.low, low), np.fmax(made.high, high)


def _large(
    step: Step,
    products: Products,
    x: Bound,
    w: Bound,
    bias: Bound | None,
    keep: Accumulator,
    reading: float,
) -> Bound | None:
    """Return the bound of a large convolution from sums in FP32; None where it has to be taken in float64."""
    contract = step.contract
    window = products.window
    plain = (contract.algorithm, contract.accumulate, contract.flush) == ("direct", "fp32", False)
    if window is None or not plain or not takes(x, w, bias):
        return None

    def make() -> LargeSums | None:
        sums = LargeSums(
            step.node,
            x.mid,
            w.mid,
            products.terms,
            rounds=x.kind == "fp32",
            statistics=contract.statistics or contract.likely,
        )
        return sums if sums.agrees(window, products.groups) else None

    sums: LargeSums | None = _remembered(step, SINGLE_SUMS, x.mid, w.mid, make)
    if sums is None:
        return None
    quantum = quantum_of(x, w, bias, float(sums.moduli.min()), keep.bits)
    return sums.bound(
        step.kind, keep, bias, quantum, reading=reading, likely=contract.likely, stored=step.stored
    )


@dataclass(frozen=True)
class Sums:
    """The exact sums of a node and what their errors are measured by.

    `mid`: s, bias included; `magnitude`: A, and `products`: its part without the bias; `terms`: n; `size_x`, `size_w`: |x|, |w|.
    """

    mid: Float64
    magnitude: Float64
    products: Float64
    terms: int
    size_x: Float64
    size_w: Float64


def _sum_up(step: Step, products: Products, x: Bound, w: Bound, bias: Bound | None) -> Sums:
    def plain() -> tuple[Float64, Float64, Float64, Float64]:
        size_x, size_w = np.abs(x.mid), np.abs(w.mid)
        mid, magnitude = products.apply(x.mid, w.mid), products.apply(size_x, size_w)
        if products.alpha != 1.0:
            mid, magnitude = mid * products.alpha, magnitude * abs(products.alpha)
        return mid, magnitude, size_x, size_w

    mid, part, size_x, size_w = _remembered(step, "sums", x.mid, w.mid, plain)
    magnitude, terms = part, products.terms
    if bias is not None:
        mid = mid + bias.mid
        magnitude = magnitude + np.abs(bias.mid)
        terms += 1
    return Sums(mid, magnitude, part, terms, size_x, size_w)


def _squares(step: Step, products: Products, x: Bound, w: Bound, bias: Bound | None) -> Float64:
    """Return S2, the sum of the squared terms, each as large as its interval allows."""
    reach_x, reach_w = x.radius(), w.radius()

    def squared() -> Float64:
        size_x = np.abs(x.mid) if reach_x is None else np.abs(x.mid) + reach_x
        size_w = np.abs(w.mid) if reach_w is None else np.abs(w.mid) + reach_w
        return products.apply(size_x**2, size_w**2) * products.alpha**2

    found = squared() if reach_x is not None or reach_w is not None else None
    if found is None:
        found = _remembered(step, "squares", x.mid, w.mid, squared)
    return np.asarray(found if bias is None else found + bias.mid**2)


def _remembered(step: Step, purpose: str, x: Float64, w: Float64, make: Callable[[], Any]) -> Any:
    """Return what `make` gives, from an earlier interpretation where it was made of the same arrays."""
    key = (id(step.node), purpose)
    known = step.memo.get(key)
    if known is None or known[0] is not x or known[1] is not w:
        known = step.memo[key] = (x, w, make())
    return known[2]


def _reading(step: Step, x: Bound, w: Bound) -> float:
    """Return the relative error with which the operands of a product may be read together: TF32's truncation."""
    if not step.contract.tf32 or x.kind != "fp32" or (x.scale is not None and w.scale is not None):
        return 0.0
    dx, dw = input_error("tf32", x.mid), input_error("tf32", w.mid)
    return dx + dw + dx * dw


def _requantisation(sums: Sums) -> Float64:
    bias_part = sums.magnitude - sums.products
    return np.asarray(REQUANT_ROUNDINGS * U32 * (np.abs(sums.mid) + 2 * bias_part))


def _open(
    made: Bound, step: Step, products: Products, x: Bound, w: Bound, keep: Accumulator, sums: Sums
) -> None:
    """Mark where a partial sum may overflow, or an algorithm may spread what is not finite."""
    made.overflow = keep.may_overflow(sums.magnitude, sums.terms)
    algorithm = step.contract.algorithm
    if algorithm == "splitk" and x.kind in ("fp16", "bf16"):
        beyond = sums.magnitude * (1 + sums.terms * U32) >= FORMATS[x.kind].largest
        made.overflow = either(made.overflow, beyond)
    if algorithm in ("winograd", "fft") and products.window is not None:
        # Every output of a tile, or of a plane, sees all of its inputs.
        spoilt = ~np.isfinite(x.mid).all(axis=tuple(range(1, x.mid.ndim)), keepdims=True)
        if spoilt.any() or not np.isfinite(w.mid).all():
            lost = np.broadcast_to(spoilt | (not np.isfinite(w.mid).all()), sums.mid.shape)
            made.loose = either(made.loose, lost)


def _int8_error(step: Step, x: Bound, sums: Sums) -> Float64:
    error = _requantisation(sums)
    if not step.contract.integer:
        single = Accumulator(rounds_products=True)
        error = error + single.error(sums.mid, sums.magnitude, sums.magnitude, sums.terms)
        if x.kind in ("fp16", "bf16"):
            # A float kernel reads both operands as DequantizeLinear stores them: rounded to 16 bits.
            unit = FORMATS[x.kind].roundoff
            error = error + (2 * unit + unit**2) * sums.products
    return error


def _flushed(products: Products, x: Bound, w: Bound, sums: Sums) -> Float64:
    """Return what reading subnormal operands as zero costs at most."""
    normal = 2.0 ** FORMATS[x.kind].emin if x.kind in FORMATS else 0.0
    lost_x = np.where(sums.size_x < normal, sums.size_x, 0.0)
    lost_w = np.where(sums.size_w < normal, sums.size_w, 0.0)
    lost = products.apply(lost_x, sums.size_w) + products.apply(sums.size_x, lost_w)
    # FP32 sums below the normal numbers may be flushed as well.
    return np.asarray(abs(products.alpha) * lost + sums.terms * 2.0**-126)


def _certificate(
    x: Bound, w: Bound, bias: Bound | None, sums: Sums, keep: Accumulator, reading: float
) -> np.ndarray | None:
    """Return where every partial sum is exact in any order, or None where nothing can be said."""
    if reading or not (x.is_exact and w.is_exact and (bias is None or bias.is_exact)):
        return None
    return keep.certified(sums.magnitude, term_quantum(x, w, bias))


def _inherited(
    products: Products, x: Bound, w: Bound, bias: Bound | None, size_x: Float64, size_w: Float64
) -> Float64 | float:
    """Return the error that the inputs' own intervals bring in: |W| r_x + |x| r_w + r_x r_w + r_b."""
    total: Float64 | float = 0.0
    radius_x, radius_w = x.radius(), w.radius()
    scale = abs(products.alpha)
    if radius_x is not None:
        total = total + scale * products.apply(radius_x, size_w if radius_w is None else size_w + radius_w)
    if radius_w is not None:
        total = total + scale * products.apply(size_x, radius_w)
    if bias is not None and (radius_b := bias.radius()) is not None:
        total = total + radius_b
    return total


def _algorithm(step: Step, products: Products, x: Bound, w: Bound, magnitude: Float64) -> Float64 | float:
    """Return what the algorithm of the rung adds to the error of direct summation."""
    algorithm, window = step.contract.algorithm, products.window
    if algorithm == "splitk" and x.kind in ("fp16", "bf16"):
        return split_error(magnitude, x.kind, products.terms)
    if window is None:
        return 0.0
    if algorithm == "winograd" and takes_winograd(window):
        return winograd_error(x.mid, w.mid, magnitude, window, products.groups, x.kind)
    if algorithm == "fft":
        return fft_error(x.mid, w.mid, magnitude, products.groups)
    return 0.0


def _loose(products: Products, x: Bound, w: Bound) -> np.ndarray | None:
    if x.loose is None and w.loose is None:
        return None
    touched_x = np.zeros(x.mid.shape) if x.loose is None else x.loose.astype(np.float64)
    found = products.apply(touched_x, np.ones(w.mid.shape)) > 0
    if w.loose is not None:
        found |= products.apply(np.ones(x.mid.shape), w.loose.astype(np.float64)) > 0
    return np.asarray(found)
