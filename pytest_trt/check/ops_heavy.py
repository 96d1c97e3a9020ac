"""Limits of the operators that sum products: Conv, ConvTranspose, Gemm, MatMul."""

from __future__ import annotations

import math

import numpy as np

from pytest_trt.check.interpret import Step, handles
from pytest_trt.check.products import Products, bound_products
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import U32, Float64
from pytest_trt.numerics.linear import Window, columns, conv_transpose, transposed_terms


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
    outputs = x.mid.shape[0] * w.mid.shape[0] * math.prod(window.output_size(x.mid.shape[2:]))
    return [bound_products(step, Products(apply, terms, 1.0, window, groups, outputs), bias)]


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
        extra = tuple(extra[a] + max(0, target[a] - full[a]) for a in range(rank))
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
