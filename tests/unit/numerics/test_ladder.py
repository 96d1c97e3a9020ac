"""The bounds of other algorithms against float32 implementations of them: inside their own rung, outside the direct one."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.accumulators import SINGLE, Accumulator
from pytest_trt.numerics.ladder import (
    fft_error,
    split_error,
    takes_winograd,
    winograd_error,
    winograd_transforms,
)
from pytest_trt.numerics.linear import Window, columns, windows

WINDOW = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))


def winograd(x, w, m):
    """F(m, 3) in float32."""
    back, filt, out_t = (t.astype(np.float32) for t in winograd_transforms(m))
    out = WINDOW.output_size(x.shape[2:])
    tiles = tuple(-(-n // m) for n in out)
    step = Window((m + 2, m + 2), (m, m), (1, 1), (1, 1), (1, 1))
    view = windows(x, step, tiles).astype(np.float32)
    spread = np.einsum("ij,nchwjk,lk->nchwil", back, view, back).astype(np.float32)
    kernel = np.einsum("ij,ocjk,lk->ocil", filt, w.astype(np.float32), filt).astype(np.float32)
    product = np.einsum("nchwil,ocil->nohwil", spread, kernel).astype(np.float32)
    parts = np.einsum("ij,nohwjk,lk->nohwil", out_t, product, out_t).astype(np.float32)
    joined = parts.transpose(0, 1, 2, 4, 3, 5).reshape(x.shape[0], w.shape[0], tiles[0] * m, tiles[1] * m)
    return joined[:, :, : out[0], : out[1]].astype(np.float64)


@pytest.mark.parametrize("m", [2, 4])
def test_the_transforms_compute_a_convolution(m):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 7, 6)), rng.standard_normal((3, 2, 3, 3))
    assert np.allclose(winograd(x, w, m), columns(x, WINDOW, 1).times(w), atol=1e-4)


@pytest.mark.parametrize("m", [2, 4])
def test_winograd_is_admitted_by_its_rung_and_refused_by_the_direct_one(m):
    rng = np.random.default_rng(m)
    refused = 0
    for _ in range(10):
        x = rng.standard_normal((2, 8, 10, 10)) * 2.0 ** rng.integers(-3, 4, (2, 8, 10, 10))
        w = rng.standard_normal((4, 8, 3, 3))
        exact = columns(x, WINDOW, 1).times(w)
        magnitude = columns(np.abs(x), WINDOW, 1).times(np.abs(w))
        gap = np.abs(winograd(x, w, m) - exact)
        direct = Accumulator(rounds_products=True).error(exact, magnitude, magnitude, 72)
        assert (gap <= direct + winograd_error(x, w, magnitude, WINDOW, 1, "fp32")).all()
        refused += bool((gap > direct).any())
    assert refused or m == 2


def test_an_impulse_shows_winograd_as_a_zero_that_is_none():
    rng = np.random.default_rng(5)
    x = np.zeros((1, 1, 8, 8))
    x[0, 0, 4, 4] = 1.0
    w = rng.standard_normal((1, 1, 3, 3))
    leaked = winograd(x, w, 4)[columns(x, WINDOW, 1).times(w) == 0]
    assert (leaked != 0).any()


def test_fft_is_admitted_by_its_rung():
    rng = np.random.default_rng(7)
    x, w = rng.standard_normal((1, 4, 12, 12)), rng.standard_normal((3, 4, 3, 3))
    exact = columns(x, WINDOW, 1).times(w)
    magnitude = columns(np.abs(x), WINDOW, 1).times(np.abs(w))
    fast = np.zeros_like(exact)
    size = (16, 16)
    for m in range(3):
        spectrum = sum(
            np.fft.rfft2(np.pad(x[0, c], 1).astype(np.float32), size).astype(np.complex64)
            * np.conj(np.fft.rfft2(w[m, c].astype(np.float32), size)).astype(np.complex64)
            for c in range(4)
        )
        fast[0, m] = np.fft.irfft2(spectrum, size).astype(np.float32)[:12, :12]
    gap = np.abs(fast - exact)
    direct = Accumulator(rounds_products=True).error(exact, magnitude, magnitude, 36)
    assert (gap <= direct + fft_error(x, w, magnitude, 1)).all()


def test_16_bit_partial_sums_are_admitted_by_split_k():
    rng = np.random.default_rng(9)
    terms = (rng.standard_normal((200, 256)) * rng.standard_normal((200, 256))).astype(np.float16)
    exact = terms.astype(np.float64).sum(axis=1)
    magnitude = np.abs(terms.astype(np.float64)).sum(axis=1)
    partial = terms.astype(np.float32).reshape(200, 8, 32).sum(axis=2).astype(np.float16)
    got = partial.astype(np.float32).sum(axis=1).astype(np.float64)
    direct = SINGLE.error(exact, magnitude, magnitude, 256)
    assert (np.abs(got - exact) > direct).any()
    assert (np.abs(got - exact) <= direct + split_error(magnitude, "fp16", 256)).all()


def test_only_three_by_three_at_stride_one_is_winograd():
    assert takes_winograd(WINDOW)
    assert not takes_winograd(Window((3, 3), (2, 1), (1, 1), (1, 1), (1, 1)))
    assert not takes_winograd(Window((3,), (1,), (1,), (1,), (1,)))
