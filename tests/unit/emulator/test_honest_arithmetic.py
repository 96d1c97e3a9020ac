"""The models of tensor cores, fused multiply-adds and FP16 accumulators equal scalar ones in exact fractions, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pytest_trt.emulator.faults.honest.cores import tensor_core_sum, toward_zero
from pytest_trt.emulator.faults.honest.half import half_chain, half_tiles
from pytest_trt.emulator.faults.honest.sums import _fma_chain, fused_multiply_add
from pytest_trt.emulator.faults.honest.terms import Terms

FP32 = (24, -126)
FP16 = (11, -14)


def exponent(value):
    """Floor of the binary logarithm of a positive fraction."""
    found = value.numerator.bit_length() - value.denominator.bit_length()
    return found if Fraction(2) ** found <= value else found - 1


def cut(value, unit):
    """A fraction cut to a multiple of a unit, toward zero."""
    return int(value / unit) * unit


def rounded(value, form):
    """A fraction rounded to a format, ties to even (`round` of a Fraction does that)."""
    if not value:
        return value
    bits, least = form
    unit = Fraction(2) ** (max(exponent(abs(value)), least) - bits + 1)
    return round(value / unit) * unit


def scalar_core(x, w, products, bits):
    total = Fraction(0)
    for start in range(0, len(x), products):
        parts = [a * b for a, b in zip(x[start : start + products], w[start : start + products], strict=True)]
        parts.append(total)
        top = max(map(abs, parts))
        if not top:
            continue
        unit = Fraction(2) ** (exponent(top) - bits)
        total = sum(cut(part, unit) for part in parts)
        if total:
            total = cut(total, Fraction(2) ** (max(exponent(abs(total)), -126) - 23))
    return total


def scalar_fma(x, w, form):
    total = Fraction(0)
    for a, b in zip(x, w, strict=True):
        total = rounded(total + a * b, form)
    return total


def scalar_multiply_add(x, w):
    total = Fraction(0)
    for a, b in zip(x, w, strict=True):
        total = rounded(total + rounded(a * b, FP16), FP16)
    return total


def scalar_tiles(x, w):
    total = Fraction(0)
    for start in range(0, len(x), 16):
        part = total
        for a, b in zip(x[start : start + 16], w[start : start + 16], strict=True):
            part = rounded(part + a * b, FP32)
        total = rounded(part, FP16)
    return total


def operands(kind, count, seed):
    """Two arrays (count, 12) of values of a kind, of very different sizes."""
    rng = np.random.default_rng(seed)
    spread = {"fp16": (-9, 3), "bf16": (-40, 20), "tiny": (-75, -55), "e4m3": (-3, 3), "fp32": (-12, 6)}[kind]
    made = rng.standard_normal((2, count, 12)) * 2.0 ** rng.integers(*spread, (2, count, 12))
    digits = {"fp16": 11, "bf16": 8, "tiny": 8, "e4m3": 4, "fp32": 24}[kind]
    fraction, power = np.frexp(made)
    return np.ldexp(np.rint(fraction * 2.0**digits) / 2.0**digits, power).astype(np.float32)


def terms(x, w):
    return Terms(x[:, :, None], w[:, :, None], None)


def against(compute, scalar, x, w):
    got = compute(terms(x, w)).reshape(-1).astype(np.float64)
    want = [scalar(*([Fraction(float(v)) for v in side[:, i]] for side in (x, w))) for i in range(x.shape[1])]
    assert [Fraction(float(value)) for value in got] == want


CORES = {"v100": (4, 23), "a100": (8, 24), "h100": (16, 25), "a100-tf32": (4, 24), "h100-tf32": (8, 25)}


@pytest.mark.parametrize("kind", ["fp16", "bf16", "tiny"])
@pytest.mark.parametrize("core", CORES)
def test_a_tensor_core_equals_its_scalar_model(core, kind):
    products, bits = CORES[core]
    x, w = operands(kind, 37, seed=products)
    against(
        lambda t: tensor_core_sum(t, products, bits), lambda a, b: scalar_core(a, b, products, bits), x, w
    )


@pytest.mark.parametrize("products", [32, 16])
def test_an_fp8_tensor_core_keeps_13_fraction_bits(products):
    x, w = operands("e4m3", 70, seed=1)
    against(lambda t: tensor_core_sum(t, products, 13), lambda a, b: scalar_core(a, b, products, 13), x, w)


def test_a_tensor_core_loses_what_lies_below_its_fraction_bits():
    x = np.array([[1.0], [2.0**-24], [2.0**-24], [0.0], [0.0]], np.float32)
    one = np.ones_like(x)
    assert tensor_core_sum(terms(x, one), 4, 23) == 1.0
    assert tensor_core_sum(terms(x, one), 8, 24) == 1.0 + 2.0**-23


def test_sums_that_are_infinite_or_nan_stay_so():
    x = np.array([[np.inf, np.nan, np.inf, 1.0], [1.0, 1.0, -np.inf, 1.0]], np.float32)
    with np.errstate(invalid="ignore"):
        got = tensor_core_sum(terms(x, np.ones_like(x)), 4, 23).reshape(-1)
    np.testing.assert_array_equal(got, np.array([np.inf, np.nan, np.nan, 2.0], np.float32))


def test_cutting_knows_subnormals_and_overflow():
    given = np.array(
        [2.0**-149 * 1.75, -(2.0**-126) * (1 + 2.0**-24), 2.0**128, -(2.0**127) * (2 - 2.0**-30)]
    )
    want = [2.0**-149, -(2.0**-126), np.inf, -(2.0**127) * (2 - 2.0**-23)]
    np.testing.assert_array_equal(toward_zero(given), want)


@pytest.mark.parametrize("kind", ["fp32", "fp16", "tiny"])
def test_a_chain_of_fused_multiply_adds_rounds_once_a_step(kind):
    x, w = operands(kind, 30, seed=2)
    against(_fma_chain, lambda a, b: scalar_fma(a, b, FP32), x, w)


def test_a_fused_multiply_add_next_to_a_tie_is_not_rounded_twice():
    # 1 + 2**-24 is a tie; a product beyond float64's last bit decides it.
    b = np.array([2.0**-12 * (1 + 2.0**-23), 2.0**-12, 2.0**-12 * (1 - 2.0**-24)])
    scale = np.array([1.0 - 2.0**-23 + 2.0**-24, 1.0, 1.0 + 2.0**-23]) * 2.0**-12
    want = [float(rounded(Fraction(p) * Fraction(q) + 1, FP32)) for p, q in zip(b, scale, strict=True)]
    np.testing.assert_array_equal(fused_multiply_add(b, scale, np.ones(3)), want)
    tail = Fraction(2.0**-24) + Fraction(2.0**-70)
    far = fused_multiply_add(np.array([1.0]), np.array([2.0**-70]), np.array([1 + 2.0**-24]))
    assert float(far[0]) == float(rounded(1 + tail, FP32)) == 1 + 2.0**-23


@pytest.mark.parametrize("seed", range(3))
def test_fp16_accumulators_equal_their_scalar_models(seed):
    x, w = operands("fp16", 40, seed)
    against(lambda t: half_chain(t, range(t.count)), lambda a, b: scalar_fma(a, b, FP16), x, w)
    against(lambda t: half_chain(t, range(t.count), True), scalar_multiply_add, x, w)
    against(half_tiles, scalar_tiles, x, w)
