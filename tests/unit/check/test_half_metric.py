"""The deviation ratio: the FAQ's formula, and every case that it leaves open decided by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.check.half_metric import find_deviating, measure_deviation
from pytest_trt.errors import UsageError

INF, NAN = np.inf, np.nan
TINY = 2.0**-24


def ratio(got, want, **options):
    return measure_deviation(np.asarray(got, np.float32), np.asarray(want, np.float32), **options).ratio


def test_the_ratio_is_the_share_of_elements_more_than_a_tenth_off():
    found = measure_deviation(np.array([1.0, 1.2, -0.8, 2.0]), np.array([1.0, 1.0, -1.0, 2.0]))
    assert (found.deviating, found.total, found.ratio) == (2, 4, 0.5)


def test_a_tenth_itself_does_not_deviate():
    want = np.array([10.0, 10.0, -10.0])
    got = np.array([11.0, np.nextafter(11.0, 12.0), -9.0])
    assert find_deviating(got, want, atol=0.0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("got", "want", "deviates"),
    [
        (0.0, 0.0, False),
        (TINY, 0.0, False),
        (2 * TINY, 0.0, True),
        (-2 * TINY, -0.0, True),
        (0.0, 1.0, True),
        (0.0, 1e-30, True),
        (INF, 1.0, True),
        (NAN, 1.0, True),
        (NAN, NAN, False),
        (1.0, NAN, True),
        (INF, NAN, True),
        (INF, INF, False),
        (-INF, INF, True),
        (65504.0, INF, True),
        (NAN, INF, True),
        (NAN, 0.0, True),
        (INF, 0.0, True),
    ],
)
def test_zeros_infinities_and_nan_are_decided_by_name(got, want, deviates):
    assert ratio([got], [want]) == float(deviates)


def test_the_floor_at_zero_is_the_smallest_number_of_the_type():
    assert ratio([1e-30], [0.0], precision="fp16") == 0
    assert ratio([1e-30], [0.0], precision="bf16") == 1
    assert ratio([1e-30], [0.0], atol=0.0) == 1
    assert ratio([1.0], [0.0], atol=2.0) == 0


def test_lost_values_and_zeros_are_counted_apart():
    found = measure_deviation(np.array([INF, NAN, NAN, 1.0, 0.0]), np.array([1.0, 0.0, NAN, 0.0, 0.0]))
    assert (found.deviating, found.lost, found.zeros, found.total) == (3, 2, 2, 5)


def test_companions_of_the_ratio_have_their_units():
    want = np.array([1.0, 1.0, 1.0, 1.0])
    found = measure_deviation(want + np.array([0, 0, 2.0**-10, 3 * 2.0**-10]), want)
    assert found.relative_rms == pytest.approx(np.sqrt(10 / 4) * 2.0**-10)
    assert found.sqnr_db == pytest.approx(-20 * np.log10(found.relative_rms))
    assert (found.ulp_median, found.ulp_max) == (0.5, 3.0) and 2.9 < found.ulp_99 < 3.0
    coarse = measure_deviation(want + 2.0**-7, want, "bf16")
    assert coarse.ulp_max == 1.0


def test_equal_tensors_and_silent_ones_have_no_finite_sqnr():
    assert measure_deviation(np.zeros(3), np.zeros(3)).sqnr_db == INF
    assert measure_deviation(np.ones(3), np.zeros(3)).sqnr_db == -INF
    lost = measure_deviation(np.full(2, NAN), np.ones(2))
    assert (lost.ulp_max, lost.relative_rms, lost.lost) == (0.0, 0.0, 2)


def test_the_difference_of_two_large_numbers_does_not_overflow():
    largest = np.finfo(np.float32).max
    assert ratio([-largest], [largest]) == 1


def test_nothing_is_broadcast_and_nothing_is_no_pass():
    with pytest.raises(UsageError, match=r"got has shape \(2,\), want \(1, 2\)"):
        measure_deviation(np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(UsageError, match="nothing was compared"):
        measure_deviation(np.zeros((0, 2)), np.zeros((0, 2)))


finite = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


@given(st.lists(finite, min_size=1, max_size=30))
def test_a_cast_alone_makes_no_normal_number_deviate(values):
    want = np.array(values, np.float32)
    normal = (want == 0) | (np.abs(want) >= 2.0**-14)
    assert not find_deviating(want.astype(np.float16), want, atol=TINY)[normal].any()


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=20), st.integers(-8, 8))
def test_a_power_of_two_and_the_sign_do_not_matter(pairs, power):
    got, want = np.array(pairs).T
    want = np.where(want == 0, 1.0, want)
    mask = find_deviating(got, want, atol=0.0)
    scale = -(2.0**power)
    assert np.array_equal(find_deviating(scale * got, scale * want, atol=0.0), mask)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=20))
def test_a_relu_makes_nothing_deviate(pairs):
    got, want = np.array(pairs).T
    before = find_deviating(got, want, atol=TINY)
    after = find_deviating(np.maximum(got, 0), np.maximum(want, 0), atol=TINY)
    assert not (after & ~before).any()
