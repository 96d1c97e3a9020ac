"""Times of a real GPU: events against a loop of the host, against each other, and beside telemetry.

What runs is the emulator on ONNX Runtime's CUDA provider: the events, streams and clocks are real, the engine is no TensorRT.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median

import pytest

from pytest_trt.bench.measure import measure_session
from pytest_trt.bench.timer import CUDA_EVENTS, EventTimer, Rounds
from pytest_trt.errors import TrtError
from pytest_trt.hardware.telemetry import watch
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _times

LOOP = 1000
WITHIN = 0.02
TRIES = 5  # of which the median counts


@pytest.fixture(scope="module")
def discovery():
    try:
        found = discover(Settings(runtime="emulator", device="cuda:0", precisions=("fp32",)))
        assert found.executor is not None
    except TrtError as error:
        pytest.skip(f"needs a GPU with PyCUDA and ONNX Runtime's CUDA provider: {error}")
    return found


@pytest.fixture
def bench(discovery):
    with ExitStack() as held:
        yield _times._Bench(discovery.executor, held)


def loop_seconds(session, runs):
    """Return the host's seconds of one run: a loop of enqueues and one wait, divided."""
    session.stream.synchronize()
    began = time.perf_counter()
    session.launch(runs)
    session.stream.synchronize()
    return (time.perf_counter() - began) / runs


@pytest.mark.parametrize("batch", [1, 64, 1024])
def test_events_tell_a_loop_of_a_thousand_to_two_percent(bench, batch):
    session = bench.plain_session(batch)
    with session.memory.active():
        session.launch(LOOP)  # warm
        with EventTimer(session.rt, session.stream) as clock:
            shares = []
            for _ in range(TRIES):
                before = clock()
                host = loop_seconds(session, LOOP)
                shares.append((clock() - before) / LOOP / host)
    assert abs(median(shares) - 1) <= WITHIN, shares


@pytest.mark.parametrize("batch", [64, 1024])
def test_a_measurement_tells_what_the_loop_does(bench, batch):
    session = bench.plain_session(batch)
    ratios, found = [], None
    for _ in range(TRIES):
        found = measure_session(session)
        with session.memory.active():
            ratios.append(found.median_seconds / loop_seconds(session, LOOP))
    print(found.to_plain(), ratios)
    assert found.clock == CUDA_EVENTS and found.contradictions == ()
    # A host that is slower than the device starts a round with the device idle, and a loop with it busy.
    if not found.is_host_bound:
        assert abs(median(ratios) - 1) <= WITHIN, ratios


def test_twice_the_runs_take_twice_the_time(bench):
    session = bench.plain_session(1024)
    with Rounds(session, runs=20) as once, Rounds(session, runs=40) as twice:
        for _ in range(10):
            once.take()
            twice.take()
    assert median(twice.seconds) == pytest.approx(median(once.seconds), rel=0.05)


def test_a_gpu_is_watched_meanwhile(bench):
    session = bench.plain_session(1024)
    with watch(0, 0.01) as seen:
        found = measure_session(session, rounds=50, round_seconds=1e-2, watch=seen)
    print(found.to_plain())
    assert found.telemetry is not None and found.telemetry.source, found.telemetry
    assert found.telemetry.samples and found.telemetry.sm_mhz.low > 0
    assert found.reliable or found.reasons


def test_the_suite_s_checks_of_events_hold(discovery):
    rows = list(_times.check_events(discovery.executor))
    assert rows and [row for row in rows if row[1] is not None] == []
