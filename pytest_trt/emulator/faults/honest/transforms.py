"""Convolutions by Winograd's minimal filtering and by FFT, in FP32 or on tiles stored in FP16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.honest.terms import Float32
from pytest_trt.emulator.faults.linear import Linear, linear_of, store
from pytest_trt.emulator.faults.registry import honest

Complex64 = NDArray[np.complex64]
_FLOATS = ("fp32", "fp16", "bf16")

# B^T, G and A^T of F(2, 3) and F(4, 3): Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016, section 4.
_TRANSFORMS: dict[int, tuple[list[list[float]], list[list[float]], list[list[float]]]] = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


def _apply(matrix: Float32, values: Float32, axis: int) -> Float32:
    """Return a transform along one axis, each term added in order and rounded to float32."""
    moved = np.moveaxis(values, axis, 0)
    rows = []
    for row in matrix:
        total = np.zeros(moved.shape[1:], np.float32)
        for factor, part in zip(row, moved, strict=True):
            if factor:
                total = total + factor * part
        rows.append(total)
    return np.moveaxis(np.stack(rows), 0, axis)


def _twice(matrix: list[list[float]], values: Float32) -> Float32:
    """Return `T values T^T` over the last two axes."""
    rounded = np.array(matrix, np.float32)
    return _apply(rounded, _apply(rounded, values, -2), -1)


def winograd(linear: Linear, m: int, tile: Callable[[Float32], Float32]) -> Float32:
    """Return a 3 x 3 convolution of stride 1 without bias by F(m, 3).

    Parameters
    ----------
    linear : Linear
    m : int
        2 or 4, the side of the output tile.
    tile : callable
        How transformed tiles are stored.
    """
    back, kernel, out = _TRANSFORMS[m]
    groups, pads = int(linear.attributes["group"]), linear.attributes["pads"]
    x, w = linear.x.astype(np.float32), linear.w.astype(np.float32)
    size = [x.shape[2 + a] + pads[a] + pads[a + 2] - 2 for a in range(2)]
    tiles = [-(-n // m) for n in size]
    ends = [tiles[a] * m + 2 - x.shape[2 + a] - pads[a] for a in range(2)]
    padded = np.pad(x, [(0, 0), (0, 0), (pads[0], ends[0]), (pads[1], ends[1])])
    view = np.lib.stride_tricks.sliding_window_view(padded, (m + 2, m + 2), axis=(2, 3))[:, :, ::m, ::m]
    seen = tile(_twice(back, view)).reshape(x.shape[0], groups, -1, *tiles, m + 2, m + 2)
    filters = tile(_twice(kernel, w)).reshape(groups, -1, w.shape[1], 1, 1, m + 2, m + 2)
    total = np.zeros((x.shape[0], groups, filters.shape[1], *tiles, m + 2, m + 2), np.float32)
    for channel in range(w.shape[1]):
        total = total + seen[:, :, None, channel] * filters[:, :, channel]
    parts = _twice(out, total)  # (N, G, M/G, tiles, m, m)
    joined = np.moveaxis(parts, -2, -3).reshape(x.shape[0], w.shape[0], tiles[0] * m, tiles[1] * m)
    return joined[:, :, : size[0], : size[1]]


def _is_fit(linear: Linear | None, site: Any) -> bool:
    """Tell whether F(m, 3) computes this: 3 x 3, stride 1, not dilated, pads that add, and all numbers finite."""
    if linear is None or site.scales or linear.op_type != "Conv" or site.precision not in _FLOATS:
        return False
    facts = linear.attributes
    plain = facts["kernel_shape"] == [3, 3] and facts["strides"] == facts["dilations"] == [1, 1]
    return (
        plain and min(facts["pads"]) >= 0 and bool(np.isfinite(linear.x).all() & np.isfinite(linear.w).all())
    )


def _replace(site: Any, linear: Linear, total: Float32) -> None:
    name, stored = next(iter(site.outputs.items()))
    result = total.reshape(stored.shape)
    if linear.bias is not None:
        result = result + linear.spread(linear.bias, stored.ndim).astype(np.float32)
    if np.array_equal(np.isfinite(result), np.isfinite(site.exact[name])):
        store(site, name, result)


def _winograd(site: Any, m: int) -> None:
    if site.kind != "node":
        return
    linear = linear_of(site)
    if linear is not None and _is_fit(linear, site):
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            _replace(site, linear, winograd(linear, m, lambda tile: tile))


@honest("fp32 fp16 bf16", rung="winograd")
def winograd_of_2(site: Any) -> None:
    """Compute 3 x 3 convolutions by Winograd's F(2, 3) with FP32 tiles. Honest under Winograd."""
    _winograd(site, 2)


