"""Tensor cores: blocks of exact products, aligned to the largest exponent, cut, added exactly, cut to FP32.

Source: Khattak & Mikaitis, Accurate Models of NVIDIA Tensor Cores, arXiv 2512.07004; the scheme is that of Fasi, Higham,
Mikaitis & Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science 7:e330, 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pytest_trt.emulator.faults.honest.sums import chain
from pytest_trt.emulator.faults.honest.terms import Float32, Float64, Terms, recompute
from pytest_trt.emulator.faults.registry import honest
from pytest_trt.hardware import classes

# Compute capabilities whose tensor cores were modelled. Any other may have any of them.
_MODELLED = {70, 80, 89, 90, 100}
_SMALLEST_NORMAL = 2.0**-126
_SMALLEST = 2.0**-149
# No runtime multiplies e4m3 numbers here: they stand in FP16 tensors.
_FP8 = ("fp16", "fp8")


def tensor_core_sum(terms: Terms, products: int, bits: int) -> Float32:
    """Return sums as a tensor core forms them.

    Parameters
    ----------
    products : int
        Products that are added at once.
    bits : int
        Fraction bits that are kept of each product and of the accumulator, below the largest exponent among them.
    """
    x, w = terms.wide()
    total = np.zeros(terms.shape)
    for start in range(0, terms.count, products):
        block = x[start : start + products] * w[start : start + products]
        total = _add_block(total, block, bits)
    return total.astype(np.float32)


def _add_block(total: Float64, block: Float64, bits: int) -> Float64:
    top = np.maximum(np.abs(total), np.abs(block).max(axis=0))
    exponent = np.frexp(top)[1] - 1
    shift = np.ldexp(1.0, bits - exponent)
    whole = np.trunc(block * shift).sum(axis=0) + np.trunc(total * shift)
    added = toward_zero(whole * np.ldexp(1.0, exponent - bits))
    finite = np.isfinite(top)
    if finite.all():
        return added
    return np.where(finite, added, block.sum(axis=0) + total)


def toward_zero(values: Float64) -> Float64:
    """Return float64 values cut to those of float32, infinite past its largest."""
    cut = (values.view(np.int64) & ~np.int64(0x1FFFFFFF)).view(np.float64)
    small = np.abs(values) < _SMALLEST_NORMAL
    if small.any():
        cut = np.where(small, np.trunc(values / _SMALLEST) * _SMALLEST, cut)
    return np.where(np.abs(values) >= 2.0**128, np.copysign(np.inf, values), cut)


def has_core(gpu: str, *capabilities: int) -> bool:
    """Tell whether a GPU class may have the tensor cores of these compute capabilities."""
    sm = classes.get(gpu).sm
    return sm in capabilities or sm not in _MODELLED


@honest("fp16 fp16acc")
def tensor_core_of_v100(site: Any) -> None:
    """Add four FP16 products at once without extra bits, as a V100; only where the GPU is none of another model. Honest."""
    if has_core(site.gpu, 70):
        recompute(site, lambda terms: tensor_core_sum(terms, 4, 23), ("fp16", "fp16acc"))


@honest("fp16 fp16acc bf16")
def tensor_core_of_a100(site: Any) -> None:
    """Add eight 16-bit products at once with one extra bit, as an A100; only where the GPU may be one. Honest."""
    if has_core(site.gpu, 80, 89):
        recompute(site, lambda terms: tensor_core_sum(terms, 8, 24), ("fp16", "fp16acc", "bf16"))


@honest("fp16 fp16acc bf16")
def tensor_core_of_h100(site: Any) -> None:
    """Add sixteen 16-bit products at once with two extra bits, as an H100; only where the GPU may be one. Honest."""
    if has_core(site.gpu, 90, 100):
        recompute(site, lambda terms: tensor_core_sum(terms, 16, 25), ("fp16", "fp16acc", "bf16"))


@honest("tf32")
def tf32_tensor_core_of_a100(site: Any) -> None:
    """Add four TF32 products at once with one extra bit, as an A100; only where the GPU may be one. Honest."""
    if has_core(site.gpu, 80, 89):
        recompute(site, lambda terms: tensor_core_sum(terms, 4, 24), ("tf32",))


@honest("tf32")
def tf32_tensor_core_of_h100(site: Any) -> None:
    """Add eight TF32 products at once with two extra bits, as an H100; only where the GPU may be one. Honest."""
    if has_core(site.gpu, 90, 100):
        recompute(site, lambda terms: tensor_core_sum(terms, 8, 25), ("tf32",))


@honest("tf32")
def tf32_operands_truncated(site: Any) -> None:
    """Cut the operands to TF32 instead of rounding them, as hardware that reads their upper bits. Honest."""
    _in_order(site, _cut)


@honest("tf32")
def tf32_left_unused(site: Any) -> None:
    """Multiply the FP32 operands as they are, where TF32 was allowed. Honest."""
    _in_order(site, lambda values: values)


def _cut(values: Float32) -> Float32:
    cut = (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return np.where(np.isfinite(values), cut, values)


def _in_order(site: Any, read: Callable[[Float32], Float32]) -> None:
    recompute(site, lambda terms: chain(terms, range(terms.count)), ("tf32",), read)


@honest("fp8")
def fp8_tensor_core_of_h100(site: Any) -> None:
    """Add 32 e4m3 products at once, of which 13 fraction bits are kept, as an H100; the result is FP32. Honest."""
    recompute(site, lambda terms: tensor_core_sum(terms, 32, 13), _FP8)


@honest("fp8")
def fp8_tensor_core_of_l40s(site: Any) -> None:
    """Add 16 e4m3 products at once, of which 13 fraction bits are kept, as an L40S; the result is FP32. Honest."""
    recompute(site, lambda terms: tensor_core_sum(terms, 16, 13), _FP8)
