"""Sums of products in FP32: orders, splits, fused multiply-adds, one rounding at the end.

Any summation tree commits at most n - 1 roundings of partial sums (Higham, *Accuracy and Stability of Numerical
Algorithms*, 2nd ed., 4.2), so each of these is a correct kernel of every contract that accumulates in FP32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.faults.honest.terms import Float32, Float64, Terms, finish, recompute, terms_of
from pytest_trt.emulator.faults.registry import honest

_ANY = "fp32 tf32 fp16 fp16acc bf16 fp8"
_BLOCK = 32
_LANES = 4
# Bits of a float64 that float32 has not, and their value halfway between two float32.
_TAIL = np.int64(0x1FFFFFFF)
_HALFWAY = np.int64(0x10000000)


def chain(terms: Terms, order: Iterable[int], start: Float32 | None = None) -> Float32:
    """Return sums of products, one after the other, product and sum each rounded to float32."""
    total = np.zeros(terms.shape, np.float32) if start is None else start
    product = np.empty(terms.shape, np.float32)
    for k in order:
        np.multiply(terms.x[k], terms.w[k], out=product)
        np.add(total, product, out=total)
    return total


def added(parts: Iterable[Float32]) -> Float32:
    """Return parts added in order, rounded to float32 at each step."""
    total: Float32 | None = None
    for part in parts:
        total = part if total is None else total + part
    assert total is not None
    return total


def tie_safe(total: Float64, error: Float64) -> Float32:
    """Return `total + error` rounded once to float32, `total` being a float64 sum and `error` what it lost.

    A float64 that lies halfway between two float32 (or among the subnormals, where halfway is elsewhere) is moved to its
    odd neighbour first, so that the second rounding goes where the exact value lies (Boldo & Melquiond, Emulation of FMA
    and correctly rounded sums: proved algorithms using rounding to odd, IEEE TC 57(4), 2008).
    """
    bits = total.view(np.int64)
    even = (bits & 1) == 0
    away = (error > 0) == (total > 0)
    moved = (bits + np.where(away, 1, -1)).view(np.float64)
    inexact = (error != 0) & even & np.isfinite(total) & (total != 0)
    return np.where(inexact, moved, total).astype(np.float32)


def fused_multiply_add(a: Float64, b: Float64, c: Float64) -> Float32:
    """Return `a * b + c` rounded once to float32, for operands with float32 values."""
    product = a * b  # exact: 24 + 24 bits
    total = np.asarray(product + c)
    doubtful = (total.view(np.int64) & _TAIL) == _HALFWAY
    doubtful |= (np.abs(total) < 2.0**-126) & (total != 0)
    if not doubtful.any():
        return total.astype(np.float32)
    return tie_safe(total, lost(total, product, c))


def lost(total: Float64, a: Float64, b: Float64) -> Float64:
    """Return what the float64 sum `total` of a and b has lost, 0 where it is infinite (Knuth's TwoSum)."""
    part = total - a
    error = (a - (total - part)) + (b - part)
    return np.where(np.isfinite(error), error, 0.0)


@honest(_ANY)
def summation_in_order(site: Any) -> None:
    """Add the products of a convolution or matrix product from the first to the last, in float32. Honest."""
    recompute(site, lambda terms: chain(terms, range(terms.count)))


@honest(_ANY)
def summation_order_reversed(site: Any) -> None:
    """Add the products of a convolution or matrix product from the last to the first, in float32. Honest."""
    recompute(site, lambda terms: chain(terms, reversed(range(terms.count))))


@honest(_ANY)
def summation_order_permuted(site: Any) -> None:
    """Add the products in a shuffled order, the same at each run. Honest."""
    recompute(site, lambda terms: chain(terms, np.random.default_rng(terms.count).permutation(terms.count)))


@honest(_ANY)
def pairwise_summation(site: Any) -> None:
    """Add the products pair by pair, then the pairs, and so on: a balanced tree. Honest."""
    recompute(site, _pairwise)


def _pairwise(terms: Terms) -> Float32:
    waiting: list[tuple[int, Float32]] = []
    for k in range(terms.count):
        height, total = 0, terms.x[k] * terms.w[k]
        while waiting and waiting[-1][0] == height:
            total = waiting.pop()[1] + total
            height += 1
        waiting.append((height, total))
    return added(total for _, total in reversed(waiting))


@honest(_ANY)
def blocked_summation(site: Any) -> None:
    """Add 32 products at a time, and each block to the sum of the blocks before it. Honest."""
    recompute(
        site,
        lambda terms: added(
            chain(terms, range(start, min(start + _BLOCK, terms.count)))
            for start in range(0, terms.count, _BLOCK)
        ),
    )


@honest(_ANY)
def interleaved_summation(site: Any) -> None:
    """Add every fourth product in a lane of its own, and the lanes at the end, as vector units do. Honest."""
    recompute(
        site,
        lambda terms: added(
            chain(terms, range(lane, terms.count, _LANES)) for lane in range(min(_LANES, terms.count))
        ),
    )


@honest(_ANY)
def split_k_summation(site: Any) -> None:
    """Add the products in three parts, each in float32, and then the parts. Honest."""
    recompute(
        site,
        lambda terms: added(
            chain(terms, part) for part in np.array_split(np.arange(terms.count), min(3, terms.count))
        ),
    )


@honest("fp16 bf16", rung="splitk")
def split_k_in_16_bits(site: Any) -> None:
    """Add the products in two parts, each stored in 16 bits, where none overflows there. Honest under split-K."""
    terms = terms_of(site, ("fp16", "bf16"))
    if terms is None:
        return
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        halves = np.array_split(np.arange(terms.count), min(2, terms.count))
        parts = [chain(terms, part) for part in halves]
        kept = [stored(part, site.precision) for part in parts]
        if all(np.array_equal(np.isinf(a), np.isinf(b)) for a, b in zip(parts, kept, strict=True)):
            finish(site, terms, added(kept))


def stored(values: Float32, kind: str) -> Float32:
    """Return float32 values rounded to `fp16` or `bf16`."""
    return dtypes.round_to(values, dtypes.elem_of_short(kind))


@honest(_ANY)
def fused_multiply_add_chain(site: Any) -> None:
    """Add the products one after the other without rounding them, as CUDA cores do. Honest."""
    recompute(site, _fma_chain)


def _fma_chain(terms: Terms) -> Float32:
    x, w = terms.wide()
    if _meets_subnormals(x, w):
        total = np.zeros(terms.shape)
        for k in range(terms.count):
            total = fused_multiply_add(x[k], w[k], total).astype(np.float64)
        return total.astype(np.float32)
    rounded = np.zeros(terms.shape, np.float32)
    product, total = np.empty(terms.shape), np.empty(terms.shape)
    bits, tail = total.view(np.int64), np.empty(terms.shape, np.int64)
    for k in range(terms.count):
        np.multiply(x[k], w[k], out=product)
        np.add(product, rounded, out=total)
        np.bitwise_and(bits, _TAIL, out=tail)
        doubtful = np.flatnonzero(tail == _HALFWAY)
        before = rounded.reshape(-1)[doubtful].astype(np.float64)
        np.copyto(rounded, total, casting="same_kind")
        if doubtful.size:
            part, left = total.reshape(-1)[doubtful], product.reshape(-1)[doubtful]
            rounded.reshape(-1)[doubtful] = tie_safe(part, lost(part, left, before))
    return rounded


def _meets_subnormals(x: Float64, w: Float64) -> bool:
    """Tell whether a product may have bits below those of the smallest float32."""
    sizes = [np.abs(values[values != 0]) for values in (x, w)]
    return all(size.size for size in sizes) and float(sizes[0].min() * sizes[1].min()) < 2.0 ** (-149 + 46)


@honest(_ANY)
def rounded_once(site: Any) -> None:
    """Add products and bias in float64 and round at the end: better than any GPU kernel. Honest."""
    recompute(site, _in_float64)


def _in_float64(terms: Terms) -> NDArray[Any]:
    x, w = terms.wide()
    total = np.zeros(terms.shape)
    for k in range(terms.count):
        total += x[k] * w[k]
    return total


@honest(_ANY)
def bias_first(site: Any) -> None:
    """Start the sum with the bias of a convolution, in float32. Honest."""
    if site.kind != "node" or site.op_type != "Conv":
        return
    terms = terms_of(site)
    if terms is None or terms.linear.bias is None:
        return
    start = terms.linear.bias.astype(np.float32).reshape(1, terms.shape[1], -1, 1)
    plain = replace(terms, linear=replace(terms.linear, bias=None))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        finish(site, plain, chain(terms, range(terms.count), np.broadcast_to(start, terms.shape).copy()))