@honest("fp32 fp16 bf16", rung="winograd")
def winograd_of_4(site: Any) -> None:
    """Compute 3 x 3 convolutions by Winograd's F(4, 3) with FP32 tiles. Honest under Winograd."""
    _winograd(site, 4)


@honest("fp16", rung="winograd")
def winograd_on_half_tiles(site: Any) -> None:
    """Compute 3 x 3 convolutions by F(2, 3) on tiles stored in FP16, where none leaves its normal range. Honest."""
    if site.kind != "node" or site.precision != "fp16":
        return
    linear = linear_of(site)
    if linear is None or not _is_fit(linear, site):
        return
    fits = True

    def tile(values: Float32) -> Float32:
        nonlocal fits
        half = values.astype(np.float16).astype(np.float32)
        lost = np.abs(half - values)
        fits = fits and bool(np.all(lost <= np.abs(values) * np.float32(2.0**-11)))
        return half

    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        total = winograd(linear, 2, tile)
        if fits:
            _replace(site, linear, total)


def fourier(values: Complex64, axis: int, inverse: bool = False) -> Complex64:
    """Return the discrete Fourier transform along an axis whose length is a power of two, in float32 throughout.

    Cooley & Tukey's radix 2, each butterfly rounded; the inverse is divided by the length, which is exact.
    """
    moved = np.moveaxis(values, axis, -1)
    length = moved.shape[-1]
    result = _butterflies(moved, 1.0 if inverse else -1.0)
    if inverse:
        result = result / np.float32(length)
    return np.moveaxis(result, -1, axis)


def _butterflies(values: Complex64, sign: float) -> Complex64:
    length = values.shape[-1]
    if length == 1:
        return values
    even, odd = _butterflies(values[..., ::2], sign), _butterflies(values[..., 1::2], sign)
    angle = sign * 2 * np.pi * np.arange(length // 2) / length
    turned = odd * np.exp(1j * angle).astype(np.complex64)
    return np.concatenate([even + turned, even - turned], axis=-1)


def convolve_by_fft(linear: Linear) -> Float32:
    """Return a convolution without bias: spectra multiplied and added over the channels, in float32."""
    facts = linear.attributes
    groups, pads, rank = int(facts["group"]), facts["pads"], linear.w.ndim - 2
    x, w = linear.x.astype(np.float32), linear.w.astype(np.float32)
    kernel = [d * (k - 1) + 1 for k, d in zip(facts["kernel_shape"], facts["dilations"], strict=True)]
    sides = [(pads[a], pads[a + rank]) for a in range(rank)]
    full = [x.shape[2 + a] + sum(sides[a]) for a in range(rank)]
    grid = [1 << (n - 1).bit_length() for n in full]
    axes = range(-rank, 0)
    here: tuple[Any, ...] = (..., *(slice(b, b + x.shape[2 + a]) for a, (b, _) in enumerate(sides)))
    spread: tuple[Any, ...] = (..., *map(slice, [0] * rank, kernel, facts["dilations"]))
    plane, taps = np.zeros((*x.shape[:2], *grid), np.complex64), np.zeros((*w.shape[:2], *grid), np.complex64)
    plane[here], taps[spread] = x, w
    for axis in axes:
        plane, taps = fourier(plane, axis), fourier(taps, axis)
    plane = plane.reshape(x.shape[0], groups, -1, *grid)
    taps = np.conj(taps).reshape(groups, -1, w.shape[1], *grid)
    total = np.zeros((x.shape[0], groups, taps.shape[1], *grid), np.complex64)
    for channel in range(w.shape[1]):
        total = total + plane[:, :, None, channel] * taps[:, :, channel]
    for axis in axes:
        total = fourier(total, axis, inverse=True)
    ends = [n - k + 1 for n, k in zip(full, kernel, strict=True)]
    wanted: tuple[Any, ...] = (..., *map(slice, [0] * rank, ends, facts["strides"]))
    kept = total[wanted]
    return np.ascontiguousarray(kept.real).reshape(x.shape[0], w.shape[0], *kept.shape[3:])


@honest("fp32 fp16 bf16", rung="fft")
def convolution_by_fft(site: Any) -> None:
    """Compute convolutions by FFT in FP32. Honest under FFT."""
    if site.kind != "node" or site.precision not in _FLOATS:
        return
    linear = linear_of(site)
    if linear is None or site.scales or linear.op_type != "Conv" or min(linear.attributes["pads"]) < 0:
        return
    if not (np.isfinite(linear.x).all() and np.isfinite(linear.w).all()):
        return
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        _replace(site, linear, convolve_by_fft(linear))
