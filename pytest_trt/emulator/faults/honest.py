"""Other correct kernels: the same sums in another order, in float32; every check must let them pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import Linear, linear_of, store, windows
from pytest_trt.emulator.faults.registry import honest


def _terms(linear: Linear) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return taps (..., p, K) and weights (..., m, K) of a convolution or a matrix product with constant rank."""
    if linear.op_type == "Conv":
        groups = int(linear.attributes["group"])
        view = windows(linear.x, linear.attributes)
        outputs = view.shape[2 : linear.w.ndim]
        taps = view.reshape(linear.x.shape[0], groups, linear.w.shape[1], *outputs, -1)
        taps = np.moveaxis(taps, 2, -2).reshape(linear.x.shape[0], groups, int(np.prod(outputs)), -1)
        weights = linear.w.reshape(1, groups, linear.w.shape[0] // groups, -1)
        return taps.astype(np.float32), weights.astype(np.float32)
    if linear.op_type in ("Gemm", "MatMul") and linear.x.ndim >= 2 and linear.w.ndim >= 2:
        x = linear.x.T if linear.attributes.get("transA") else linear.x
        w = linear.w if linear.attributes.get("transB") else np.swapaxes(linear.w, -1, -2)
        return x.astype(np.float32), w.astype(np.float32)
    return None


def _sum(
    taps: NDArray[np.float32], weights: NDArray[np.float32], order: Iterable[int]
) -> NDArray[np.float32]:
    """Return sums of shape (..., p, m), one term after the other, rounded to float32 at each step."""
    total: NDArray[np.float32] | None = None
    for k in order:
        term = taps[..., :, None, k] * weights[..., None, :, k]
        total = term if total is None else total + term
    assert total is not None
    return total


def _recompute(site: Any, parts: int, reverse: bool) -> None:
    linear = linear_of(site)
    if linear is None or site.scales or site.precision == "tf32":
        return
    terms = _terms(linear)
    if terms is None:
        return
    taps, weights = terms
    count = taps.shape[-1]
    orders = [list(part) for part in np.array_split(np.arange(count), min(parts, count))]
    with np.errstate(over="ignore", invalid="ignore"):
        total = _sum(taps, weights, reversed(orders[0]) if reverse else orders[0])
        for order in orders[1:]:
            total = total + _sum(taps, weights, order)
        name, stored = next(iter(site.outputs.items()))
        if linear.op_type == "Conv":
            total = np.swapaxes(total, -1, -2)
        result = (total * np.float32(linear.scale)).reshape(stored.shape)
        if linear.bias is not None:
            bias = linear.spread(linear.bias, stored.ndim) if linear.bias.ndim == 1 else linear.bias
            result = result + bias.astype(np.float32)
        store(site, name, result)


@honest("fp32 fp16 bf16 fp8")
def summation_order_reversed(site: Any) -> None:
    """Add the products of a convolution or matrix product from the last to the first, in float32. Honest."""
    _recompute(site, parts=1, reverse=True)


@honest("fp32 fp16 bf16 fp8")
def split_k_summation(site: Any) -> None:
    """Add the products in three parts, each in float32, and then the parts. Honest."""
    _recompute(site, parts=3, reverse=False)
