from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.errors import UsageError
from pytest_trt.numerics.formats import FORMATS, is_representable, lsb_exponent, round_to, spacing


def test_fp16_overflows_from_65520_and_keeps_subnormals():
    values = np.array([65504.0, 65519.9, 65520.0, 2.0**-24, 2.0**-25, 3 * 2.0**-25])
    assert round_to(values, "fp16").tolist() == [65504.0, 65504.0, np.inf, 2.0**-24, 0.0, 2 * 2.0**-24]


def test_bf16_and_tf32_round_to_even_like_a_cut_of_float32():
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(20_000) * 2.0 ** rng.integers(-140, 127, 20_000)).astype(np.float32)
    for name, drop in (("bf16", 16), ("tf32", 13)):
        bits = values.view(np.uint32).astype(np.uint64)
        half, odd = 1 << (drop - 1), (bits >> drop) & 1
        want = ((bits + half - 1 + odd) >> drop << drop).astype(np.uint32).view(np.float32)
        # Subnormals of float32 are rounded on the format's own grid, which is the same cut.
        assert np.array_equal(round_to(values.astype(np.float64), name), want.astype(np.float64)), name


def test_special_values_pass_through():
    values = np.array([np.nan, np.inf, -np.inf, -0.0])
    for name in (name for name, form in FORMATS.items() if not form.saturates):
        rounded = round_to(values, name)
        assert np.isnan(rounded[0]) and rounded[1] == np.inf and rounded[2] == -np.inf
        assert np.signbit(rounded[3])


def test_fp64_is_not_rounded_and_an_unknown_format_is_refused():
    values = np.array([1 / 3])
    assert round_to(values, "fp64") is values
    with pytest.raises(UsageError, match="no number format 'fp12'"):
        round_to(values, "fp12")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_spacing_is_the_gap_to_the_next_number(name):
    one = np.array([1.0, 1.5, 2.0])
    assert spacing(one, name).tolist() == [2 * FORMATS[name].roundoff] * 2 + [4 * FORMATS[name].roundoff]


def test_lsb_is_the_largest_common_power_of_two():
    assert lsb_exponent(np.array([3.0, 0.0, 12.0])) == 0
    assert lsb_exponent(np.array([0.75, -2.5])) == -2
    assert lsb_exponent(np.array([8.0, 24.0, np.nan, np.inf])) == 3
    assert lsb_exponent(np.zeros(3)) is None
    assert lsb_exponent(np.array([5e-324])) == -1074


def test_representable_numbers_are_recognised():
    assert is_representable(np.array([1.0, np.nan, 0.5]), "fp16")
    assert not is_representable(np.array([1 + 2.0**-12]), "fp16")


def test_e4m3_saturates_and_has_subnormal_numbers():
    """OCP 8-bit floating point: 448 is the largest, 2**-9 the smallest, steps of 1/8 above 1."""
    given = np.array([np.inf, 500.0, -1e9, 464.0, 1.0625, 1.1, 2.0**-10, 1.5 * 2.0**-9, np.nan])
    want = [448.0, 448.0, -448.0, 448.0, 1.0, 1.125, 0.0, 2.0**-8, np.nan]
    assert np.array_equal(round_to(given, "e4m3"), want, equal_nan=True)
