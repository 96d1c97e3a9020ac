"""Sums of FP16 products in FP16 accumulators: only for the contract that says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.honest.terms import Float64, Terms, recompute
from pytest_trt.emulator.faults.registry import honest

_WHERE = ("fp16", "fp16acc")
_TILE = 16


def to_half(values: NDArray[Any]) -> Float64:
    """Return values rounded to FP16, as float64."""
    return np.asarray(values.astype(np.float16).astype(np.float64))


def half_chain(terms: Terms, order: Iterable[int], round_products: bool = False) -> Float64:
    """Return sums of products, one after the other, each partial sum rounded to FP16, products too if asked.

    A product of FP16 numbers has 22 bits. Its sum with an accumulator of 11 bits is rounded twice, to float64 and to FP16;
    where they are too far apart for float64 the product is no half unit of the accumulator, so the first changes nothing.
    """
    x, w = terms.wide()
    total = np.zeros(terms.shape)
    for k in order:
        product = x[k] * w[k]
        total = to_half(total + (to_half(product) if round_products else product))
    return total


def _stored(total: Float64) -> NDArray[np.float32]:
    return total.astype(np.float32)


@honest("fp16acc")
def half_fma(site: Any) -> None:
    """Add the products one after the other in FP16, each by a fused multiply-add. Honest."""
    recompute(site, lambda terms: _stored(half_chain(terms, range(terms.count))), _WHERE)


@honest("fp16acc")
def half_fma_permuted(site: Any) -> None:
    """Add the products in FP16 by fused multiply-adds, in a shuffled order. Honest."""

    def kernel(terms: Terms) -> NDArray[np.float32]:
        return _stored(half_chain(terms, np.random.default_rng(terms.count).permutation(terms.count)))

    recompute(site, kernel, _WHERE)


@honest("fp16acc")
def half_multiply_and_add(site: Any) -> None:
    """Add the products in FP16, each rounded to FP16 before it is added. Honest."""
    recompute(site, lambda terms: _stored(half_chain(terms, range(terms.count), True)), _WHERE)


@honest("fp16acc")
def half_in_two_lanes(site: Any) -> None:
    """Add even and odd products in FP16 accumulators of their own, as packed half2 arithmetic does. Honest."""

    def kernel(terms: Terms) -> NDArray[np.float32]:
        lanes = [half_chain(terms, range(lane, terms.count, 2)) for lane in range(2)]
        return _stored(to_half(lanes[0] + lanes[1]))

    recompute(site, kernel, _WHERE)


@honest("fp16acc")
def half_tensor_core(site: Any) -> None:
    """Add sixteen products in FP32, and each such block to an FP16 accumulator. Honest."""
    recompute(site, lambda terms: _stored(half_tiles(terms)), _WHERE)


def half_tiles(terms: Terms) -> Float64:
    """Return sums whose blocks of 16 products are added in float32 and rounded to FP16 with the accumulator."""
    total = np.zeros(terms.shape)
    for start in range(0, terms.count, _TILE):
        part = total.astype(np.float32)
        for k in range(start, min(start + _TILE, terms.count)):
            part = part + terms.x[k] * terms.w[k]
        total = to_half(part)
    return total
