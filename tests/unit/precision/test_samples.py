"""What a set of calibration samples is like."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.errors import InputError
from pytest_trt.precision.samples import describe_samples, read_labels

from .models import feed


def test_samples_are_the_rows_that_inputs_share():
    two = {"x": np.arange(6.0).reshape(2, 3), "y": np.arange(2)}
    alone = {"x": np.arange(6.0).reshape(2, 3), "y": np.arange(3)}
    assert describe_samples([two, two, alone]).count == 5
    assert describe_samples([{"x": np.float32(1)}]).count == 1


def test_duplicates_are_found_across_batches():
    a, b = feed((3, 2), seed=1), feed((1, 2), seed=2)
    again = {"x": a["x"][1:2]}
    assert describe_samples([a, b, again, b]).duplicates == ((4, 1), (5, 3))


def test_the_same_bytes_in_another_input_are_no_duplicate():
    x = feed((1, 4))["x"]
    assert describe_samples([{"x": x, "y": x * 0}, {"x": x * 0, "y": x}]).duplicates == ()


def test_blank_is_blank_in_every_wide_input():
    x = feed((3, 4))["x"]
    x[1] = 0.5
    assert describe_samples([{"x": x}]).blank == (1,)
    assert describe_samples([{"x": x, "mask": np.ones((3, 4))}]).blank == (1,)
    assert describe_samples([{"x": x, "y": feed((3, 4), seed=5)["x"]}]).blank == ()
    assert describe_samples([{"n": np.zeros((3, 1))}]).blank == ()


def test_nonfinite():
    x = feed((3, 4))["x"]
    x[2, 1] = np.inf
    x[0, 0] = np.nan
    assert describe_samples([{"x": x, "i": np.arange(3)}]).nonfinite == (0, 2)


def test_classes_are_counted():
    assert describe_samples([feed((4, 2))], [2, 0, 2, 2]).classes == {0: 1, 2: 3}
    assert describe_samples([feed((4, 2))]).classes == {}
    with pytest.raises(InputError, match="3 labels for 4 samples"):
        describe_samples([feed((4, 2))], [0, 1, 2])


def test_labels():
    assert read_labels(iter([1, 2])).tolist() == [1, 2]
    assert read_labels([]).size == 0
    for wrong in ([[1, 0]], [-1], [0.5], ["a"]):
        with pytest.raises(InputError, match="should be a row of class numbers"):
            read_labels(wrong)
