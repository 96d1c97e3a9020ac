"""Limits of the operators that sum products: Conv, ConvTranspose, Gemm, MatMul."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pytest_trt.check.interpret import Step, handles, settle
from pytest_trt.numerics.bounds import Bound, arch_factor, certified, input_error, sum_deviation, sum_error
from pytest_trt.numerics.formats import FORMATS, U32, Float64
from pytest_trt.numerics.ladder import fft_error, split_error, takes_winograd, winograd_error
from pytest_trt.numerics.linear import Window, columns, conv_transpose, transposed_terms

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
    """

    apply: Callable[[Float64, Float64], Float64]
    terms: int
    alpha: float = 1.0
    window: Window | None = None
    groups: int = 1


def bound_products(step: Step, products: Products, bias: Bound | None) -> Bound:
    """Return the admissible values of a sum of products before it is stored.

    The kind of the data input says how products are rounded: FP32 products are rounded (or contracted to an FMA), those of
    16-bit and TF32 numbers are exact in FP32, INT8 sums are exact in INT32.
    """
    raw_x, raw_w = step.args[0], step.args[1]
    assert raw_x is not None and raw_w is not None
    is_int8 = raw_x.scale is not None and raw_w.scale is not None
    x, w = (raw_x, raw_w) if is_int8 else (settle(raw_x), settle(raw_w))
    mid = products.apply(x.mid, w.mid)
    size_x, size_w = np.abs(x.mid), np.abs(w.mid)
    magnitude = products.apply(size_x, size_w)
    if products.alpha != 1.0:
        mid, magnitude = mid * products.alpha, magnitude * abs(products.alpha)
    product_part = magnitude
    terms = products.terms
    if bias is not None:
        mid = mid + bias.mid
        magnitude = magnitude + np.abs(bias.mid)
        terms += 1
    reading = _reading(step, x, w)
    error = _accumulation(step, x, bias, mid, magnitude, product_part, terms, reading, is_int8)
    exact = _certificate(x, w, bias, magnitude, reading) if products.alpha == 1.0 else None
    if products.alpha != 1.0:
        error = error + 2 * U32 * magnitude
    if exact is not None:
        error = np.where(exact, 0.0, error)
    error = error + _inherited(products, x, w, bias, size_x, size_w)
    if not is_int8:
        error = error + _algorithm(step, products, x, w, magnitude)
    finite = np.isfinite(mid)
    if not finite.all():
        error = np.where(finite, error, 0.0)
    loose = _loose(products, x, w)
    made = Bound(mid, mid - error, mid + error, step.kind, loose=loose)
    if step.contract.statistics and x.kind == "fp32" and not is_int8 and products.alpha == 1.0:
        known = x.is_exact and w.is_exact and (bias is None or bias.is_exact)
        if known and not (exact is not None and exact.all()):
            squares = products.apply(size_x**2, size_w**2)
            if bias is not None:
                squares = squares + bias.mid**2
            truncating = _factor(step, x.kind) is not None
            made.sigma, made.bias = sum_deviation(mid, squares, terms, truncating=truncating, reading=reading)
    return made


def _factor(step: Step, kind: str) -> float | None:
    """Return c_arch of the tensor cores that may run a product of this kind; None where none may."""
    if kind in ("fp16", "bf16"):
        return arch_factor(step.contract.sm, kind)
    return arch_factor(step.contract.sm, "tf32") if step.contract.tf32 else None


def _reading(step: Step, x: Bound, w: Bound) -> float:
    """Return the relative error with which the operands of a product may be read together: TF32's truncation."""
    if not step.contract.tf32 or x.kind != "fp32" or (x.scale is not None and w.scale is not None):
        return 0.0
    dx, dw = input_error("tf32", x.mid), input_error("tf32", w.mid)
    return dx + dw + dx * dw


def _accumulation(
    step: Step,
    x: Bound,
    bias: Bound | None,
    mid: Float64,
    magnitude: Float64,
    product_part: Float64,
    terms: int,
    reading: float,
    is_int8: bool,
) -> Float64:
    if is_int8:
        bias_part = magnitude - product_part
        error = REQUANT_ROUNDINGS * U32 * (np.abs(mid) + 2 * bias_part)
        if not step.contract.integer:
            error = error + sum_error(mid, magnitude, terms, None, rounded_products=True)
            if x.kind in ("fp16", "bf16"):
                # A float kernel reads both operands as DequantizeLinear stores them: rounded to 16 bits.
                unit = FORMATS[x.kind].roundoff
                error = error + (2 * unit + unit**2) * product_part
        return error
    error = sum_error(mid, magnitude, terms, _factor(step, x.kind), rounded_products=x.kind == "fp32")
    return error * (1 + reading) + reading * product_part if reading else error


def _certificate(
    x: Bound, w: Bound, bias: Bound | None, magnitude: Float64, reading: float
) -> np.ndarray | None:
    """Return where every partial sum is exact in any order, or None where nothing can be said."""
    if reading or not (x.is_exact and w.is_exact and (bias is None or bias.is_exact)):
        return None
    quantum = None if x.lsb is None or w.lsb is None else x.lsb + w.lsb
    if bias is not None and bias.lsb is not None:
        quantum = bias.lsb if quantum is None else min(quantum, bias.lsb)
    return certified(magnitude, quantum)


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
        return split_error(magnitude, x.kind)
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


