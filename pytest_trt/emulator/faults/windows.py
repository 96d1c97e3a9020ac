"""What convolutions and pools read: the windows of an input, padded and strided; and pools computed from them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def padded(x: NDArray[Any], pads: list[int], fill: float | str = 0.0) -> NDArray[Any]:
    """Return an input with its pads, begins then ends; a negative pad cuts.

    Parameters
    ----------
    x : ndarray, shape (N, C, *size)
    pads : list of int
    fill : float or "edge"
        What lies in the pads: a number, or the nearest value of the input.
    """
    rank = len(pads) // 2
    sides = [(max(0, pads[i]), max(0, pads[i + rank])) for i in range(rank)]
    if any(before or after for before, after in sides):
        widths = [(0, 0), (0, 0), *sides]
        x = np.pad(x, widths, mode="edge") if fill == "edge" else np.pad(x, widths, constant_values=fill)
    if any(pad < 0 for pad in pads):
        ends = zip(x.shape[2:], pads[:rank], pads[rank:], strict=True)
        kept: list[Any] = [slice(None), slice(None)]
        kept += [slice(-min(0, first), n + min(0, last)) for n, first, last in ends]
        x = x[tuple(kept)]
    return x


def windows(x: NDArray[Any], attributes: dict[str, Any], fill: float = 0.0) -> NDArray[Any]:
    """Return the windows of a convolution or pool: shape (N, C, *outputs, *kernel)."""
    kernel, strides, dilations = (attributes[key] for key in ("kernel_shape", "strides", "dilations"))
    rank = len(kernel)
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    whole = padded(x, attributes["pads"], fill)
    view = np.lib.stride_tricks.sliding_window_view(whole, spans, axis=tuple(range(2, 2 + rank)))
    index: list[Any] = [slice(None), slice(None)]
    index += [slice(None, None, s) for s in strides] + [slice(None, None, d) for d in dilations]
    found: NDArray[Any] = view[tuple(index)]
    return found


def columns(x: Float64, attributes: dict[str, Any], fill: float | str = 0.0) -> Float64:
    """Return what each output of a convolution reads: shape (N, C, *kernel, *outputs)."""
    kernel, strides, dilations = (attributes[key] for key in ("kernel_shape", "strides", "dilations"))
    whole = padded(x, attributes["pads"], fill)
    outputs = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(whole.shape[2:], kernel, strides, dilations, strict=True)
    ]
    found = np.empty((*x.shape[:2], *kernel, *outputs))
    for tap in product(*(range(k) for k in kernel)):
        spots = zip(tap, strides, dilations, outputs, strict=True)
        read: list[Any] = [slice(None), slice(None)]
        read += [slice(i * d, i * d + s * (out - 1) + 1, s) for i, s, d, out in spots]
        into: list[Any] = [slice(None), slice(None), *tap]
        found[tuple(into)] = whole[tuple(read)]
    return found


def pool(op_type: str, x: Float64, attributes: dict[str, Any]) -> Float64:
    """Return a MaxPool or AveragePool without `ceil_mode`."""
    axes = tuple(range(-len(attributes["kernel_shape"]), 0))
    if op_type == "MaxPool":
        found: Float64 = windows(x, attributes, -np.inf).max(axis=axes)
        return found
    total: Float64 = windows(x, attributes).sum(axis=axes)
    if attributes.get("count_include_pad"):
        total = total / float(np.prod(attributes["kernel_shape"]))
        return total
    count: Float64 = windows(np.ones_like(x), attributes).sum(axis=axes)
    mean: Float64 = total / count
    return mean
