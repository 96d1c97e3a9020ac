"""Faults of sums: products that are dropped, added twice, or added to what was there before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pytest_trt.emulator.faults.linear import Linear, Terms, change, linear_of, output_of, store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.tiles import as_matrix, from_matrix, pick_tile


def _drop(site: Any, linear: Linear, kept: Any) -> None:
    change(site, linear, linear.terms.of(kept))


@fault("reduction")
def last_input_channel_dropped(site: Any) -> None:
    """Leave the last input channel of each group, or the last term of a matrix product, out of the sum."""
    linear = linear_of(site)
    if linear is None:
        return
    position = np.arange(linear.reduction) % (linear.reduction // linear.groups)
    change(site, linear, linear.without_channels(position != linear.reduction // linear.groups - 1))


@fault("reduction")
def k_tail_mod8_dropped(site: Any) -> None:
    """Leave out the products behind the last multiple of 8."""
    _drop_tail(site, 8)


@fault("reduction")
def k_tail_mod32_dropped(site: Any) -> None:
    """Leave out the products behind the last multiple of 32."""
    _drop_tail(site, 32)


def _drop_tail(site: Any, block: int) -> None:
    linear = linear_of(site)
    if linear is not None and linear.terms.length % block:
        _drop(site, linear, slice(0, linear.terms.length // block * block))


@fault("reduction")
def last_k_block32_missing(site: Any) -> None:
    """Leave out the last 32 products where there are more: a loop that ends one block too early."""
    linear = linear_of(site)
    if linear is not None and linear.terms.length > 32:
        _drop(site, linear, slice(0, linear.terms.length - 32))


@fault("reduction")
def one_k_index_dropped(site: Any) -> None:
    """Leave one product, the same for every output, out of the sum."""
    linear = linear_of(site)
    if linear is not None:
        _drop(site, linear, np.arange(linear.terms.length) != site.rng.integers(linear.terms.length))


@fault("reduction")
def k_slice_added_twice(site: Any) -> None:
    """Add up to eight of the products twice: two parts of a split sum overlap."""
    linear = linear_of(site)
    if linear is None:
        return
    length = linear.terms.length
    first = int(site.rng.integers(max(1, length - 7)))
    twice = slice(first, min(length, first + 8))
    change(site, linear, linear.total + linear.terms.of(twice).total())


@fault("reduction")
def tile16_misses_last_kblock(site: Any) -> None:
    """Leave the last block of products, up to 32, out of one tile of 16 x 16 outputs, where there are more than 16."""
    linear = linear_of(site)
    if linear is None or linear.terms.length <= 16:
        return
    length = linear.terms.length
    kept = slice(0, max(length - 32, (length - 1) // 16 * 16 if length <= 32 else 0))
    _within_tile(site, linear, linear.terms.of(kept).total())


@fault("reduction")
def accumulator_not_cleared_tile16(site: Any) -> None:
    """Begin the sums of one tile of 16 x 16 outputs with those of the tile before it, in the order of rows."""
    linear = linear_of(site)
    if linear is None:
        return
    axis = linear.channel_axis % max(1, linear.total.ndim)
    before = np.roll(as_matrix(linear.total, axis), 16, axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        _within_tile(site, linear, linear.total + from_matrix(before, linear.total, axis))


def _within_tile(site: Any, linear: Linear, wrong: Any) -> None:
    axis = linear.channel_axis % max(1, linear.total.ndim)
    matrix = as_matrix(linear.total, axis).copy()
    tile = pick_tile(matrix.shape, site.rng)
    matrix[tile] = as_matrix(wrong, axis)[tile]
    change(site, linear, np.ascontiguousarray(from_matrix(matrix, linear.total, axis)))


def _unpadded(linear: Linear) -> int:
    """Return how many channels are missing to a multiple of 8."""
    return -(linear.reduction // linear.groups) % 8


@fault("reduction")
def uninit_pad_channels_added(site: Any) -> None:
    """Fill the input channels up to a multiple of 8, and add what lies there: another item's data, other filters."""
    linear = linear_of(site)
    if linear is None or not _unpadded(linear):
        return
    terms = linear.terms
    count = min(terms.length, _unpadded(linear))
    columns = np.flip(terms.columns, axis=(0, -1))[..., :count, :]
    rows = np.roll(terms.weights, 1, axis=-2)[..., :count]
    stray = replace(terms, columns=columns, weights=rows)
    with np.errstate(invalid="ignore", over="ignore"):
        change(site, linear, linear.total + stray.total())


@fault("reduction", "fp32 tf32 fp16 fp16acc bf16 fp8")
def uninit_pad_channels_nan(site: Any) -> None:
    """Fill the input channels up to a multiple of 8 with NaN, which times a weight of zero is NaN. Integers have none."""
    linear = linear_of(site)
    if linear is not None and not site.scales and _unpadded(linear):
        name, exact = output_of(site)
        store(site, name, np.full(exact.shape, np.nan))


@fault("reduction", mutants="M09")
def cin_permuted(site: Any) -> None:
    """Multiply each input channel of a group, or term of a matrix product, by the weight of the next."""
    linear = linear_of(site)
    if linear is None or linear.reduction // linear.groups < 2:
        return
    if not linear.is_convolution:
        terms: Terms = replace(linear.terms, columns=np.roll(linear.terms.columns, 1, axis=-2))
        change(site, linear, terms)
        return
    x = linear.x.reshape(linear.x.shape[0], linear.groups, -1, *linear.x.shape[2:])
    change(site, linear, replace(linear, x=np.roll(x, 1, axis=2).reshape(linear.x.shape)))


@fault("reduction", mutants="M12")
def last_taps_of_large_kernel_dropped(site: Any) -> None:
    """Leave the last column of taps out of convolutions whose kernel is their stride and 14 or more wide."""
    linear = linear_of(site)
    if linear is None or linear.op_type != "Conv":
        return
    kernel = list(linear.attributes["kernel_shape"])
    if kernel == list(linear.attributes["strides"]) and min(kernel) >= 14:
        kept = np.arange(linear.terms.length) % kernel[-1] != kernel[-1] - 1
        _drop(site, linear, kept)
