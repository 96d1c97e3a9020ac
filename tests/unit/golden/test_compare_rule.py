"""The statistics of the rule: what is found, and how seldom chance is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_trt.golden import rule
from pytest_trt.golden.rule import Pairs, design_effect, find_growth, luck, needed_elements, pool, threshold

SHAPE = (4, 5, 8, 8)


def pairs(old, new, *, name="y", rounding=0.0, moved=10.0, free=None):
    free = np.ones(old.shape, bool) if free is None else free
    return Pairs(
        name,
        np.where(free, old, 0.0),
        np.where(free, new, 0.0),
        np.where(free, rounding, 0.0),
        free,
        np.broadcast_to(moved, old.shape),
    )


def drawn(seed, shape=SHAPE):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), rng.standard_normal(shape)


def told(*outputs):
    return {(growth.what, growth.where) for growth in find_growth(list(outputs))}


def test_errors_of_the_same_size_show_nothing():
    assert all(not told(pairs(*drawn(seed))) for seed in range(50))


def test_a_doubled_error_shows_as_rms_of_the_whole():
    old, new = drawn(0)
    assert ("rms", rule.WHOLE) in told(pairs(old, 2 * new))
    assert ("rms", rule.WHOLE) in told(pairs(old, 2 * old))
    assert told(pairs(2 * old, new)) == set()


@pytest.mark.parametrize(("axis", "where"), [(0, "row 2"), (1, "channel 3")])
def test_a_larger_error_in_one_slice_shows_there_alone(axis, where):
    old, new = drawn(1, (40, 30, 16) if axis == 1 else (30, 40, 16))
    place = [slice(None)] * 3
    place[axis] = int(where[-1])
    new[tuple(place)] *= 2
    assert told(pairs(old, new)) == {("rms", where)}


def test_a_bias_shows_where_no_rms_grew_by_half():
    old, new = drawn(2)
    shifted = new + 0.8
    assert np.sqrt(np.mean(shifted**2)) < rule.GROWTH
    assert ("bias", rule.WHOLE) in told(pairs(old, shifted))
    assert {what for what, _ in told(pairs(old, shifted))} == {"bias"}
    assert ("bias", rule.WHOLE) in told(pairs(old, new - 0.8))
    assert told(pairs(shifted, new)) == set()


def test_a_bias_under_half_of_the_error_is_not_told():
    old, new = drawn(2, (20, 20, 20))
    assert told(pairs(old, new + 0.3)) == set()


def test_a_growth_under_a_half_is_not_told():
    old, new = drawn(3, (20_000,))
    assert told(pairs(old, 1.4 * new)) == set()
    assert told(pairs(old, 1.6 * new)) == {("rms", rule.WHOLE)}


def test_one_element_shows_as_a_jump():
    old, new = drawn(4)
    new[1, 2, 3, 4] = 60.0
    (growth,) = find_growth([pairs(old, new)])
    assert (growth.what, growth.where) == ("jump", "element (1, 2, 3, 4)")
    assert growth.new == 60 and growth.seen > growth.chance
    new[0, 0, 0, 0] = -50.0
    assert ("jump", "element (1, 2, 3, 4) and 1 more") in told(pairs(old, new))


def test_what_was_far_off_before_does_not_jump():
    old, new = drawn(4, (20_000,))
    old[3] = new[3] = 60.0
    assert told(pairs(old, new)) == set()
    old[3] = 0.0
    assert told(pairs(old, new)) == {("jump", "element (3,)")}


def test_an_element_that_moved_by_a_step_does_not_jump():
    old, new = drawn(4, (20_000,))
    new[3] = 60.0
    moved = np.where(np.arange(20_000) == 3, 1.0, 10.0)
    assert told(pairs(old, new, moved=moved)) == set()


def test_chance_counts_three_tests_a_slice():
    old, new = drawn(0)
    chances = {growth.chance for growth in find_growth([pairs(old, 2 * new)])}
    assert chances == {threshold(3 * (1 + SHAPE[0] + SHAPE[1]))}
    both = find_growth([pairs(old, 2 * new), pairs(old, 2 * new)])
    assert {growth.chance for growth in both} == {threshold(3 * (2 * (1 + SHAPE[0] + SHAPE[1]) + 1))}


def test_errors_of_several_outputs_are_pooled():
    """Each alone has too few elements."""
    outputs = [drawn(seed, (40,)) for seed in range(20)]
    # Of very different size: each counts in its own unit.
    made = [
        pairs(old * 10.0**i, 2 * new * 10.0**i, name=f"y{i}") for i, (old, new) in enumerate(outputs[:20])
    ]
    assert all(not told(one) for one in made)
    assert told(*made) == {("rms", rule.TOGETHER)}
    assert next(iter(find_growth(made))).name == ", ".join(f"y{i}" for i in range(20))


def test_one_output_is_not_pooled():
    old, new = drawn(0)
    assert rule.TOGETHER not in {where for _, where in told(pairs(old, 2 * new))}


def test_moves_of_a_step_are_never_told():
    old, new = drawn(0)
    assert find_growth([pairs(old, 20 * new, moved=1.0)]) == ()
    assert find_growth([pairs(old, 20 * new, moved=1.5)])


def test_correct_rounding_is_no_growth_on_exact_results():
    """Nothing was wrong before: errors like those of rounding are not worse."""
    none, new = np.zeros(SHAPE), drawn(5)[1]
    assert told(pairs(none, new, rounding=1.0)) == set()
    assert told(pairs(none, 2 * new, rounding=1.0)) != set()


def test_elements_that_are_not_compared_do_not_count():
    old, new = drawn(6)
    free = np.zeros(SHAPE, bool)
    assert find_growth([pairs(old, 9 * new, free=free)]) == ()
    free[0] = True
    assert ("rms", rule.WHOLE) in told(pairs(old, 3 * new, free=free))
    new[1:] *= 9
    assert told(pairs(old, new, free=free)) == set()


@pytest.mark.parametrize("tail", ["normal", "laplace", "student"])
def test_chance_stays_under_its_limit_for_heavy_tails(tail):
    """The bound holds for any distribution: here at 1 in 100 and 4,000 draws, of errors of one kernel."""
    rng = np.random.default_rng(7)
    count, limit = 4000, math.sqrt(2 * math.log(100))
    if tail == "student":
        draw = rng.standard_t(2, (2, count, 60))
    else:
        draw = getattr(rng, tail)(size=(2, count, 60))
    d = draw[1] ** 2 - draw[0] ** 2
    seen = d.sum(axis=1) / np.sqrt((d**2).sum(axis=1))
    assert np.count_nonzero(seen > limit) <= count / 100


def test_neighbours_that_err_together_tell_less():
    rng = np.random.default_rng(8)
    alone = rng.standard_normal(4096)
    assert design_effect(alone) < 2.5
    together = np.repeat(rng.standard_normal(64), 64)
    assert design_effect(together) > 20
    assert design_effect(np.ones(4096)) == 1 and design_effect(alone[:63]) == 1


def test_correlated_errors_of_two_kernels_show_nothing():
    """Blocks of 64 elements with one error each: twenty independent errors, and not 1,280."""
    for seed in range(40):
        rng = np.random.default_rng([9, seed])
        old, new = (np.repeat(rng.standard_normal(20), 64).reshape(SHAPE) for _ in range(2))
        assert told(pairs(old, new)) == set(), seed


def test_the_threshold_is_the_one_of_a_million():
    assert threshold(1) == pytest.approx(math.sqrt(2 * math.log(1e6)))
    assert math.exp(-(threshold(30) ** 2) / 2) * 30 == pytest.approx(1e-6)


def test_the_elements_needed_do_show_a_doubled_error():
    count = needed_elements(slices=1)
    assert 300 < count < 600 and needed_elements() > count and needed_elements(missed=0.5) < count
    for seed in range(50):
        old, new = drawn([10, seed], (count,))
        assert ("rms", rule.WHOLE) in told(pairs(old, 2 * new)), seed


def test_luck_bounds_the_rms_of_a_small_sample():
    rng = np.random.default_rng(11)
    for count in (1, 2, 8, 50):
        share = luck(count, 0.01)
        seen = np.sqrt(np.mean(rng.standard_normal((20_000, count)) ** 2, axis=1))
        assert 0 < np.count_nonzero(seen < share) / seen.size <= 0.01
    assert luck(1) < luck(10) < luck(1000) < 1


def test_a_small_sample_that_was_right_by_luck_is_no_yardstick():
    old, new = np.full((2, 3), 0.05), np.full((2, 3), 1.0)
    assert told(pairs(old, new)) == set()


def test_pooling_keeps_each_element_once():
    free = np.zeros(SHAPE, bool)
    free[0, 0] = True
    one, two = pairs(*drawn(1), free=free, name="a"), pairs(*drawn(2), name="b")
    both = pool([one, two])
    assert both.count == 64 + 1280 and both.name == "a, b"
    assert np.sqrt(np.mean(both.old[:64] ** 2)) == pytest.approx(1)


def test_an_axis_of_one_makes_no_slices():
    old, new = drawn(0, (1, 1, 2000))
    assert told(pairs(old, 2 * new)) == {("rms", rule.WHOLE)}
