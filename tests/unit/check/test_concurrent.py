"""Runs of several contexts: how many it takes, and that nothing of a thread is lost."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pytest_trt.check import concurrent
from pytest_trt.check.concurrent import check_contexts, run_in_threads, trials_for
from pytest_trt.check.relations import Base
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError, ExecutionError, UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover

from .models import PROFILE, conv_model

FOUR = ("int_small", "uniform11", "int_small", "uniform11")


@pytest.mark.parametrize(("probability", "runs"), [(1 / 8, 52), (1 / 10, 66), (1 / 100, 688), (0.9995, 1)])
def test_trials_follow_from_the_probability(probability, runs):
    assert trials_for(probability) == runs
    assert (1 - probability) ** runs <= 1e-3 < (1 - probability) ** (runs - 1)


@pytest.mark.parametrize(
    ("probability", "missed"), [(0, 0.1), (1, 0.1), (0.5, 0), (0.5, 1), (float("nan"), 0.1)]
)
def test_probabilities_lie_between_0_and_1(probability, missed):
    with pytest.raises(UsageError, match="no number of trials"):
        trials_for(probability, missed)


def test_threads_run_at_once_and_answer_in_order():
    meet = threading.Barrier(3, timeout=10)

    def work(place):
        meet.wait()
        return place

    assert run_in_threads([lambda: work(0), lambda: work(1), lambda: work(2)]) == [0, 1, 2]
    assert run_in_threads([]) == []


def test_what_a_thread_raises_comes_out():
    def fail():
        raise ExecutionError("broken")

    with pytest.raises(ExecutionError, match="broken"):
        run_in_threads([lambda: 1, fail])


def bench(*faults, **settings):
    made = Settings(runtime="emulator", gpu="t4", faults=faults, **settings)
    return Workbench(made, discover(made))


def relate(workbench, checks=check_contexts, data=FOUR, **options):
    shapes = {"x": (3, 3, 6, 6)}
    return workbench.relate(
        conv_model(), checks, precision="fp32", data=data, profile=PROFILE, shapes=shapes, **options
    )


def test_contexts_need_two_bases():
    with pytest.raises(UsageError, match="told apart by their inputs"):
        relate(bench(), data=("int_small",))


@pytest.mark.parametrize("emulate", ["tensorrt-8.6", "tensorrt-11.4"])
def test_each_context_has_a_profile_of_its_own_where_there_are_several(emulate, monkeypatch):
    made = []
    real = concurrent.Session

    def session(*args, profile_index):
        made.append(profile_index)
        return real(*args, profile_index=profile_index)

    monkeypatch.setattr(concurrent, "Session", session)
    assert relate(bench(emulate=emulate), more_profiles=(PROFILE,) * 4).passed
    assert made[:4] == [1, 2, 3, 4] and set(made[4:]) == {4}
    made.clear()
    assert relate(bench(emulate=emulate)).passed and set(made) == {0}


def test_a_failure_in_a_thread_is_an_error_and_contexts_are_let_go():
    subjects = []

    def checks(subject, bases):
        subjects.append(subject)
        yield from check_contexts(subject, bases)

    with pytest.raises(ExecutionError, match="did not enqueue"):
        relate(bench("tests.unit.check.test_concurrent:fails_in_a_thread"), checks)
    assert subjects[0]._session is None


def fails_in_a_thread(site):
    """An enqueue in a second thread fails."""
    if site.kind == "enqueue":
        threads = site.memory.setdefault("threads", set())
        threads.add(site.thread_id)
        return False if len(threads) > 1 else None
    return None


def test_the_failure_names_the_relation_and_how_to_repeat():
    fault = "pytest_trt.emulator.faults:contexts_exchange_rows"
    with pytest.raises(ConformanceError) as caught:
        relate(bench(fault), replay="pytest suites/test_contexts.py::test_a")
    text = str(caught.value)
    assert f"[violates: {concurrent.TURNS}]" in text
    assert "repeat: pytest suites/test_contexts.py::test_a --trt-precision=fp32 --gpu=t4 --trt-seed=0" in text
    assert f"--trt-fault={fault}" in text
    assert caught.value.verdict.status == "violates"


def test_relations_get_runs_with_different_inputs_and_their_limits():
    seen = []

    def nothing(subject, bases):
        seen.extend(bases)
        return iter(())

    verdict = relate(bench(), nothing)
    assert verdict.status == "conforms" and verdict.compared == 4 * 3 * 12 * 36 and verdict.relations == ()
    assert all(isinstance(base, Base) and base.limits["y"].mid.shape == base.got["y"].shape for base in seen)
    flat = [base.feeds["x"].tobytes() for base in seen]
    assert len(set(flat)) == 4
    assert np.array_equal(seen[0].feeds["x"], np.round(seen[0].feeds["x"]))
