"""Times compared: honest noise raises no alarm, a change is told, times that cannot be relied on are called so."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest

from pytest_trt.bench import stability
from pytest_trt.bench.stability import FASTER, SAME, SLOWER, UNRELIABLE, compare, interval_rank, modes

PAIRS = 30


def noisy(rng, variation, factor=1.0, pairs=PAIRS):
    return list(1e-3 * factor * (1 + variation * rng.standard_normal(pairs)))


def count(variation, factor, runs, pairs=PAIRS, seed=0):
    rng = np.random.default_rng(seed)
    found = (
        compare(noisy(rng, variation, pairs=pairs), noisy(rng, variation, factor, pairs)) for _ in range(runs)
    )
    return Counter(change.verdict for change in found)


@pytest.mark.parametrize("variation", [0.01, 0.02, 0.03])
def test_honest_noise_raises_no_alarm_in_a_thousand_runs(variation):
    verdicts = count(variation, 1.0, runs=1000)
    assert verdicts[SLOWER] + verdicts[FASTER] == 0
    assert verdicts[SAME] >= (990 if variation < 0.03 else 600)


def test_drift_that_both_share_raises_no_alarm():
    rng = np.random.default_rng(0)
    drift = np.linspace(1.0, 1.15, PAIRS)
    before, after = (list(np.array(noisy(rng, 0.01)) * drift) for _ in range(2))
    assert compare(before, after).verdict == SAME


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.05, SLOWER), (1.10, SLOWER), (1 / 1.05, FASTER), (0.9, FASTER)]
)
def test_a_change_of_5_percent_is_told_at_1_percent_noise(factor, verdict):
    assert count(0.01, factor, runs=300)[verdict] >= 299


def test_a_change_of_10_percent_is_told_at_3_percent_noise():
    verdicts = count(0.03, 1.10, runs=300)
    assert verdicts[SLOWER] >= 295 and verdicts[SAME] == verdicts[FASTER] == 0


def test_a_change_too_small_to_matter_is_never_told():
    verdicts = count(0.002, 1.015, runs=100)
    assert verdicts == {SAME: 100}


def test_bimodal_times_are_unreliable():
    rng = np.random.default_rng(0)
    for _ in range(300):
        two = [1e-3 * (1 + 0.2 * rng.choice([-1, 1])) for _ in range(PAIRS)]
        change = compare(noisy(rng, 0.01), two)
        assert change.verdict == UNRELIABLE and "vary by" in change.reasons[0]


def test_noise_of_two_modes_raises_no_alarm_in_a_thousand_series():
    """M32: times that are 20 % less or more by chance, in both series or in one, are never called slower or faster."""
    rng = np.random.default_rng(0)

    def bimodal():
        return list(1e-3 * rng.choice([0.8, 1.2], PAIRS) * (1 + 0.01 * rng.standard_normal(PAIRS)))

    assert Counter(compare(bimodal(), bimodal()).verdict for _ in range(1000)) == {UNRELIABLE: 1000}
    assert Counter(compare(noisy(rng, 0.01), bimodal()).verdict for _ in range(1000)) == {UNRELIABLE: 1000}


def test_two_modes_are_found_where_the_variation_is_small():
    rng = np.random.default_rng(0)
    two = [1e-3 * (1.06 if i % 3 else 0.94) * (1 + 0.004 * rng.standard_normal()) for i in range(PAIRS)]
    low, high = modes(two)
    assert low == pytest.approx(0.94e-3, rel=0.01) and high == pytest.approx(1.06e-3, rel=0.01)
    change = compare(noisy(rng, 0.01), two)
    assert change.verdict == UNRELIABLE
    assert change.reasons == (f"after: {stability.judge_steadiness(two).reasons[0]}",)
    assert re.search(r"two modes, 9[34]\d.* and 10[56]\d.* microseconds", change.reasons[0])


def test_one_mode_is_not_called_two():
    rng = np.random.default_rng(0)
    assert sum(modes(noisy(rng, 0.02, pairs=20)) is not None for _ in range(2000)) <= 2
    assert modes([1.0] * 10 + [1.0001] * 10) is None
    assert modes([1.0, 2.0]) is None


def test_wide_intervals_are_unreliable_and_say_so():
    rng = np.random.default_rng(5)
    change = compare(noisy(rng, 0.07), noisy(rng, 0.07))
    assert change.verdict == UNRELIABLE and "take more pairs" in change.reasons[0]
    assert change.low < change.ratio < change.high


@pytest.mark.parametrize("bad", [0.0, -1e-3, math.nan, math.inf])
def test_times_that_are_none_are_unreliable(bad):
    change = compare([1e-3] * 20, [1e-3] * 19 + [bad])
    assert change.verdict == UNRELIABLE and "missing, zero, negative" in change.reasons[0]
    assert math.isnan(change.ratio)


def test_too_few_pairs_are_unreliable():
    assert compare([1e-3] * 15, [1e-3] * 15).reasons == ("15 pairs of times, fewer than 16",)
    assert stability.judge_steadiness([]).reasons


def test_series_of_different_lengths_are_no_pairs():
    with pytest.raises(ValueError, match="20 times before and 19 after"):
        compare([1.0] * 20, [1.0] * 19)


def test_equal_times_are_the_same_and_the_line_says_so():
    change = compare([1e-3] * 16, [1e-3] * 16)
    assert (change.verdict, change.ratio) == (SAME, 1.0)
    assert str(change) == "same: +0.0 % [+0.0, +0.0]"
    assert str(compare([1.0], [1.0])) == "unreliable: 1 pairs of times, fewer than 16"


@pytest.mark.parametrize("pairs", [16, 24, 30, 101])
def test_the_interval_holds_the_median_as_often_as_it_says(pairs):
    """Exactly: 1 - 2 P(Binomial(n, 1/2) <= r), and no wider than it has to be."""
    rank = interval_rank(pairs)

    def missed(r):
        return 2 * sum(math.comb(pairs, k) for k in range(r + 1)) / 2**pairs

    assert missed(rank) <= 1 - stability.CONFIDENCE < missed(rank + 1)
