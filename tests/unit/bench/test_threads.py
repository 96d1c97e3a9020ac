"""Throughput of threads: arithmetic on known times, and a measurement on the emulator."""

from __future__ import annotations

import itertools
import json
import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.bench import threads as bench
from pytest_trt.bench.threads import (
    CPU_CLOCK,
    ON_CPU,
    Block,
    Lane,
    Throughput,
    check_throughput,
    measure_threads,
)
from pytest_trt.check.crosstalk import answer_alone, deal
from pytest_trt.errors import ExecutionError, UsageError
from pytest_trt.numerics.bounds import Bound, widen
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session, load_engine
from tests.unit.check.models import PROFILE, conv_model


def lane(began, waits):
    return Lane(began, began + sum(waits), tuple(waits), 0.9 * sum(waits))


def throughput(*blocks, threads=2, rounds=2, in_flight=3, **fields):
    return Throughput(threads, in_flight, rounds, 8, blocks, **fields)


# Two threads, each waits twice for three runs: 12 runs in 3 s, 12 in 4 s, 12 in 6 s.
FIRST = Block(3.0, (lane(0.0, (1.0, 1.0)), lane(1.0, (0.5, 1.5))))
SECOND = Block(4.0, (lane(0.0, (2.0, 2.0)), lane(0.0, (2.0, 2.0))))
THIRD = Block(6.0, (lane(0.0, (3.0, 3.0)), lane(0.0, (1.0, 1.0))))


def test_throughput_is_runs_of_all_threads_over_the_time_of_all():
    found = throughput(FIRST, SECOND, THIRD)
    assert found.runs == 12 and found.run_seconds == (0.25, 4 / 12, 0.5)
    assert found.runs_per_second == pytest.approx(3.0) and found.frames_per_second == pytest.approx(24.0)
    assert found.by_thread == (1.5, 3.0)
    assert found.overlap == pytest.approx(8 / 12)
    assert found.steadiness.variation > 0.1


def test_percentiles_are_of_every_wait_or_of_a_threads():
    found = throughput(FIRST, SECOND, THIRD)
    assert found.latency(50) == 1.75 and found.latency(0) == 0.5 and found.latency(100) == 3.0
    assert found.latency(50, 0) == 2.0 and found.latency(50, 1) == 1.25


def test_efficiency_is_against_as_many_times_one_thread():
    alone = throughput(Block(6.0, (lane(0, (3.0, 3.0)),)), threads=1)
    assert alone.runs_per_second == pytest.approx(1.0)
    assert throughput(SECOND).efficiency(alone) == pytest.approx(1.5)
    assert alone.efficiency(alone) == pytest.approx(1.0)


def test_plain_data_says_whether_it_can_be_relied_on_and_by_what_clock():
    plain = throughput(FIRST, SECOND, THIRD).to_plain()
    assert json.loads(json.dumps(plain)) == plain
    assert not plain["reliable"] and "times vary by" in plain["reasons"][0]
    assert plain["clock"] == bench.HOST_CLOCK and "3 run(s) each" in plain["latency"]
    assert plain["runs"] == 36 and plain["batch"] == 8 and len(plain["by_thread"]) == 2
    assert set(plain["percentiles"]) == {"50", "90", "99"}
    assert throughput(SECOND, SECOND).to_plain()["reliable"]


def test_times_of_the_emulator_on_a_cpu_are_never_compared():
    plain = replace(throughput(SECOND, SECOND), clock=CPU_CLOCK).to_plain()
    assert not plain["reliable"] and plain["reasons"] == [ON_CPU] and "not a GPU" in plain["clock"]


def test_a_time_that_is_none_is_plain_data_all_the_same():
    still = Block(math.inf, SECOND.lanes)
    plain = throughput(SECOND, SECOND, still).to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert not plain["reliable"] and plain["variation"] is None


def wrong(found):
    return {name: words for name, words in check_throughput(found) if words is not None}


