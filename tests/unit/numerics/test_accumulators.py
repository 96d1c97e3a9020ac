"""The accumulation bounds against kernels that sum in float32, in many orders, and on modelled tensor cores."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.accumulators import SINGLE, Accumulator, accumulator_of, arch_factor
from pytest_trt.numerics.formats import round_to


def sequential(terms):
    total = np.float32(0)
    for term in terms:
        total = np.float32(total + np.float32(term))
    return float(total)


def pairwise(terms):
    values = terms.astype(np.float32)
    while values.size > 1:
        if values.size % 2:
            values = np.append(values, np.float32(0))
        values = values[::2] + values[1::2]
    return float(values[0])


def tensor_core(terms, products, extra):
    """Align `products` products and the accumulator to the largest exponent, cut, add, cut to 24 bits."""

    def cut(value, exponent):
        step = 2.0 ** (exponent - 23 - extra)
        return np.trunc(value / step) * step

    total = 0.0
    for start in range(0, terms.size, products):
        block = np.append(terms[start : start + products], total)
        top = np.frexp(np.abs(block).max())[1] - 1
        total = float(sum(cut(v, top) for v in block))
        if total:
            step = 2.0 ** (np.frexp(total)[1] - 24)
            total = float(np.trunc(total / step) * step)
    return total


def order_cases(rng, size):
    x = rng.standard_normal(size).astype(np.float16).astype(np.float64)
    w = rng.standard_normal(size).astype(np.float16).astype(np.float64)
    terms = x * w
    yield terms
    yield np.sort(terms)
    yield terms[np.argsort(-np.abs(terms))]
    yield np.abs(terms)


@pytest.mark.parametrize("size", [2, 7, 64, 500])
def test_no_order_of_summation_leaves_the_bound(size):
    rng = np.random.default_rng(size)
    for _ in range(20):
        for terms in order_cases(rng, size):
            exact, magnitude = terms.sum(), np.abs(terms).sum()
            room = SINGLE.error(exact, magnitude, magnitude, size)
            for kernel in (sequential, pairwise):
                assert abs(kernel(terms) - exact) <= room


def test_the_bound_is_nearly_attained():
    """Terms just over half an ulp of the first: every addition loses all it can, on a bound of 1 (0.99 measured)."""
    size = 256
    terms = np.full(size, 2.0**-24 * 1.0001)
    terms[0] = 1.0
    exact, magnitude = terms.sum(), terms.sum()
    worst = abs(sequential(terms) - exact)
    assert 0.95 < worst / float(SINGLE.error(exact, magnitude, magnitude, size)) <= 1.0


@pytest.mark.parametrize(("sm", "products", "extra"), [(70, 4, 0), (80, 8, 1), (90, 16, 2), (75, 4, 0)])
def test_modelled_tensor_cores_stay_inside_their_row(sm, products, extra):
    rng = np.random.default_rng(sm)
    for size in (8, 64, 300):
        for terms in order_cases(rng, size):
            exact, magnitude = terms.sum(), np.abs(terms).sum()
            room = accumulator_of("fp16", sm).error(exact, magnitude, magnitude, size)
            assert abs(tensor_core(terms, products, extra) - exact) <= room


@pytest.mark.parametrize("size", [8, 64, 500])
def test_errors_of_random_sums_have_the_deviation_that_is_promised(size):
    """Products in float32, summed one by one: the root mean square of z is near 1 and no sum strays beyond 8 sigma."""
    rng = np.random.default_rng(size)
    z = []
    for _ in range(300):
        x, w = (rng.standard_normal(size).astype(np.float32) for _ in "xw")
        exact = x.astype(np.float64) * w
        sigma, bias = SINGLE.deviation(exact.sum(), np.square(exact).sum(), size)
        z.append((sequential(x * w) - exact.sum()) / sigma)
        assert not np.any(bias)
    assert 0.4 < np.sqrt(np.mean(np.square(z))) < 1.5
    assert np.abs(z).max() < 8


def test_truncation_adds_a_bias_towards_zero():
    truncating = Accumulator(factor=1.0)
    plain, none = SINGLE.deviation(np.float64(100.0), np.float64(50.0), 200)
    cut, bias = truncating.deviation(np.float64(100.0), np.float64(50.0), 200)
    read, more = truncating.deviation(np.float64(100.0), np.float64(50.0), 200, reading=2.0**-9)
    assert plain < cut < read and none == 0 < bias < more


def test_unknown_architectures_take_the_worst_row():
    assert arch_factor(None, "fp16") == arch_factor(75, "fp16") == 3.0
    assert arch_factor(80, "fp16") == 1.375
    assert arch_factor(80, "tf32") == 1.75
    assert arch_factor(90, "fp16") == 1.0
    assert arch_factor(90, "fp32") is None


def test_the_certificate_asks_for_every_partial_sum_to_fit():
    magnitude = np.array([2.0**24, 2.0**24 + 1])
    assert SINGLE.certified(magnitude, 0).tolist() == [True, False]
    assert SINGLE.certified(magnitude, 1).tolist() == [True, True]
    assert SINGLE.certified(magnitude, None).all()


@pytest.mark.parametrize("size", [2, 30, 200])
def test_sums_kept_in_fp16_stay_inside_their_bound(size):
    """Products rounded to FP16 and added in FP16, one after the other; and FMAs, which round once."""
    rng = np.random.default_rng(size)
    keep = accumulator_of("fp16", None, accumulate="fp16")
    for _ in range(40):
        x, w = (rng.standard_normal(size).astype(np.float16).astype(np.float64) for _ in "xw")
        total, fused = np.float16(0), np.float16(0)
        for a, b in zip(x, w, strict=True):
            total = np.float16(total + np.float16(a * b))
            fused = np.float16(np.float64(fused) + a * b)
        exact, magnitude = (x * w).sum(), np.abs(x * w).sum()
        room = keep.error(exact, magnitude, magnitude, size)
        likely, bias = keep.deviation(exact, np.square(x * w).sum(), size)
        assert max(abs(float(total) - exact), abs(float(fused) - exact)) <= min(room, 12 * likely + bias)
    assert not keep.certified(np.array([4096.0]), 0) and keep.certified(np.array([2048.0]), 0)
    assert not keep.certified(np.array([1.0]), -25), "below FP16's subnormal numbers"
    assert keep.may_overflow(np.array([60000.0]), 1) is None
    assert keep.may_overflow(np.array([65500.0]), 4).all()


@pytest.mark.parametrize(("sm", "products"), [(90, 32), (89, 16), (None, 16)])
def test_thirteen_fraction_bits_stay_inside_their_bound(sm, products):
    """Sums of e4m3 products on Hopper and Ada: aligned and cut 13 fraction bits below the largest."""
    rng = np.random.default_rng(products)
    keep = accumulator_of("fp16", sm, accumulate="fp8")
    for size in (8, 64, 300):
        for _ in range(20):
            x, w = (round_to(rng.standard_normal(size), "e4m3") for _ in "xw")
            exact, magnitude = (x * w).sum(), np.abs(x * w).sum()
            room = keep.error(exact, magnitude, magnitude, size)
            assert abs(tensor_core(x * w, products, -10) - exact) <= room
    assert keep.certified(np.array([2.0**14]), 0) and not keep.certified(np.array([2.0**14 + 1]), 0)
    assert accumulator_of("fp16", 100, accumulate="fp8").unit == 2.0**-24
