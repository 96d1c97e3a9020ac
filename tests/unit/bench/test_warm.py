"""Warm-up ends when three windows in a row agree, and says so where they never do."""

from __future__ import annotations

import math

import pytest

from pytest_trt.bench.warm import WarmUp, agree, warm_up


def taker(*windows, per_window=5):
    """Return what gives each value of `windows` as often as a window has rounds, and the last one for ever."""
    values = [value for value in windows for _ in range(per_window)]
    return lambda: values.pop(0) if len(values) > 1 else values[0]


def test_equal_windows_are_warm_after_three():
    found = warm_up(taker(1e-3))
    assert found == WarmUp(15, (1e-3,) * 3)
    assert found.to_plain() == {"rounds": 15, "window_seconds": [1e-3] * 3, "warm": True}


def test_slow_first_windows_are_waited_for():
    found = warm_up(taker(9e-3, 4e-3, 2e-3, 1.05e-3, 1e-3, 1e-3))
    assert found.rounds == 30 and not found.reason
    assert found.window_seconds[-3:] == (1.05e-3, 1e-3, 1e-3)


def test_one_odd_round_in_a_window_does_not_matter():
    values = [1e-3] * 15
    values[7] = 1.0
    assert warm_up(lambda: values.pop(0)).rounds == 15


@pytest.mark.parametrize(("last", "warm"), [(1.0999e-3, True), (1.101e-3, False)])
def test_three_windows_agree_within_ten_percent(last, warm):
    assert agree([5e-3, 1e-3, 1.05e-3, last]) is warm
    assert not agree([1e-3, 1e-3])


def test_times_that_fall_for_ever_are_not_warm():
    time = iter(range(1000))
    found = warm_up(lambda: 2.0 ** -next(time), per_window=1, most=8)
    assert found.rounds == 8 and len(found.window_seconds) == 8
    assert found.reason.startswith("not warm: after 8 rounds the last 3 windows took 3.125e+04, 1.562e+04,")
    assert found.to_plain()["warm"] is False


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_time_is_never_warm(bad):
    found = warm_up(taker(bad), most=4)
    assert found.reason and found.rounds == 20
    plain = found.to_plain()["window_seconds"]
    assert plain == [bad if math.isfinite(bad) else None] * 4
