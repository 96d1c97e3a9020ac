from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.bounds import Bound, widen
from pytest_trt.numerics.judge import measure, measure_slices


def test_values_inside_are_counted_and_those_with_one_value_too():
    bound = Bound(np.zeros(3), np.array([0.0, -1.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    found = measure(np.array([-0.0, 0.5, 0.0]), bound)
    assert (found.total, found.judged, found.certified, found.bad) == (3, 3, 2, 0)


def test_the_worst_value_is_told_with_its_interval():
    bound = widen(Bound.exact(np.zeros((2, 3)), "fp32"), 0.5)
    got = np.zeros((2, 3))
    got[0, 1], got[1, 2] = 0.6, -3.0
    found = measure(got, bound)
    assert (found.bad, found.index, found.got, found.low, found.high) == (2, (1, 2), -3.0, -0.5, 0.5)
    assert found.cause == "interval"


def test_a_certified_value_that_is_off_is_told_as_such():
    assert measure(np.array([1.0]), Bound.exact(np.zeros(1), "fp32")).cause == "certificate"


@pytest.mark.parametrize(("want", "got", "bad"), [(np.nan, np.nan, 0), (np.nan, 0.0, 1), (0.0, np.nan, 1)])
def test_nan_is_required_where_the_reference_has_it_and_nowhere_else(want, got, bad):
    found = measure(np.array([got]), Bound.exact(np.array([want]), "fp32"))
    assert found.bad == bad
    assert not bad or found.cause == "nan"


def test_infinities_are_values():
    bound = Bound.exact(np.array([np.inf, -np.inf]), "fp16")
    assert measure(np.array([np.inf, -np.inf]), bound).bad == 0
    assert measure(np.array([65504.0, -np.inf]), bound).bad == 1


def test_nothing_is_promised_on_loose_elements():
    bound = Bound(np.zeros(2), np.zeros(2), np.zeros(2), loose=np.array([True, False]))
    found = measure(np.array([np.nan, 0.0]), bound)
    assert (found.bad, found.judged, found.certified) == (0, 1, 1)


def statistical(size=400):
    mid = np.ones((4, 10, size // 40)) * 3.0
    bound = widen(Bound.exact(mid, "fp32"), 1e-3)
    bound.sigma, bound.bias = np.full(mid.shape, 1e-5), np.zeros(mid.shape)
    return bound


def test_random_errors_of_the_known_size_are_no_news():
    bound = statistical()
    noise = np.random.default_rng(0).normal(0, 1e-5, bound.mid.shape)
    found = measure_slices(bound.mid + noise, bound)
    assert (found.bad, found.judged) == (0, 400)


def test_a_channel_whose_errors_are_too_large_together_is_told():
    bound = statistical()
    got = bound.mid.copy()
    got[:, 4] += 5e-5
    found = measure_slices(got, bound)
    assert found.cause == "slices" and found.bad == got[:, 4].size
    assert found.pattern.startswith("4th channel only")


def test_nothing_is_said_without_a_deviation_or_about_certified_elements():
    bound = statistical()
    assert measure_slices(bound.mid, Bound.exact(bound.mid, "fp32")) is None
    bound.low = bound.high = bound.mid
    assert measure_slices(bound.mid, bound) is None


def test_a_sum_that_may_overflow_may_be_infinite_or_nan_but_not_another_number():
    zeros = np.zeros(4)
    bound = Bound(zeros, zeros, zeros, "fp16", overflow=np.array([True, True, True, False]))
    found = measure(np.array([np.inf, np.nan, 1.0, np.inf]), bound)
    assert found.bad == 2 and found.certified == 1 and found.judged == 1
