"""What is asked of a clock, on times made up for it."""

from __future__ import annotations

import math

import pytest

from pytest_trt.bench import trust
from pytest_trt.bench.clocks import Run


def runs(*shares, host=2e-3):
    """One run for each share of the host's time, in two layers."""
    return [Run(host, (("conv", 0.75 * share * host), ("relu", 0.25 * share * host))) for share in shares]


GOOD = runs(0.93, 0.95, 0.91)


def test_good_times_have_no_complaint():
    assert trust.find_bad_layers(GOOD, 2) is None
    assert trust.find_excess(GOOD) is None
    assert trust.find_shortage(GOOD) is None
    assert trust.find_standstill(GOOD) is None
    assert trust.find_phantom(()) is None
    assert trust.find_idle_stream([GOOD, GOOD]) is None
    assert trust.is_long_enough(GOOD) and not trust.is_long_enough(runs(0.9, host=1e-4))


@pytest.mark.parametrize(
    ("layers", "count", "words"),
    [
        ((("conv", 1.0),), 2, "told of 1 layers, the engine has 2"),
        ((("conv", 1.0), ("other", 1.0)), 2, "name different layers: ['other', 'relu']"),
        ((("conv", 1.0), ("relu", -1e-9)), 2, "layer 'relu' took -1e-09 s"),
        ((("conv", math.nan), ("relu", 1.0)), 2, "layer 'conv' took nan s"),
    ],
)
def test_bad_layers_are_named(layers, count, words):
    assert words in trust.find_bad_layers([*GOOD, Run(1e-3, layers)], count)


def test_nothing_timed_is_no_success():
    assert trust.find_bad_layers([], 2) == "nothing was timed"
    assert trust.find_bad_layers(GOOD, 0) == "nothing was timed"
    assert trust.find_bad_layers(runs(0.0, 0.0), 2) == "every layer took 0 s"


def test_times_of_the_wrong_size_are_told():
    assert trust.find_excess(runs(9.3, 9.5, 9.4)).startswith("the layers took 9.3 times as long")
    assert trust.find_shortage(runs(0.093, 0.1, 0.09)) == (
        "the layers account for 10.0 % or less of the 2 ms that the host waited"
    )


def test_one_run_out_of_line_is_no_complaint():
    odd = runs(0.9, 0.95, 0.91, 0.05, 3.0)
    assert trust.find_excess(odd) is None and trust.find_shortage(odd) is None


def test_a_clock_that_stands_still_is_told():
    assert trust.find_standstill(runs(0.9, 0.9, 0.9)) == "3 runs took exactly the same 1800 microseconds"
    assert trust.find_standstill(runs(0.9)) is None


def test_times_of_a_run_that_never_was_are_told():
    assert "reported with 2 layer times, 30 microseconds" in trust.find_phantom((("a", 1e-5), ("b", 2e-5)))


def test_a_stream_without_times_is_told():
    words = trust.find_idle_stream([runs(0.3, 0.0, 0.3)] * 3)
    assert words.startswith("stream 2 of 3 took 0 microseconds at most, another one 600")
    assert trust.find_idle_stream([runs(0.9, 0.3, 0.3)] * 3) is None
    assert trust.find_idle_stream([runs(0.9, 0.01), runs(0.9, 0.1)]) is None


TOLD = (("conv", 1e-3), ("relu", 1e-4))


@pytest.mark.parametrize(
    ("before", "asked", "after", "words"),
    [
        ((), True, TOLD, None),
        (TOLD, True, (), "enqueue_emits_profile is off, and the enqueue reported 2 layers"),
        ((), False, (), "report_to_profiler returned False after a run"),
        ((), True, (), "report_to_profiler told nothing"),
    ],
)
def test_a_profile_comes_when_it_is_asked_for(before, asked, after, words):
    assert trust.find_unasked(before, asked, after, 2) == words


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ([Run(1e-3, ())], None),
        ([Run(1e-3, TOLD)], "a profiler was told of 2 layers while whole runs were timed"),
        ([], "nothing was timed"),
        ([Run(1e-3, ()), Run(0.0, ())], "a whole run took 0 s"),
        ([Run(math.nan, ())], "a whole run took nan s"),
    ],
)
def test_whole_runs_are_timed_without_a_profiler(whole, words):
    assert trust.find_disturbance(whole) == words
