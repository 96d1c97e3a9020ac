"""Timed sessions on the emulator: what is timed, what is not, and that the session stays what it was."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.bench.clocks import Run, TimedSession, time_together
from pytest_trt.errors import ExecutionError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session, load_engine
from tests.unit.check.models import PROFILE, conv_model

X = np.arange(108, dtype=np.float32).reshape(1, 3, 6, 6)


@pytest.fixture
def rt():
    return discover(Settings(runtime="emulator", gpu="t4")).executor


@pytest.fixture
def engine(rt):
    model = conv_model(relu=True).SerializeToString()
    return load_engine(rt, build_plan(rt, BuildRequest(model=model, profile=PROFILE)))


def test_a_run_is_timed_layer_by_layer(rt, engine):
    with Session(rt, engine) as session:
        before = session.run({"x": X})["y"]
        timed = TimedSession(session)
        runs = [timed.run() for _ in range(3)]
        assert [[name for name, _ in run.layers] for run in runs] == [["conv", "relu"]] * 3
        assert all(seconds > 0 for run in runs for _, seconds in run.layers)
        assert runs[0].device_seconds == sum(seconds for _, seconds in runs[0].layers)
        timed.close()
        assert session.context.profiler is None
        assert np.array_equal(session.run({"x": X})["y"], before)


def test_sessions_are_timed_together(rt, engine):
    with Session(rt, engine) as one, Session(rt, engine) as two:
        for session in (one, two):
            session.run({"x": X})
        runs = time_together([TimedSession(one), TimedSession(two)])
        assert len(runs) == 2 and runs[0].host_seconds == runs[1].host_seconds
        assert all(len(run.layers) == 2 for run in runs)


def test_a_run_in_vain_is_not_timed_and_leaves_the_session_usable(rt, engine):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        timed.run()
        assert timed.run_in_vain("y") == ()
        assert len(timed.run().layers) == 2


def test_a_run_that_ought_to_be_in_vain_and_is_not_is_an_error(rt, engine, monkeypatch):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        monkeypatch.setattr(type(session.context), "set_tensor_address", lambda self, name, address: True)
        with pytest.raises(ExecutionError, match="whose output 'y' has no address"):
            timed.run_in_vain("y")


def test_an_enqueue_that_fails_is_an_error(rt, engine, monkeypatch):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        monkeypatch.setattr(type(session.context), "execute_async_v3", lambda self, handle: False)
        with pytest.raises(ExecutionError, match="returned False"):
            timed.run()


def test_modelled_times_follow_from_the_work_alone(rt, engine):
    with Session(rt, engine) as session, rt.trt.emulated_clock.modelled():
        session.run({"x": X})
        timed = TimedSession(session)
        one = [timed.run().layers for _ in range(3)]
        session.run({"x": np.repeat(X, 8, axis=0)})
        eight = timed.run().layers
    assert one[0] == one[1] == one[2]
    # Neither fills a wave of 16384 outputs, also with eight times the rows: each layer takes its start.
    assert [seconds for _, seconds in one[0]] == [seconds for _, seconds in eight] == [2e-6, 2e-6]
    assert not rt.trt.emulated_clock.is_modelled


def test_the_device_takes_the_layers_together():
    assert Run(1.0, (("a", 0.25), ("b", 0.5))).device_seconds == 0.75


def test_a_profile_is_asked_for_after_the_run(rt, engine):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        before, asked, after = timed.run_unasked()
        assert before == () and asked
        assert [name for name, _ in after] == ["conv", "relu"]
        assert session.context.enqueue_emits_profile and len(timed.run().layers) == 2
        assert session.context.report_to_profiler() and len(timed.run().layers) == 2  # reported already


def test_whole_runs_are_timed_without_profiler_copies_and_warm_up(rt, engine, monkeypatch):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        told = []
        real = type(session.context).execute_async_v3
        monkeypatch.setattr(
            type(session.context),
            "execute_async_v3",
            lambda self, handle: told.append(self.profiler) or real(self, handle),
        )
        for copy in ("alloc", "free", "poison", "upload", "download"):
            monkeypatch.setattr(type(session.memory), copy, None)  # a call would raise
        ticks = iter(range(100))
        monkeypatch.setattr("pytest_trt.bench.clocks.time.perf_counter", lambda: float(next(ticks) ** 2))
        runs = timed.time_totals(3, warm_up=2)
        assert told == [None] * 5
        # Two looks at the clock a run: the third run's are 16 and 25.
        assert [run.host_seconds for run in runs] == [9.0, 13.0, 17.0]
        assert all(run.layers == () for run in runs)
        assert session.context.profiler is timed._clock.raw
        monkeypatch.undo()


def test_the_profiler_is_back_after_a_failure(rt, engine, monkeypatch):
    with Session(rt, engine) as session:
        session.run({"x": X})
        timed = TimedSession(session)
        monkeypatch.setattr(type(session.context), "execute_async_v3", lambda self, handle: False)
        for call in (lambda: timed.time_totals(1, 0), timed.run_unasked):
            with pytest.raises(ExecutionError, match="returned False"):
                call()
        assert session.context.profiler is timed._clock.raw and session.context.enqueue_emits_profile