def window_of(step: Step, kernel: tuple[int, ...], size: tuple[int, ...]) -> Window:
    """Return the window geometry of a node's attributes, `auto_pad` worked out (ONNX Conv-11, pooling operators)."""
    node = step.node
    rank = len(kernel)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    pads = node.ints("pads", (0,) * (2 * rank))
    begin, end = pads[:rank], pads[rank:]
    auto = node.attributes.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        first, last = [], []
        for axis in range(rank):
            out = math.ceil(size[axis] / strides[axis])
            span = (kernel[axis] - 1) * dilations[axis] + 1
            total = max(0, (out - 1) * strides[axis] + span - size[axis])
            small, large = total // 2, total - total // 2
            first.append(small if auto == b"SAME_UPPER" else large)
            last.append(large if auto == b"SAME_UPPER" else small)
        begin, end = tuple(first), tuple(last)
    elif auto == b"VALID":
        begin = end = (0,) * rank
    return Window(kernel, strides, dilations, begin, end)


def _per_channel(bias: Bound | None, rank: int) -> Bound | None:
    if bias is None:
        return None
    shape = (1, -1, *(1,) * rank)
    if bias.is_exact:
        return Bound.exact(bias.mid.reshape(shape), bias.kind)
    return Bound(bias.mid.reshape(shape), bias.low.reshape(shape), bias.high.reshape(shape), bias.kind)


@handles("Conv")
def _conv(step: Step) -> list[Bound]:
    x, w = step.args[0], step.args[1]
    assert x is not None and w is not None
    groups = int(step.node.attributes.get("group", 1))
    kernel = w.mid.shape[2:]
    window = window_of(step, kernel, x.mid.shape[2:])

    def apply(data: Float64, weight: Float64) -> Float64:
        return columns(data, window, groups).times(weight)

    terms = w.mid.shape[1] * math.prod(kernel)
    bias = _per_channel(step.optional(2), len(kernel))
    return [bound_products(step, Products(apply, terms, window=window, groups=groups), bias)]


@handles("ConvTranspose")
def _conv_transpose(step: Step) -> list[Bound]:
    x, w = step.args[0], step.args[1]
    assert x is not None and w is not None
    node = step.node
    groups = int(node.attributes.get("group", 1))
    kernel = w.mid.shape[2:]
    window = _transposed_window(step, kernel, x.mid.shape[2:])

    def apply(data: Float64, weight: Float64) -> Float64:
        return conv_transpose(data, weight, window, groups)

    terms = transposed_terms(window, x.mid.shape[1] // groups)
    return [bound_products(step, Products(apply, terms), _per_channel(step.optional(2), len(kernel)))]


def _transposed_window(step: Step, kernel: tuple[int, ...], size: tuple[int, ...]) -> Window:
    node = step.node
    rank = len(kernel)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    extra = node.ints("output_padding", (0,) * rank)
    pads = node.ints("pads", (0,) * (2 * rank))
    begin, end = pads[:rank], pads[rank:]
    auto = node.attributes.get("auto_pad", b"NOTSET")
    shape = node.ints("output_shape", ())[-rank:]
    full = [(size[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 + extra[a] for a in range(rank)]
    if shape or auto in (b"SAME_UPPER", b"SAME_LOWER"):
        target = shape or tuple(size[a] * strides[a] for a in range(rank))
        total = [max(0, full[a] - target[a]) for a in range(rank)]
        half = tuple(t // 2 for t in total)
        rest = tuple(t - t // 2 for t in total)
        # ONNX ConvTranspose-11: the larger half at the end for SAME_UPPER, at the beginning otherwise.
        begin, end = (half, rest) if auto == b"SAME_UPPER" else (rest, half)
        if shape and auto == b"NOTSET":
            begin, end = rest, half
    elif auto == b"VALID":
        begin = end = (0,) * rank
    return Window(kernel, strides, dilations, begin, end, extra)


@handles("MatMul")
def _matmul(step: Step) -> list[Bound]:
    a = step.args[0]
    assert a is not None
    return [bound_products(step, Products(np.matmul, a.mid.shape[-1]), None)]


@handles("Gemm")
def _gemm(step: Step) -> list[Bound]:
    attributes = step.node.attributes
    turn_a, turn_b = bool(attributes.get("transA", 0)), bool(attributes.get("transB", 0))
    alpha, beta = float(attributes.get("alpha", 1.0)), float(attributes.get("beta", 1.0))
    a = step.args[0]
    assert a is not None

    def apply(data: Float64, weight: Float64) -> Float64:
        return np.asarray(np.matmul(data.T if turn_a else data, weight.T if turn_b else weight))

    bias = step.optional(2)
    if bias is not None and beta != 1.0:
        ends = sorted_ends(bias.low * beta, bias.high * beta)
        slack = U32 * np.abs(bias.mid * beta)
        bias = Bound(bias.mid * beta, ends[0] - slack, ends[1] + slack, bias.kind)
    terms = a.mid.shape[0 if turn_a else -1]
    return [bound_products(step, Products(apply, terms, alpha), bias)]


def sorted_ends(first: Float64, second: Float64) -> tuple[Float64, Float64]:
    """Return the lower and the upper end of intervals whose ends may be swapped."""
    return np.minimum(first, second), np.maximum(first, second)
