"""Pools, activations and normalisation by other formulas that libraries use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.honest.epilogue import normalised
from pytest_trt.emulator.faults.honest.terms import Float32
from pytest_trt.emulator.faults.linear import store, windows
from pytest_trt.emulator.faults.registry import honest

_FLOATS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
_FREE_ZERO = (
    "Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip


def _is_float_node(site: Any, *operators: str) -> bool:
    if site.kind != "node" or site.op_type not in operators or len(site.outputs) != 1:
        return False
    return site.precision in _FLOATS and next(iter(site.outputs.values())).dtype in (np.float32, np.float16)


def _first(site: Any) -> Float32:
    return np.asarray(next(iter(site.inputs.values())), np.float32)


def _put(site: Any, values: NDArray[Any]) -> None:
    """Store a result where its formula is the node's: what is finite stays so, and no value moves far."""
    name = next(iter(site.outputs))
    exact = np.asarray(site.exact[name], np.float64).reshape(-1)
    wide = np.asarray(values, np.float64).reshape(-1)
    if wide.shape == exact.shape and np.allclose(wide, exact, rtol=1e-2, atol=1e-3, equal_nan=True):
        store(site, name, values)


@honest()
def zeros_negative(site: Any) -> None:
    """Give -0 for +0 where a sum, a maximum or a product comes out as zero. Honest: -0 equals 0."""
    if not _is_float_node(site, *_FREE_ZERO):
        return
    for name, array in site.outputs.items():
        site.outputs[name] = np.where(array == 0, array.dtype.type(-0.0), array)


@honest("fp32 tf32 fp16 bf16 int8")
def average_by_reciprocal(site: Any) -> None:
    """Average a pool's window from its last element to its first, times the rounded reciprocal of the count. Honest."""
    if _is_float_node(site, "GlobalAveragePool"):
        x = _first(site)
        _put(site, _reciprocal_mean(x.reshape(*x.shape[:2], -1), np.float32(np.prod(x.shape[2:]))))
    elif _is_float_node(site, "AveragePool") and not site.attributes.get("ceil_mode"):
        x, rank = _first(site), len(site.attributes["kernel_shape"])
        attributes = {**site.attributes, "dilations": site.attributes.get("dilations", [1] * rank)}
        view = windows(x.astype(np.float64), attributes)
        flat = view.reshape(*view.shape[: 2 + rank], -1).astype(np.float32)
        if attributes.get("count_include_pad"):
            count = np.float32(flat.shape[-1])
        else:
            ones = windows(np.ones((1, 1, *x.shape[2:])), attributes)
            count = ones.reshape(*ones.shape[: 2 + rank], -1).sum(axis=-1).astype(np.float32)
        _put(site, _reciprocal_mean(flat, count))


def _reciprocal_mean(values: Float32, count: NDArray[np.float32]) -> Float32:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        total = np.zeros(values.shape[:-1], np.float32)
        for position in reversed(range(values.shape[-1])):
            total = total + values[..., position]
        return np.asarray(total * (np.float32(1) / count))


@honest("fp32 tf32 fp16 bf16 int8")
def sigmoid_through_tanh(site: Any) -> None:
    """Compute Sigmoid as 1/2 + tanh(x / 2) / 2, as kernels with a tanh instruction do. Honest."""
    if _is_float_node(site, "Sigmoid"):
        half = np.float32(0.5)
        with np.errstate(invalid="ignore"):
            _put(site, half + half * np.tanh(_first(site) * half))


@honest("fp32 tf32 fp16 bf16 int8")
def softmax_reversed(site: Any) -> None:
    """Add Softmax's exponentials from the last to the first and multiply by the reciprocal of the sum. Honest."""
    if not _is_float_node(site, "Softmax"):
        return
    x = np.moveaxis(_first(site), int(site.attributes["axis"]), -1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        power = np.exp(x - x.max(axis=-1, keepdims=True))
        total = np.zeros(x.shape[:-1], np.float32)
        for position in reversed(range(x.shape[-1])):
            total = total + power[..., position]
        result = power * (np.float32(1) / total)[..., None]
    _put(site, np.moveaxis(result, -1, int(site.attributes["axis"])))


@honest("fp32 tf32 fp16 bf16 int8")
def batch_norm_folded(site: Any) -> None:
    """Compute BatchNormalization as `a x + b'` with both numbers folded in FP32. Honest."""
    if _is_float_node(site, "BatchNormalization") and len(site.inputs) == 5:
        with np.errstate(over="ignore", invalid="ignore"):
            _put(site, normalised(list(site.inputs.values()), float(site.attributes["epsilon"])))


@honest()
def maximum_without_nan(site: Any) -> None:
    """Take maxima with an instruction that prefers a number to a NaN, in ReLU and MaxPool. Honest."""
    if _is_float_node(site, "Relu"):
        name, stored = next(iter(site.outputs.items()))
        site.outputs[name] = np.where(np.isnan(stored), stored.dtype.type(0), stored)
    elif _is_float_node(site, "MaxPool") and not site.attributes.get("ceil_mode"):
        name, stored = next(iter(site.outputs.items()))
        view = windows(_first(site).astype(np.float64), site.attributes, -np.inf)
        best = np.fmax.reduce(view.reshape(*stored.shape, -1), axis=-1)
        site.outputs[name] = best.astype(stored.dtype)
