"""Runs in threads: what is dealt, what is counted, and in which words an answer that went astray is told."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pytest_trt.check import crosstalk
from pytest_trt.check.concurrent import trials_for
from pytest_trt.check.crosstalk import deal, describe_power, explain_wrong, hammer
from pytest_trt.check.relations import Base
from pytest_trt.errors import ExecutionError, UsageError


def base(start, shape=(2, 3), kind=np.float32):
    values = np.arange(start, start + np.prod(shape), dtype=kind).reshape(shape)
    return Base({"x": values}, {"y": values.copy()}, {})


BASES = [base(start) for start in (10, 20, 30, 40)]


class Fake:
    """A session that gives back its inputs, or what it is told to instead."""

    def __init__(self, instead=lambda run, values: values):
        self.instead, self.seen, self.threads = instead, 0, set()

    def run(self, feeds):
        self.threads.add(threading.get_ident())
        self.seen += 1
        return {"y": self.instead(self.seen - 1, feeds["x"].copy())}


@pytest.mark.parametrize(("probability", "runs"), [(1 / 100, 688), (1 / 1000, 6905), (1 / 10_000, 69_075)])
def test_rare_events_take_many_runs(probability, runs):
    assert trials_for(probability) == runs


def test_what_many_runs_say_of_rare_events():
    words = "{:,} checked runs: a cross-talk of one run in {:,} would be seen but for 1 time in 1,000"
    for runs, rate in ((52, 8), (688, 100), (6905, 1000), (20_000, 2896)):
        assert describe_power(runs) == words.format(runs, rate)


def test_bases_are_dealt_one_after_another():
    assert [[each.got["y"][0, 0] for each in bases] for bases in deal(BASES, 2)] == [[10, 30], [20, 40]]
    assert deal(BASES[:3], 2)[1] == [BASES[1]]


@pytest.mark.parametrize("threads", [0, 5, -1])
def test_each_thread_needs_a_base(threads):
    with pytest.raises(UsageError, match=f"4 runs cannot be dealt to {threads} threads"):
        deal(BASES, threads)


def test_answers_that_could_be_mixed_up_unseen_are_refused():
    twin = Base(
        {"x": np.zeros((2, 3), "f4")},
        {"y": np.concatenate([base(90).got["y"][:1], BASES[0].got["y"][:1]])},
        {},
    )
    with pytest.raises(UsageError, match="row 1 of output 'y' of run 4 is also row 0 of run 0"):
        deal([*BASES, twin], 2)
    same_rows = Base({"x": np.zeros((2, 3), "f4")}, {"y": np.ones((2, 3), "f4")}, {})
    assert len(deal([*BASES, same_rows], 5)) == 5  # rows of one answer among themselves may be equal


def test_every_run_of_every_thread_is_compared():
    sessions = [Fake(), Fake()]
    found = hammer(sessions, deal(BASES, 2), 7)
    assert (found.runs, found.wrong, found.first, found.by_thread) == (8, 0, None, ((4, 0), (4, 0)))
    assert [session.seen for session in sessions] == [4, 4] and str(found) == "0 of 8 runs wrong"
    assert len(sessions[0].threads) == len(sessions[1].threads) == 1


def test_wrong_runs_are_counted_and_the_first_one_told():
    def stale(run, values):
        return values - 20 if run % 2 and run > 1 else values

    found = hammer([Fake(), Fake(stale)], deal(BASES, 2), 12)
    assert (found.wrong, found.by_thread) == (2, ((6, 0), (6, 2)))
    assert (found.first.thread, found.first.run) == (1, 3)
    assert str(found) == (
        "2 of 12 runs wrong; thread 1, run 3: output 'y' is the answer of the same thread to its inputs 0"
    )
    assert found.first.broken.measure.bad == 6


def test_nan_with_other_bits_and_what_lies_within_the_limits_are_right():
    hidden = Base({"x": np.full((1, 2), np.nan, "f4")}, {"y": np.full((1, 2), np.nan, "f4")}, {})
    other = Fake(lambda run, values: np.uint32([[0xFFC00001, 0x7FC00002]]).view("f4"))
    assert hammer([other], [[hidden]], 3).wrong == 0


def test_a_thread_that_fails_is_no_run():
    def fail(run, values):
        raise ExecutionError("refused")

    steady = Fake()
    with pytest.raises(ExecutionError, match="refused"):
        hammer([Fake(fail), steady], deal(BASES, 2), 10)
    assert steady.seen == 5


@pytest.mark.parametrize(("sessions", "cases"), [(1, 2), (0, 0), (2, 1)])
def test_each_session_has_its_cases(sessions, cases):
    with pytest.raises(UsageError, match=f"{sessions} sessions cannot run {cases} lists"):
        hammer([Fake() for _ in range(sessions)], deal(BASES, cases) if cases else [], 4)
    with pytest.raises(UsageError):
        hammer([Fake()], [[]], 4)


def altered(change, kind=np.float32):
    values = BASES[0].got["y"].astype(kind)
    change(values)
    return values


def put(where, what):
    def change(values):
        values[where] = what

    return change


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((1, 3), "f4"), "output 'y' has shape (1, 3), not (2, 3)"),
        (np.zeros((2, 3), "f4"), "output 'y' is all zeros"),
        (BASES[1].got["y"], "output 'y' is the answer of thread 1 to its inputs 0"),
        (BASES[2].got["y"], "output 'y' is the answer of the same thread to its inputs 1"),
        (altered(put(1, BASES[3].got["y"][0])), "row 1 of output 'y' is row 0 of thread 1 to its inputs 1"),
        (altered(put(1, BASES[0].got["y"][0])), "row 1 of output 'y' is row 0 of the same answer"),
        (
            altered(put((1, slice(1, None)), BASES[1].got["y"][1, 1:])),
            "2 elements of output 'y' are those of thread 1 to its inputs 0",
        ),
        (
            altered(put((1, slice(1, None)), np.uint32(0xFFFFFFFF).view("f4"))),
            "2 of 6 elements of output 'y' were never written",
        ),
        (altered(put((1, 1), -5.0)), "1 of 2 rows of output 'y' are nobody's"),
        (BASES[0].got["y"], "its own answer"),
    ],
)
def test_whose_answer_it_was(values, words):
    assert explain_wrong(deal(BASES, 2), 0, BASES[0], {"y": values}) == f"thread 0: {words}"


def test_answers_of_other_shapes_and_without_rows_are_told_apart():
    mixed = [base(1, ()), base(5, (3,)), base(50, (1, 4))]
    assert explain_wrong([[each] for each in mixed], 1, mixed[1], {"y": np.float32([9, 8, 7])}) == (
        "thread 1: 1 of 1 rows of output 'y' are nobody's"
    )
    assert explain_wrong([[each] for each in mixed], 0, mixed[0], {"y": np.float32(5)}).endswith("nobody's")


def test_integers_are_told_as_well():
    whole = [base(1, kind=np.int8), base(40, kind=np.int8)]
    got = whole[0].got["y"].copy()
    got[1, 2] = -1
    assert "1 of 6 elements of output 'y' were never written" in explain_wrong(
        [[each] for each in whole], 0, whole[0], {"y": got}
    )


def test_threads_that_do_not_come_together(monkeypatch):
    monkeypatch.setattr(crosstalk, "START_SECONDS", 0.01)
    monkeypatch.setattr(crosstalk, "run_in_threads", lambda works: [works[0]()])
    with pytest.raises(threading.BrokenBarrierError):
        hammer([Fake(), Fake()], deal(BASES, 2), 4)
