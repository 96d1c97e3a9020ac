"""What chance does to the largest of a sample: exact in its counts, and right about honest draws of any tail."""

from __future__ import annotations

from math import comb, erfc

import numpy as np
import pytest
from onnx import helper

from pytest_trt.precision.audit import audit
from pytest_trt.precision.calibration import Calibration, calibrate
from pytest_trt.precision.chance import (
    chance_of,
    hypergeometric_tail,
    least_chance,
    measure_reaches,
    rank_chance,
    tail_chance,
)

from .models import build, conv_relu, feed, value


@pytest.mark.parametrize(
    ("least", "drawn", "marked", "total"), [(3, 5, 6, 11), (0, 4, 2, 9), (4, 4, 4, 9), (2, 9, 3, 10)]
)
def test_the_tail_is_that_of_counting(least, drawn, marked, total):
    ways = sum(
        comb(marked, k) * comb(total - marked, drawn - k) for k in range(least, min(drawn, marked) + 1)
    )
    assert hypergeometric_tail(least, drawn, marked, total) == pytest.approx(
        ways / comb(total, drawn), rel=1e-12
    )


def test_more_than_there_are_is_impossible():
    assert hypergeometric_tail(5, 4, 6, 10) == 0.0


def test_the_largest_three_of_equal_halves_are_on_one_side_once_in_eight():
    few, many = np.arange(1000.0), np.arange(1000.0)
    many[:3] = 5000.0
    assert tail_chance(few, many, 999.0) == pytest.approx(1 / 8, rel=3e-3)
    assert chance_of(few, many, 999.0) == pytest.approx(2 / 8, rel=3e-3)
    assert tail_chance(many, few, 999.0) == tail_chance(few, many, 1e9) == 1.0
    assert least_chance(2, 3) == pytest.approx(1 / comb(5, 2))


def test_ranks_are_counted_with_their_ties():
    """By hand: ranks 2, 2, 2, 5, 4; the second side has 9, and 6 in the mean, with a variance of 3 less the fifth for ties."""
    few, many = np.array([1.0, 1.0, 1.0]), np.array([3.0, 2.0])
    assert rank_chance(few, many) == pytest.approx(0.5 * erfc((9 - 6) / (2 * 3 * 0.8) ** 0.5))
    assert rank_chance(np.arange(4.0), np.arange(4.0)) == 0.5
    assert rank_chance(np.ones(5), np.ones(9)) == 1.0


@pytest.mark.parametrize("chance", [lambda few, many: tail_chance(few, many, few.max()), rank_chance])
def test_it_is_a_probability(chance):
    """Among honest draws, a value of 5 % or less comes up in 5 % of them at most."""
    rng = np.random.default_rng(0)
    made = np.array([chance(rng.pareto(2.0, 80), rng.pareto(2.0, 160)) for _ in range(2000)])
    assert 0.01 < np.mean(made <= 0.05) <= 0.06


def test_reaches_are_those_of_the_samples():
    data = [feed((3, 3, 5, 5), seed=0), feed((2, 3, 5, 5), seed=1)]
    data[0]["x"][1, 2, 0, 0] = -9.0
    data[1]["x"][0, 0, 0, 0] = np.inf
    found = measure_reaches(conv_relu(), data, ["x"])
    assert found["x"].shape == (5,) and found["x"][1] == 9.0
    assert found["x"][3] == np.abs(data[1]["x"][0].reshape(-1)[1:]).max()
    amax = calibrate(conv_relu(), Calibration(data))
    assert found["x"].max() == amax["x"]


def test_a_tensor_with_other_rows_has_one_reach_a_batch():
    model = build(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])],
        [value("x", ["N", 4])],
        [value("y", [4, "N"])],
    )
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = measure_reaches(model, [{"x": x}, {"x": -2 * x}], ["x", "y"])
    assert found["x"].tolist() == [3, 7, 11, 6, 14, 22] and found["y"].tolist() == [11, 22]


def relu_of(width):
    return build(
        [helper.make_node("Relu", ["x"], ["y"])], [value("x", ["N", width])], [value("y", ["N", width])]
    )


def test_honest_draws_of_heavy_tails_are_not_flagged():
    """Their scales differ 1.2 times and more in most of these audits."""
    model, off = relu_of(8), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        draws = [np.sqrt(rng.standard_exponential((n, 8)) + 0.1).astype(np.float32) ** 3 for n in (120, 300)]
        found = audit(
            model,
            calibrate(model, Calibration([{"x": draws[0]}])),
            [{"x": draws[0]}],
            fresh=[{"x": draws[1]}],
        )
        assert not found.flags & {"scale", "scale-shift", "clipped"}, (seed, found.findings)
        off += any(tensor.ratio > 1.2 for tensor in found.tensors)
    assert off >= 20


def test_a_smaller_source_is_flagged_in_spite_of_heavy_tails():
    model = relu_of(8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        draws = [np.sqrt(rng.standard_exponential((n, 8)) + 0.1).astype(np.float32) ** 3 for n in (120, 300)]
        draws[0] *= np.float32(0.5)
        found = audit(
            model,
            calibrate(model, Calibration([{"x": draws[0]}])),
            [{"x": draws[0]}],
            fresh=[{"x": draws[1]}],
        )
        assert found.flags & {"scale", "clipped"}, seed


def test_where_no_draw_could_be_rare_there_is_no_excuse():
    """One batch of fresh data whose tensor has no rows: one value against one."""
    model = build(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0]), helper.make_node("Relu", ["y"], ["z"])],
        [value("x", ["N", 4])],
        [value("z", [4, "N"])],
    )
    rng = np.random.default_rng(0)
    data, fresh = (rng.uniform(-1, 1, (200, 4)).astype(np.float32) for _ in range(2))
    fresh[0, 0] = 1.3
    found = audit(model, calibrate(model, Calibration([{"x": data}])), [{"x": data}], fresh=[{"x": fresh}])
    assert {"x"} == found.by_chance and found.chances.keys() > {"x"}
    assert {found.chances[name] for name in found.chances.keys() - {"x"}} == {0.0}
