"""Faults of contexts in threads: which check sees them, after how many runs, and as often as theory says."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from statistics import fmean

import pytest

from pytest_trt.bench import threads as bench
from pytest_trt.bench.threads import check_throughput, measure_threads
from pytest_trt.check import crosstalk, shared
from pytest_trt.check.concurrent import trials_for
from pytest_trt.check.crosstalk import answer_alone, check_threads, deal, hammer
from pytest_trt.check.relations import Base, compare_rows
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import races
from pytest_trt.errors import ExecutionError, UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.session import Session
from pytest_trt.strategies import Case
from suites import _threads

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.thread_faults:"
CASE = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
DYNAMIC = Case.parse("conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s2")


def subject(*names, case=CASE, precision="fp32", seed=0, **build):
    made = Settings(runtime="emulator", gpu="t4", faults=names, seed=seed)
    return Workbench(made, discover(made)).subject(case.model(), precision, case.profile, **build)


@pytest.fixture(scope="module")
def right():
    """The answers of an honest engine, two to each of eight threads."""
    feeds = _threads.small_integers([CASE.input_shapes] * 16, 0)
    with subject() as made:
        return answer_alone(made.rt, made.engine, feeds)


def broken(made, bases, **how):
    with made:
        return {name for name, found in check_threads(made, bases, **how) if found is not None}


@pytest.mark.parametrize(
    ("fault", "relation"),
    [
        ("later_enqueue_wins_in_the_main_thread", crosstalk.IN_FLIGHT),
        ("wrong_after_many_runs_in_a_thread", crosstalk.OWN_ANSWERS),
        ("wrong_with_the_inputs_of_another_thread", crosstalk.HANDED_ON),
        ("twentieth_context_wrong", crosstalk.SHORT_LIVED),
    ],
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, relation, right):
    assert broken(subject(OWN + fault), right) == {relation}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_honest_engine_breaks_none(precision):
    made = subject(precision=precision)
    bases = answer_alone(made.rt, made.engine, _threads.small_integers([CASE.input_shapes] * 16, 3))
    assert broken(made, bases) == set()


EVERY = {crosstalk.IN_FLIGHT, crosstalk.OWN_ANSWERS, crosstalk.HANDED_ON, crosstalk.SHORT_LIVED}
# Mutants M21 and M23 to M25: which relations they break, whatever the order of threads.
CAUGHT = {
    "previous_output_returned": EVERY,
    "zeros_returned": EVERY,
    "nothing_written": EVERY,
    "output_tail_not_written": EVERY,
    "contexts_exchange_rows": EVERY,
    "contexts_exchange_rows_at_times": {crosstalk.OWN_ANSWERS},
    "context_wrong_after_another_ran": {crosstalk.IN_FLIGHT},
    "tail_read_early_on_another_stream": {crosstalk.IN_FLIGHT},
    "tail_read_early_in_another_thread": {crosstalk.HANDED_ON},
    "many_contexts_corrupt_the_last": EVERY,
    "crosstalk_one_in_8": {crosstalk.OWN_ANSWERS},
    "crosstalk_one_in_100": {crosstalk.OWN_ANSWERS},
    "crosstalk_one_in_1000": {crosstalk.OWN_ANSWERS},
}
RUNS = {"crosstalk_one_in_100": trials_for(1 / 100), "crosstalk_one_in_1000": trials_for(1 / 1000)}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_of_buffers_and_contexts_is_caught(name, right):
    assert CAUGHT[name] <= broken(subject(SHIPPED + name), right, runs=RUNS.get(name, 52))


def test_every_fault_of_races_has_a_row():
    here = {n for n, entry in faults.FAULTS.items() if entry.call.__module__ == races.__name__}
    assert here and here <= CAUGHT.keys()


@pytest.mark.parametrize("name", ["every_enqueue_fails", "third_enqueue_fails"])
def test_a_refused_run_is_no_run(name, right):
    """M22: nothing is counted, neither by the check nor under the clock."""
    with subject(SHIPPED + name) as made:
        with pytest.raises(ExecutionError, match="did not enqueue"):
            list(check_threads(made, right))
        with pytest.raises(ExecutionError, match="did not enqueue"):
            measure_threads(made.rt, made.engine, deal(right, 2), rounds=2, blocks=1)


def hammered(made, bases, threads, runs):
    cases = deal(bases, threads)
    with ExitStack() as held:
        sessions = [held.enter_context(Session(made.rt, made.engine)) for _ in range(threads)]
        # The dice of a fault are those of its first run; and there are answers to lose.
        for session, (base, *_) in zip(sessions, cases, strict=True):
            session.run(base.feeds)
        return hammer(sessions, cases, runs)


@pytest.mark.parametrize(
    ("name", "chance"), [("crosstalk_one_in_8", 1 / 8), ("crosstalk_one_in_100", 1 / 100)]
)
def test_cross_talk_is_seen_as_often_as_it_happens(name, chance, right):
    """Each exchange is seen: their number is binomial, within four standard deviations."""
    runs, wrong = 0, 0
    for seed in range(3):
        with subject(SHIPPED + name, seed=seed) as made:
            found = hammered(made, right, 8, 400)
        runs, wrong = runs + found.runs, wrong + found.wrong
    spread = math.sqrt(runs * chance * (1 - chance))
    assert abs(wrong - runs * chance) < 4 * spread
    assert wrong > 0


def test_the_runs_that_it_takes_are_those_of_theory(right):
    """Two contexts by turns until the first wrong answer: geometric, and no one of 60 takes more than the 52 runs of 1 / 8."""
    took = []
    with subject(SHIPPED + "crosstalk_one_in_8") as made, ExitStack() as held:
        pairs = [(held.enter_context(Session(made.rt, made.engine)), base) for base in right[:2]]
        for session, base in pairs:
            session.run(base.feeds)
        while len(took) < 60:
            for run in range(1, 1000):
                session, base = pairs[run % 2]
                if compare_rows("", session.run(base.feeds), base) is not None:
                    took.append(run)
                    break
    # The mean of 60 geometric numbers: 8, with a standard deviation of sqrt(56 / 60).
    assert abs(fmean(took) - 8) < 4 * math.sqrt(56 / 60)
    assert max(took) <= trials_for(1 / 8)


def test_what_is_said_of_an_answer_that_went_astray(right):
    with subject(SHIPPED + "contexts_exchange_rows") as made:
        found = hammered(made, right, 2, 40)
    assert found.wrong and "row 2 of output 'y' is row 2 of " in str(found)
    assert f"{found.wrong} of 40 runs wrong; thread " in str(found)
    with subject(OWN + "poisoned_tail") as made:
        assert "elements of output 'y' were never written" in str(hammered(made, right, 2, 4))


def shapes(*names):
    with subject(*names, case=DYNAMIC, more_profiles=(DYNAMIC.profile,) * 4) as made:
        rows = _threads.check_shapes(made, DYNAMIC, 4, 40, 0, lambda hammered: None)
        return dict(rows)


def test_threads_whose_shapes_change():
    assert shapes() == {_threads.SHAPES: None}
    assert shapes(OWN + "wrong_after_many_runs_in_a_thread")[_threads.SHAPES].startswith("4 of 40 runs wrong")


def devices(*second):
    """Return what two devices of one process give, the second of which has faults."""
    with subject() as first, subject(*second) as other:
        feeds = _threads.small_integers([CASE.input_shapes] * 8, 0)
        rows = _threads.check_devices((first.rt, other.rt), first, feeds, 40, lambda hammered: None)
        return dict(rows)


def test_devices_of_one_process():
    assert devices() == {_threads.DEVICES: None}
    assert "thread 1" in devices(SHIPPED + "zeros_returned")[_threads.DEVICES]


class Lax:
    """A session that refuses a second thread without a word, or in its own words."""

    def __init__(self, session, words=None):
        self.session, self.words = session, words

    def __getattr__(self, name):
        method = getattr(self.session, name)

        def call(*args):
            try:
                return method(*args)
            except UsageError:
                if self.words is not None:
                    raise UsageError(self.words) from None

        return call


def sharing(base, kind=lambda session: session):
    with subject() as made, Session(made.rt, made.engine) as session:
        rows = shared.check_shared(kind(session), base)
        return {name: wrong for name, wrong in rows if wrong is not None}


def test_a_context_that_two_threads_want(right):
    assert sharing(right[0]) == {}


def test_a_session_that_takes_a_second_thread(right):
    found = sharing(right[0], Lax)
    assert set(found) == {shared.REFUSED} and "run, enqueue, launch of a second" in found[shared.REFUSED]


def test_a_refusal_that_names_nobody(right):
    found = sharing(right[0], lambda session: Lax(session, "this context is in use"))
    assert set(found) == {shared.NAMED} and "are not both named" in found[shared.NAMED]


def test_an_owner_that_is_disturbed(right):
    wrong = Base(right[0].feeds, right[1].got, {})
    assert set(sharing(wrong)) == {shared.UNDISTURBED}


@pytest.fixture(scope="module")
def measured(right):
    with subject() as made:
        return measure_threads(made.rt, made.engine, deal(right, 3), rounds=4, in_flight=2, blocks=3)


def problems(throughput):
    return {name for name, wrong in check_throughput(throughput) if wrong is not None}


def test_an_honest_throughput(measured):
    assert problems(measured) == set()


def lie(throughput, how):
    """Return a throughput that is wrong in one way (mutant M31)."""
    first, *rest = throughput.blocks
    if how == bench.COUNTED:  # runs that were not made, such as failed enqueues
        return replace(throughput, rounds=throughput.rounds + 1)
    if how == bench.WHOLE_TIME:  # one stream's time for that of all
        short = replace(first, seconds=min(lane.seconds for lane in first.lanes) / 2)
        return replace(throughput, blocks=(short, *rest))
    if how == bench.TOOK_PART:
        idle = replace(first, lanes=(replace(first.lanes[0], device_seconds=0.0), *first.lanes[1:]))
        return replace(throughput, blocks=(idle, *rest))
    return replace(throughput, wrong=("block 1: thread 0: output 'y' is all zeros",))


@pytest.mark.parametrize("how", [bench.COUNTED, bench.TOOK_PART, bench.WHOLE_TIME, bench.OUTPUTS])
def test_a_throughput_that_lies(measured, how):
    assert problems(lie(measured, how)) == {how}


def test_launches_that_compute_nothing(right, monkeypatch):
    """A cached result: the outputs are still those of the inputs before the block."""
    monkeypatch.setattr(Session, "launch", lambda self, runs=1: None)
    with subject() as made:
        found = measure_threads(made.rt, made.engine, deal(right, 2), rounds=2, blocks=1)
    assert problems(found) == {bench.OUTPUTS}
    assert "the same thread to its inputs" in found.wrong[0]


def test_cross_talk_under_the_clock(right):
    with subject(SHIPPED + "contexts_exchange_rows") as made:
        found = measure_threads(made.rt, made.engine, deal(right, 3), rounds=2, blocks=2)
    assert bench.OUTPUTS in problems(found)
