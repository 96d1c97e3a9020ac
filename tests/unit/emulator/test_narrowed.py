"""A constant that a weakly typed builder takes to 16 bits: rounded, and held at the end of the range."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.constants import narrowed


@pytest.mark.parametrize(
    ("elem", "largest"), [(dtypes.FLOAT16, 65504.0), (dtypes.BFLOAT16, 3.3895313892515355e38)]
)
def test_finite_values_past_the_range_become_its_end_and_others_are_rounded(elem, largest):
    given = np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max, np.inf, np.nan, 1.0], np.float32)
    want = np.array([largest, -largest, np.inf, np.nan, 1.0], np.float32)
    np.testing.assert_array_equal(narrowed(given, elem), want)
    np.testing.assert_array_equal(narrowed(np.float32([0.1]), elem), dtypes.round_to(np.float32([0.1]), elem))
