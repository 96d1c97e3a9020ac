"""Threads, contexts and streams on a real GPU, with the emulator: many checked runs, and a planted cross-talk that is found."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from pytest_trt.bench.threads import check_throughput, measure_threads
from pytest_trt.check.concurrent import trials_for
from pytest_trt.check.crosstalk import answer_alone, deal, hammer
from pytest_trt.check.shared import check_shared
from pytest_trt.records import Settings
from pytest_trt.runtime import discover
from pytest_trt.runtime.devices import executors
from pytest_trt.runtime.session import Session, load_engine

from .conftest import frames

THREADS, RUNS = 8, 20_000
FAULT = "pytest_trt.emulator.faults:crosstalk_one_in_1000"


@pytest.fixture(scope="module")
def engine(rt, plan):
    return load_engine(rt, plan)


@pytest.fixture(scope="module")
def bases(rt, engine):
    """Two inputs for each thread, of two batches, with the answers of a lone context."""
    return answer_alone(
        rt, engine, [{"x": frames(1 + place // THREADS, place)} for place in range(2 * THREADS)]
    )


@pytest.fixture(scope="module")
def even(rt, engine):
    """Two inputs for each thread, all of one batch."""
    return answer_alone(rt, engine, [{"x": frames(4, 100 + place)} for place in range(2 * THREADS)])


def hammered(runtimes, plan, cases, runs):
    with ExitStack() as held:
        engines = [load_engine(rt, plan) for rt in runtimes]
        sessions = [
            held.enter_context(Session(runtimes[place % len(runtimes)], engines[place % len(runtimes)]))
            for place in range(len(cases))
        ]
        return hammer(sessions, cases, runs)


def test_the_answers_are_those_of_the_cpu(cpu, plan, bases):
    for base, want in zip(
        bases, answer_alone(cpu, load_engine(cpu, plan), [b.feeds for b in bases]), strict=True
    ):
        assert base.got["y"].tobytes() == want.got["y"].tobytes()


def test_no_run_of_twenty_thousand_is_wrong(rt, plan, bases):
    """Each thread changes its batch from run to run."""
    found = hammered([rt], plan, deal(bases, THREADS), RUNS)
    assert found.runs == RUNS and found.wrong == 0, str(found)


def test_a_cross_talk_of_one_run_in_a_thousand_is_found(rt, plan, even):
    other = discover(Settings(runtime="emulator", device="cuda:0", gpu=rt.gpu.name, faults=(FAULT,)))
    try:
        found = hammered([other.executor], plan, deal(even, THREADS), trials_for(1 / 1000))
    finally:
        other.close()
    assert 0 < found.wrong < 30 and " of thread " in str(found)


def test_a_context_is_one_threads(rt, engine, bases):
    with Session(rt, engine) as session:
        assert [wrong for _, wrong in check_shared(session, bases[0])] == [None] * 3


def test_every_gpu_of_the_process_at_once(rt, plan, bases):
    runtimes = executors(rt)
    if len(runtimes) < 2:
        pytest.skip("needs two GPUs; this machine shows one to CUDA")
    found = hammered(runtimes, plan, deal(bases, THREADS), 2000)
    assert found.wrong == 0, str(found)


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
@pytest.mark.parametrize("in_flight", [1, 8])
def test_throughput_counts_every_run(rt, engine, even, threads, in_flight):
    found = measure_threads(
        rt, engine, deal(even, THREADS)[:threads], rounds=200 // in_flight, in_flight=in_flight, blocks=3
    )
    assert [wrong for _, wrong in check_throughput(found)] == [None] * 4
    for block in found.blocks:
        for lane in block.lanes:
            # Events and the host's clock around one loop: they differ by how long a thread waits for Python beside them.
            assert 0.2 < lane.device_seconds / lane.seconds < 5
    assert found.clock.endswith("last end")
