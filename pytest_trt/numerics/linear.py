"""Convolution, transposed convolution and pooling windows in numpy, for any number of spatial axes.

They are the second, independent reference: float64, im2col and BLAS, nothing shared with ONNX Runtime.
Layouts are ONNX's: data (N, C, *S), Conv weights (M, C/g, *K), ConvTranspose weights (C, M/g, *K).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from pytest_trt.numerics.formats import Float64


@dataclass(frozen=True)
class Window:
    """Geometry of a sliding window over spatial axes: one entry an axis.

    `begin` and `end` are the pads; `extra` is output padding (transposed convolution only).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    extra: tuple[int, ...] = ()

    def span(self, axis: int) -> int:
        """Return how many input positions the dilated kernel covers on an axis."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def output_size(self, size: Sequence[int], *, ceil: bool = False) -> tuple[int, ...]:
        """Return the spatial output shape for a spatial input shape (ONNX Conv and pooling operators)."""
        out = []
        for axis, length in enumerate(size):
            room = length + self.begin[axis] + self.end[axis] - self.span(axis)
            count = room // self.strides[axis] + 1
            if ceil:
                count = math.ceil(room / self.strides[axis]) + 1
                # A window that starts in the end padding is dropped (ONNX AveragePool-19, MaxPool-12).
                if (count - 1) * self.strides[axis] >= length + self.begin[axis]:
                    count -= 1
            out.append(count)
        return tuple(out)


def windows(x: Float64, window: Window, out: Sequence[int], fill: float = 0.0) -> Float64:
    """Return a view (N, C, *out, *kernel) of the padded input; positions past the pads hold `fill`."""
    rank = len(window.kernel)
    size = x.shape[2:]
    pads = [(0, 0), (0, 0)]
    for axis in range(rank):
        need = (out[axis] - 1) * window.strides[axis] + window.span(axis)
        pads.append((window.begin[axis], max(0, need - size[axis] - window.begin[axis])))
    padded = x if all(p == (0, 0) for p in pads) else np.pad(x, pads, constant_values=fill)
    steps = padded.strides
    spatial = steps[2:]
    return as_strided(
        padded,
        shape=(*x.shape[:2], *out, *window.kernel),
        strides=(
            *steps[:2],
            *(s * w for s, w in zip(spatial, window.strides, strict=True)),
            *(s * d for s, d in zip(spatial, window.dilations, strict=True)),
        ),
        writeable=False,
    )


def patch_at(x: Any, window: Window, place: Sequence[int]) -> Any:
    """Return what a kernel sees at one output position: (C, *kernel) of x (C, *S), zero on the pads."""
    found = x
    for axis, position in enumerate(place):
        length = x.shape[axis + 1]
        first = position * window.strides[axis] - window.begin[axis]
        index = first + np.arange(window.kernel[axis]) * window.dilations[axis]
        inside = (index >= 0) & (index < length)
        taken = np.take(found, np.clip(index, 0, length - 1), axis=axis + 1)
        shape = (-1,) + (1,) * (x.ndim - axis - 2)
        found = taken * inside.reshape(shape)
    return found


@dataclass(frozen=True)
class Columns:
    """Input of a convolution as matrices: `data` is (N, G, C/g * prod(kernel), prod(out))."""

    data: Float64
    out: tuple[int, ...]

    def times(self, weight: Float64) -> Float64:
        """Return the convolution with weights (M, C/g, *K), as (N, M, *out)."""
        batch, groups = self.data.shape[:2]
        filters = weight.shape[0]
        with np.errstate(invalid="ignore", over="ignore"):
            product = np.matmul(weight.reshape(groups, filters // groups, -1), self.data)
        return np.asarray(product.reshape(batch, filters, *self.out))


def columns(x: Float64, window: Window, groups: int) -> Columns:
    """Return the im2col matrices of an input (N, C, *S)."""
    out = window.output_size(x.shape[2:])
    view = windows(x, window, out)
    batch, channels = x.shape[:2]
    rank = len(out)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    inner = channels // groups * math.prod(window.kernel)
    return Columns(view.transpose(order).reshape(batch, groups, inner, math.prod(out)), out)


def conv_transpose(x: Float64, weight: Float64, window: Window, groups: int) -> Float64:
    """Return the transposed convolution (N, M, *out) of x (N, C, *S) with weights (C, M/g, *K)."""
    batch, channels = x.shape[:2]
    size = x.shape[2:]
    rank = len(size)
    per_group = weight.shape[1]
    full = tuple(
        (size[a] - 1) * window.strides[a] + window.span(a) + (window.extra[a] if window.extra else 0)
        for a in range(rank)
    )
    y = np.zeros((batch, groups, per_group, *full))
    flat = x.reshape(batch, groups, channels // groups, -1)
    kernels = weight.reshape(groups, channels // groups, per_group, -1)
    with np.errstate(invalid="ignore", over="ignore"):
        for position, offset in enumerate(np.ndindex(*window.kernel)):
            part = np.matmul(kernels[..., position].transpose(0, 2, 1)[None], flat)
            place: tuple[Any, ...] = (
                ...,
                *(
                    slice(
                        offset[a] * window.dilations[a],
                        offset[a] * window.dilations[a] + (size[a] - 1) * window.strides[a] + 1,
                        window.strides[a],
                    )
                    for a in range(rank)
                ),
            )
            y[place] += part.reshape(batch, groups, per_group, *size)
    crop: tuple[Any, ...] = (..., *(slice(window.begin[a], full[a] - window.end[a]) for a in range(rank)))
    return np.asarray(y.reshape(batch, groups * per_group, *full)[crop])


def transposed_terms(window: Window, channels_per_group: int) -> int:
    """Return the largest number of products that one output of a transposed convolution sums."""
    taps = 1
    for axis, kernel in enumerate(window.kernel):
        step = window.strides[axis] // math.gcd(window.strides[axis], window.dilations[axis])
        taps *= -(-kernel // step)
    return channels_per_group * taps