def test_checks_of_a_throughput():
    good = throughput(FIRST, SECOND, THIRD)
    assert wrong(good) == {} and len(list(check_throughput(good))) == 4
    assert "there were [2]" in wrong(throughput(FIRST, rounds=3))[bench.COUNTED]
    assert "3 threads are counted, there were [2]" in wrong(throughput(FIRST, threads=3))[bench.TOOK_PART]
    assert wrong(throughput(FIRST, wrong=("thread 1: all zeros",))) == {bench.OUTPUTS: "thread 1: all zeros"}
    short = wrong(throughput(Block(2.0, FIRST.lanes)))
    assert short == {
        bench.WHOLE_TIME: "block 0 is said to have taken 2000 ms, its threads 3000 ms from the first start to the last end"
    }
    assert set(wrong(throughput(Block(1.0, ())))) == {bench.COUNTED, bench.TOOK_PART}


@pytest.fixture(scope="module")
def engine():
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    request = BuildRequest(model=conv_model().SerializeToString(), strongly_typed=True, profile=PROFILE)
    return rt, load_engine(rt, build_plan(rt, request))


def cases(engine, threads, inputs=2):
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.integers(-4, 5, (2, 3, 6, 6)).astype("f4")} for _ in range(threads * inputs)]
    return deal(answer_alone(*engine, feeds), threads)


def test_a_measurement_counts_every_run_of_every_thread(engine):
    found = measure_threads(*engine, cases(engine, 3), rounds=4, in_flight=2, blocks=3)
    assert (found.threads, found.runs, found.frames, len(found.blocks)) == (3, 24, 2, 3)
    assert wrong(found) == {} and found.runs_per_second > 0
    for block in found.blocks:
        assert block.seconds >= max(each.seconds for each in block.lanes)
        assert all(len(each.waits) == 4 and min(each.waits) > 0 for each in block.lanes)


def test_only_launches_and_waits_are_timed(engine, monkeypatch):
    """Nothing is copied, poisoned or compared between the first and the last time that is taken."""
    calls, real = [], bench.time.perf_counter
    for name in ("enqueue", "overwrite_inputs", "launch"):
        method = getattr(Session, name)

        def spy(self, *args, _name=name, _method=method, **keywords):
            calls.append(_name)
            return _method(self, *args, **keywords)

        monkeypatch.setattr(Session, name, spy)

    class Clock:
        @staticmethod
        def perf_counter():
            calls.append("clock")
            return real()

    monkeypatch.setattr(bench, "time", Clock)
    measure_threads(*engine, cases(engine, 1), rounds=2, blocks=1)
    block = ["enqueue", "overwrite_inputs", "clock", "launch", "clock", "launch", "clock"]
    assert calls == 2 * block


def test_old_outputs_would_show(engine):
    with pytest.raises(UsageError, match="two inputs each"):
        measure_threads(*engine, cases(engine, 2, inputs=1), rounds=1)
    with pytest.raises(UsageError, match="two inputs each"):
        measure_threads(*engine, [], rounds=1)


def test_a_refused_launch_ends_it_in_every_thread(engine, monkeypatch):
    real, before = Session.launch, threading.active_count()
    numbers = itertools.count()

    def refuse(self, runs=1):
        if next(numbers) == 2:
            raise ExecutionError("refused in the midst")
        real(self, runs)

    monkeypatch.setattr(Session, "launch", refuse)
    with pytest.raises(ExecutionError, match="refused in the midst"):
        measure_threads(*engine, cases(engine, 4), rounds=5, blocks=2)
    assert threading.active_count() == before


def test_threads_that_do_not_come_together(engine, monkeypatch):
    monkeypatch.setattr(bench, "START_SECONDS", 0.01)
    monkeypatch.setattr(bench, "run_in_threads", lambda works: [works[0]()])
    with pytest.raises(ExecutionError, match="did not come together"):
        measure_threads(*engine, cases(engine, 2), rounds=1)


def test_answers_may_differ_within_their_limits(engine):
    """Another context may run another kernel; where the lone answers come without limits, bits are compared."""
    made = cases(engine, 1)
    off = [replace(base, got={"y": np.nextafter(base.got["y"], np.float32(np.inf))}) for base in made[0]]
    wide = [
        replace(base, limits={"y": widen(Bound.exact(base.got["y"].astype("f8"), "fp32"), 1e-3)})
        for base in off
    ]
    assert set(wrong(measure_threads(*engine, [off], rounds=1, blocks=1))) == {bench.OUTPUTS}
    assert wrong(measure_threads(*engine, [wide], rounds=1, blocks=1)) == {}
