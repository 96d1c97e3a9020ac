"""Bounds of the algorithms that real libraries choose besides direct summation: split-K, Winograd, FFT.

Their errors are not componentwise in A, the sum of moduli: each has its own magnitude.
"""

from __future__ import annotations

import math

import numpy as np

from pytest_trt.numerics.formats import FORMATS, U32, Float64
from pytest_trt.numerics.linear import Window, windows

# Transforms of Winograd's minimal filtering F(m, 3): Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, 2016.
_INPUT = {
    2: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
    4: np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        float,
    ),
}
_FILTER = {
    2: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], float),
    4: np.array(
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        float,
    ),
}
_OUTPUT = {
    2: np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    4: np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], float),
}
# Additions on the longest path through the transforms, in two dimensions.
_PATH = {2: 16, 4: 26}


def takes_winograd(window: Window) -> bool:
    """Tell whether a convolution is one that Winograd's F(m, 3) computes: 3 x 3, stride 1, no dilation."""
    return window.kernel == (3, 3) and window.strides == (1, 1) and window.dilations == (1, 1)


def winograd_transforms(m: int) -> tuple[Float64, Float64, Float64]:
    """Return B^T (t x t), G (t x 3) and A^T (m x t) of F(m, 3), t = m + 2, for m of 2 or 4."""
    return _INPUT[m], _FILTER[m], _OUTPUT[m]


def winograd_magnitude(x: Float64, weight: Float64, window: Window, groups: int, m: int) -> Float64:
    """Return A_w, (N, M, *out): the sum of moduli that F(m, 3) adds up.

    |A^T| [ sum_c (|G||g||G^T|) o (|B^T||d||B|) ] |A| with the transforms' own moduli (Barabasz, Anderson, Soodhalter,
    Gregg, arXiv 1803.10986). Outputs see whole tiles, so an exact zero may come out non-zero.

    Parameters
    ----------
    x : float64 ndarray (N, C, H, W)
    weight : float64 ndarray (M, C/g, 3, 3)
    """
    back, filt, out_t = (np.abs(t) for t in winograd_transforms(m))
    out = window.output_size(x.shape[2:])
    tiles = tuple(-(-n // m) for n in out)
    step = Window((m + 2, m + 2), (m, m), (1, 1), window.begin, window.end)
    view = windows(np.abs(x), step, tiles)
    batch, channels = x.shape[:2]
    spread = np.einsum("ij,nchwjk,lk->nchwil", back, view, back, optimize=True)
    kernel = np.einsum("ij,ocjk,lk->ocil", filt, np.abs(weight), filt, optimize=True)
    per_in, per_out = channels // groups, weight.shape[0] // groups
    spread = spread.reshape(batch, groups, per_in, *tiles, m + 2, m + 2)
    kernel = kernel.reshape(groups, per_out, per_in, m + 2, m + 2)
    product = np.einsum("ngchwil,gocil->ngohwil", spread, kernel, optimize=True)
    parts = np.einsum("ij,ngohwjk,lk->ngohwil", out_t, product, out_t, optimize=True)
    joined = parts.transpose(0, 1, 2, 3, 5, 4, 6).reshape(batch, weight.shape[0], tiles[0] * m, tiles[1] * m)
    return np.asarray(joined[:, :, : out[0], : out[1]])


def winograd_error(
    x: Float64, weight: Float64, magnitude: Float64, window: Window, groups: int, kind: str
) -> Float64:
    """Return the bound on the error of F(2, 3) or F(4, 3), whichever is larger.

    u (C + T + 2)(A_w + A), T the additions on a path; where tiles are stored in 16 bits, 2.1 * 2**-11 A_w more for F(2, 3),
    which is the only one that libraries run so.
    """
    channels = weight.shape[1]
    total: Float64 | None = None
    for m in (2, 4):
        spread = winograd_magnitude(x, weight, window, groups, m)
        error = U32 * (channels + _PATH[m] + 2) * (spread + magnitude)
        if kind in ("fp16", "bf16") and m == 2:
            error = error + 2.1 * FORMATS[kind].roundoff * spread
        total = error if total is None else np.maximum(total, error)
    assert total is not None
    return total


def fft_error(x: Float64, weight: Float64, magnitude: Float64, groups: int) -> Float64:
    """Return the bound on the error of a convolution by FFT: normwise, every output sees the whole plane.

    u (3 log2(HW) + C) sum_c |x_c|_2 |w_c|_2 + 3 u A. The constant is a safe empirical one, not proved.
    """
    batch, channels = x.shape[:2]
    plane = math.prod(x.shape[2:])
    per_in, per_out = channels // groups, weight.shape[0] // groups
    norm_x = np.sqrt((x.reshape(batch, groups, per_in, -1) ** 2).sum(axis=-1))
    norm_w = np.sqrt((weight.reshape(groups, per_out, per_in, -1) ** 2).sum(axis=-1))
    total = np.einsum("ngc,goc->ngo", norm_x, norm_w).reshape(batch, weight.shape[0])
    total = total.reshape(*total.shape, *(1,) * (x.ndim - 2))
    return np.asarray(U32 * (3 * math.log2(max(plane, 2)) + weight.shape[1]) * total + 3 * U32 * magnitude)


def split_error(magnitude: Float64, kind: str, terms: int) -> Float64:
    """Return what 16-bit partial sums cost: each is rounded once, and their moduli add up to at most A.

    There are as many parts as terms at most, and each may be subnormal.
    """
    return FORMATS[kind].roundoff * magnitude + terms / 2 * FORMATS[kind].quantum
