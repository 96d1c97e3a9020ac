from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.errors import SettingsError
from pytest_trt.numerics.battery import Scale, draw, kinds_for
from pytest_trt.numerics.formats import is_representable
from pytest_trt.records import DATA_KINDS, PRECISIONS

SHAPE = (3, 4, 5, 6)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", DATA_KINDS)
def test_every_value_is_a_number_of_the_precision(kind, precision):
    values = draw(kind, SHAPE, precision, Scale(36.0, 6.0, 127 / 128), np.random.default_rng(0))
    assert values.shape == SHAPE
    assert is_representable(values, "fp32" if precision == "int8" else precision)
    assert np.any(values != 0)


@pytest.mark.parametrize("kind", DATA_KINDS)
def test_the_same_seed_gives_the_same_data(kind):
    one, two = (draw(kind, SHAPE, "fp16", Scale(), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(one, two, equal_nan=True)


def test_small_integers_keep_their_sums_exact_in_fp16():
    scale = Scale(gain=300.0, spread=20.0)
    values = draw("int_small", SHAPE, "fp16", scale, np.random.default_rng(0))
    assert np.abs(values).max() * scale.gain <= 2048


def test_special_data_hold_every_special_value():
    values = draw("special", SHAPE, "fp32", Scale(), np.random.default_rng(0))
    assert np.isnan(values).sum() == 1 and np.isposinf(values).sum() == 1 and np.isneginf(values).sum() == 1


def test_int8_ties_lie_halfway_between_levels_where_the_scale_is_a_power_of_two():
    values = draw("int_ties", SHAPE, "int8", Scale(amax=127 / 128), np.random.default_rng(0))
    assert np.all(np.abs(values * 128 % 1) == 0.5)
    values = draw("int_ties", SHAPE, "int8", Scale(amax=1.0), np.random.default_rng(0))
    assert np.allclose(np.abs(values * 127 % 1 - 0.25), 0.0, atol=1e-4)


def test_big_data_overflow_fp16_and_saturate_int8():
    assert np.abs(draw("big", SHAPE, "fp16", Scale(100.0, 10.0), np.random.default_rng(0))).max() > 6000
    assert np.abs(draw("big", SHAPE, "int8", Scale(amax=2.0), np.random.default_rng(0))).max() > 4


def test_nan_has_no_integer():
    assert "special" not in kinds_for("int8", DATA_KINDS)
    assert kinds_for("fp16", DATA_KINDS) == DATA_KINDS


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="no data kind 'gauss'"):
        draw("gauss", SHAPE, "fp32", Scale(), np.random.default_rng(0))
