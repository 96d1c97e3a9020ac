"""One measurement: its numbers, every reason against it in words, and how a session is measured."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.bench import measure, timer
from pytest_trt.bench.measure import Measurement, count_runs, last_inputs, measure_session
from pytest_trt.bench.timer import CUDA_EVENTS, HOST, MODELLED
from pytest_trt.bench.warm import WarmUp
from pytest_trt.errors import ConformanceError, UsageError
from pytest_trt.hardware.telemetry import GpuSample, Telemetry
from pytest_trt.runtime.session import Session
from tests.unit.bench.timed import X, start

WARM = WarmUp(15, (1e-3,) * 3)
STEADY = tuple(1e-3 + 1e-7 * number for number in range(20))
GPU = Telemetry("nvml", "a GPU", (GpuSample(0.0, 99.0, 1500.0), GpuSample(0.1, 99.0, 1500.0)))


def made(seconds=STEADY, runs=2, clock=CUDA_EVENTS, warm=WARM, telemetry=GPU, waits=None, enqueues=None):
    host = tuple(1.02 * runs * value for value in seconds) if waits is None else waits
    asked = tuple(0.01 * value for value in host) if enqueues is None else enqueues
    return Measurement(tuple(seconds), runs, clock, warm, telemetry, host, asked)


def test_steady_times_are_reliable():
    found = made()
    assert found.reliable and found.reasons == found.contradictions == found.notes == ()
    assert found.median_seconds == pytest.approx(1e-3, rel=2e-3) and found.variation < 1e-3


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_percentiles_are_those_of_numpy(count):
    seconds = np.random.default_rng(0).exponential(1e-3, count)
    found = made(tuple(seconds))
    for percent in (0, 10, 50, 90, 99, 100):
        assert found.percentile(percent) == pytest.approx(np.percentile(seconds, percent))


def test_percentiles_of_nothing():
    assert math.isnan(made(()).percentile(50))
    for bad in (-1, 101):
        with pytest.raises(ValueError, match="between 0 and 100"):
            made().percentile(bad)


THROTTLED = Telemetry("nvml", "a GPU", (GpuSample(0.0, 99.0, 1500.0, reasons=0x8),))
REASONS = {
    "a time is missing, zero, negative or no number": {"seconds": (1e-3, 0.0)},
    "times vary by 19.5 %": {"seconds": tuple(1e-3 + 5e-5 * number for number in range(20))},
    "times have two modes": {"seconds": (1e-3, 1.05e-3) * 10},
    "not warm": {"warm": WarmUp(150, (1.0,), "not warm: for a test")},
    "the clock stands still: 20 rounds took exactly the same time": {"seconds": (1e-3,) * 20},
    "clock too coarse: a round takes 10 microseconds": {
        "seconds": tuple(1e-5 + 1e-9 * number for number in range(20)),
        "runs": 1,
    },
    "the events tell 10 times as long as the host waited": {"waits": (2e-4,) * 20},
    "the events account for 4 % or less of the 50 ms that the host waited": {"waits": (5e-2,) * 20},
    "the driver lowered the clocks": {"telemetry": THROTTLED},
}
CONTRADICTIONS = {"a time is missing", "the clock stands still", "the events tell", "the events account"}


@pytest.mark.parametrize("words", REASONS)
def test_what_cannot_be_relied_on_has_one_reason_in_words(words):
    found = made(**REASONS[words])
    (reason,) = found.reasons
    assert words in reason and not found.reliable
    plain = found.to_plain()
    assert plain["reliable"] is False and plain["reasons"] == [reason]
    assert bool(found.contradictions) == any(reason.startswith(known) for known in CONTRADICTIONS)


def test_a_computed_clock_may_stand_still_and_needs_no_host():
    assert made((1e-5,) * 20, runs=1, clock=MODELLED, waits=(1.0,) * 20).reliable
    assert made((0.0,) * 20, clock=MODELLED).contradictions


def test_a_short_wait_says_nothing_about_the_events():
    assert made(tuple(1e-5 + 1e-8 * n for n in range(20)), waits=(2.9e-4,) * 20, runs=5).reliable


def test_host_bound_is_a_note():
    found = made(enqueues=tuple(2e-3 for _ in STEADY))
    assert found.reliable and found.is_host_bound
    assert found.notes == ("host-bound: the device waited for enqueues, 1e+03 microseconds each",)
    assert not made(enqueues=tuple(1.8e-3 for _ in STEADY)).is_host_bound
    assert not made(clock=HOST, enqueues=tuple(2e-3 for _ in STEADY)).is_host_bound
    assert not made((0.0,)).is_host_bound


def test_that_nobody_watched_is_a_note():
    assert made(telemetry=None).notes == ("nobody watched clocks and throttling",)
    blind = Telemetry(why="no NVML")
    assert made(telemetry=blind).notes == ("nobody watched clocks and throttling: no NVML",)
    assert made(telemetry=None, clock=MODELLED).notes == ()


def test_it_is_plain_data():
    plain = made((1e-3, math.nan)).to_plain()
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text)["median_seconds"] is None
    assert made(telemetry=None).to_plain()["telemetry"] == {}
    assert set(plain) >= {"reliable", "reasons", "clock", "variation", "percentiles", "telemetry", "warm_up"}
    assert set(made().to_plain()["percentiles"]) == {"50", "90", "99"}


@pytest.mark.parametrize(
    ("seconds", "runs"), [(1e-3, 2), (3e-3, 1), (1e-9, measure.MOST_RUNS), (0.0, 1), (math.nan, 1)]
)
def test_a_round_is_long_enough(seconds, runs):
    assert count_runs(seconds, 2e-3) == runs


@pytest.fixture
def session():
    with start() as session:
        yield session


def test_a_session_is_measured_in_modelled_time(session):
    with timer.modelled(session.rt):
        found = measure_session(session)
    assert found.reliable and found.clock == MODELLED and found.runs == 1
    assert found.warm_up.rounds == 3 and len(found.seconds) == len(found.waits) == 20
    assert found.median_seconds == pytest.approx(4e-6)  # two layers that take as long as their start


def test_a_session_is_measured_on_the_clock_of_the_host(session, monkeypatch):
    """On a clock that each run moves by 0.24 ms 9 runs make a round of 2 ms."""
    done = itertools.count(1)
    now = [0.0]
    monkeypatch.setattr("pytest_trt.emulator.streams.time", SimpleNamespace(perf_counter=lambda: now[0]))
    context, streams = type(session.context), session.rt.trt.emulated_streams
    real = context.execute_async_v3

    def run(self, handle):
        answer = real(self, handle)
        streams.submit(handle, lambda: now.__setitem__(0, 2.0**-12 * next(done)))
        return answer

    monkeypatch.setattr(context, "execute_async_v3", run)
    found = measure_session(session, rounds=4)
    assert found.clock == HOST and found.runs == 9
    assert found.seconds == (2.0**-12,) * 4
    assert found.warm_up.rounds == 15 and not found.warm_up.reason


def test_the_rounds_can_be_handed_over(session):
    def take_two(rounds, count):
        assert count == 5 and rounds.seconds == []
        rounds.take()
        rounds.take()

    with timer.modelled(session.rt):
        assert len(measure_session(session, rounds=5, hand_over=take_two).seconds) == 5


def test_what_was_watched_during_the_warm_up_does_not_count(session):
    class Watched:
        def __init__(self):
            self.samples = [GpuSample(0.0, 50.0, 300.0)]

        def take(self):
            self.samples.append(GpuSample(float(len(self.samples)), 99.0, 1500.0))
            return Telemetry("nvml", "a GPU", tuple(self.samples))

    with timer.modelled(session.rt):
        found = measure_session(session, watch=Watched())
    assert [sample.sm_mhz for sample in found.telemetry.samples] == [1500.0, 1500.0]
    assert found.reliable


def test_the_inputs_of_the_last_run_are_read_back(session):
    assert np.array_equal(last_inputs(session)["x"], X)
    two = np.concatenate([X, X + 1])
    session.run({"x": two})
    assert np.array_equal(last_inputs(session)["x"], two)
    session.run({"x": X + 2})  # the buffer is larger than the input
    assert np.array_equal(last_inputs(session)["x"], X + 2)


def test_there_has_to_be_a_run(session):
    with Session(session.rt, session.engine) as other, pytest.raises(UsageError, match="nothing to measure"):
        measure_session(other)
    with pytest.raises(UsageError, match="one round at least, not 0"):
        measure_session(session, rounds=0)


def test_other_outputs_are_told_with_their_count():
    want = {"y": np.zeros((2, 3), np.float32)}
    measure.check_outputs({"y": want["y"].copy()}, want)
    got = want["y"].copy()
    got[0, 1] = -0.0
    with pytest.raises(ConformanceError, match="output 'y' of the timed runs") as caught:
        measure.check_outputs({"y": got}, want)
    assert "1 of 6 values have other bits" in str(caught.value)
    with pytest.raises(ConformanceError, match="6 of 6"):
        measure.check_outputs({"y": got[:1]}, want)
    nan = {"y": np.full(3, np.nan, np.float16)}
    measure.check_outputs(nan, {"y": nan["y"].copy()})
