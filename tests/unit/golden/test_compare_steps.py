"""How far the neighbour of a value is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.golden.compare import compare_outputs
from pytest_trt.golden.record import BENIGN, DRIFT
from pytest_trt.golden.steps import find_level, step_sizes
from pytest_trt.numerics.bounds import Bound

from .errors import NOW, golden, limit, reference


def test_a_step_is_that_of_the_type_at_the_usual_size_of_a_channel():
    mid = np.ones((4, 2, 8)) * np.array([1.5, 1536.0])[None, :, None]
    mid[0, 1, 0] = 1e-6
    assert set(np.unique(step_sizes(limit(mid)))) == {2.0**-23, 2.0**-13}
    assert step_sizes(replace(limit(mid), kind="fp16"))[0, 0, 0] == 2.0**-10
    mid[0, 0, 0] = 1e6
    assert step_sizes(limit(mid))[0, 0, 0] == 2.0**-4


def test_channels_of_few_elements_have_the_size_of_the_output():
    mid = np.full((1, 100), 6.0)
    mid[0, 0] = 1e-6
    assert step_sizes(limit(mid))[0, 0] == 2.0**-21


@pytest.mark.parametrize("fields", [{"scale": np.array(0.5)}, {"kind": "int8"}])
def test_levels_and_integers_have_their_own(fields):
    step = step_sizes(replace(limit(reference()), **fields))
    assert np.all(step == fields.get("scale", 1.0))


def test_not_finite_values_and_empty_outputs_have_steps():
    mid = np.array([1.0, np.nan, np.inf])
    with np.errstate(invalid="ignore"):
        assert np.isfinite(step_sizes(Bound.exact(mid, "fp32"))).all()
    assert step_sizes(limit(np.zeros((0, 3)))).shape == (0, 3)


def test_the_levels_of_a_quantized_output_are_found():
    scale = float(np.float32(0.00942266))
    values = (np.arange(-128, 128) * np.float32(scale)).astype(np.float32).astype(np.float64)
    assert find_level(values) == pytest.approx(scale, rel=1e-6)
    assert find_level(values[::-1].reshape(16, 16)) == pytest.approx(scale, rel=1e-6)
    assert find_level(values[100:105]) == 0  # too few to tell
    assert find_level(values + scale / 3) == 0
    assert all(find_level(reference((n,), seed)) == 0 for n in (8, 60, 2000) for seed in range(50))


def test_a_sum_at_a_tie_may_go_to_either_level():
    """A few elements of an INT8 output may be either of two levels; nothing else may change at all."""
    scale = 0.25
    mid = np.random.default_rng(0).integers(-50, 50, (2, 4, 8)) * scale
    high = mid.copy()
    high[1, 2:] += scale
    limits = {"y": Bound(mid, mid, high, "fp32")}
    old = mid.astype(np.float32)
    new = old.copy()
    new[1, 2, 3] += scale
    assert compare_outputs(golden(y=old), golden(NOW, y=new), limits).outcome == BENIGN


def test_levels_excuse_no_error_where_the_limit_admits_no_other_level():
    """Values on a grid in float32 arithmetic, such as means of few integers: their errors are compared as any others."""
    mid = np.random.default_rng(0).integers(-50, 50, (4, 8, 16)) * 0.25
    errors = np.random.default_rng(1).standard_normal((2, *mid.shape)) * 2.0**-10
    limits = {"y": limit(mid, 0.2)}
    old, new = ((mid + error).astype(np.float32) for error in (errors[0], 2 * errors[1]))
    assert compare_outputs(golden(y=old), golden(NOW, y=new), limits).outcome == DRIFT
