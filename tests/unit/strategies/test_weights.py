from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.precision.int8 import weight_scales
from pytest_trt.strategies.weights import Weights


@pytest.mark.parametrize("fan_in", [1, 9, 512, 1024])
def test_integers_are_never_zero_and_their_sums_are_exact_in_fp16(fan_in):
    array = Weights("int", 3).draw((8, fan_in), fan_in)
    assert np.array_equal(array, np.rint(array)) and np.all(array != 0)
    assert np.abs(array).max() <= 7 and np.abs(array).sum(axis=1).max() <= 2048


def test_integers_are_odd_and_even():
    array = Weights("int", 0).draw((64,), 9)
    assert set(np.unique(np.abs(array) % 2)) == {0, 1}


@pytest.mark.parametrize("shape, axis", [((5, 3, 3), 0), ((4, 6, 2), 1), ((7, 3), 1), ((1, 1), 0)])
def test_grid_weights_have_int8_scales_that_are_powers_of_two(shape, axis):
    array = Weights("grid", 1).draw(shape, 9, axis=axis)
    assert weight_scales(array, axis).tolist() == [2.0**-7] * shape[axis]
    assert np.array_equal(array * 128, np.rint(array * 128)) and np.all(array != 0)


def test_real_weights_keep_the_variance_of_their_input():
    array = Weights("real", 0).draw((100, 50), 50)
    assert np.std(array) == pytest.approx(np.sqrt(2 / 50), rel=0.05)


@pytest.mark.parametrize("kind", ["int", "real", "grid"])
def test_everything_is_float32_and_repeats_by_seed(kind):
    first, second, other = Weights(kind, 5), Weights(kind, 5), Weights(kind, 6)
    for make in (lambda w: w.draw((3, 4), 4), lambda w: w.bias((9,)), lambda w: w.positive((9,))):
        a, b, c = make(first), make(second), make(other)
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_biases_are_never_zero():
    for kind in ("int", "grid", "real"):
        assert np.all(Weights(kind, 2).bias((200,)) != 0)


def test_variances_are_positive():
    for kind in ("int", "real"):
        assert np.all(Weights(kind, 2).positive((200,)) > 0)


@pytest.mark.parametrize("kind, step", [("int", 1.0), ("grid", 0.125), ("real", None)])
def test_biases_before_an_activation_stay_within_their_limit(kind, step):
    limit = np.array([0.01, 0.5, 3.0, 100.0])
    got = Weights(kind, 4).bias_within(limit)
    assert np.all(np.abs(got) <= limit) and got.dtype == np.float32
    if step:
        assert np.array_equal(got / step, np.rint(got / step))
