"""Sessions on a real GPU: answers, guards, order, what they leave behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from onnx import helper

from pytest_trt.errors import ExecutionError, InputError, UsageError
from pytest_trt.runtime import BuildRequest, Session, build_plan, load_engine
from pytest_trt.runtime.driver import load_library
from pytest_trt.runtime.graphs import CapturedRun, why_no_graphs
from pytest_trt.runtime.session import CANARY_BYTES, FRONT_BYTES

from ..unit.emulator.models import make
from .conftest import PROFILE, frames

SESSIONS, SPARE_BYTES = 200, 32 << 20
THREADS, RUNS = 8, 25
TERMS = 64  # of each sum of the drawn network
EPSILON = 2.0**-24  # half a unit in the last place of float32, relative


@pytest.fixture
def session(rt, plan):
    before = rt.memory.live()
    with Session(rt, plan) as made:
        yield made
    after = rt.memory.live()
    assert (after.buffers, after.bytes, after.streams) == (before.buffers, before.bytes, before.streams)


@pytest.fixture(scope="module")
def answers(cpu, plan):
    """What the emulator gives on the CPU, by batch and seed."""
    known = {}
    with Session(cpu, plan) as reference:

        def answer(batch, seed):
            if (batch, seed) not in known:
                known[batch, seed] = reference.run({"x": frames(batch, seed)})["y"]
            return known[batch, seed]

        yield answer


def test_the_answers_are_those_of_the_cpu(session, answers):
    for turn, batch in enumerate((2, 8, 1, 2, 8)):
        got = session.run({"x": frames(batch, turn)})["y"]
        np.testing.assert_array_equal(got, answers(batch, turn))


def test_drawn_answers_lie_within_the_limit(rt, cpu):
    rng = np.random.default_rng(1)
    w = rng.standard_normal((TERMS, 32)).astype("f4")
    x = rng.standard_normal((16, TERMS)).astype("f4")
    model = make(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [16, TERMS]}, {"y": [16, 32]}, {"w": w}
    )
    plan = build_plan(rt, BuildRequest(model.SerializeToString()))
    with Session(rt, plan) as here, Session(cpu, plan) as there:
        got, want = here.run({"x": x})["y"], there.run({"x": x})["y"]
    # Each of the two is within n*eps of the exact sum of absolute products (Higham, Accuracy and Stability, 3.1).
    limit = 2.02 * TERMS * EPSILON * (np.abs(x).astype("f8") @ np.abs(w).astype("f8"))
    assert (np.abs(got.astype("f8") - want) <= limit).all()


def test_a_run_on_another_stream_and_the_synchronous_one(session, answers):
    memory = session.memory
    stream = memory.create_stream()
    for turn in range(5):
        given = {"x": frames(2, turn)}
        np.testing.assert_array_equal(session.run(given, stream=stream)["y"], answers(2, turn))
        np.testing.assert_array_equal(session.run(given, synchronous=True)["y"], answers(2, turn))
        np.testing.assert_array_equal(session.run(given)["y"], answers(2, turn))
    memory.destroy_stream(stream)


def test_enqueued_runs_of_two_sessions_do_not_mix(rt, plan, answers):
    engine = load_engine(rt, plan)
    with Session(rt, engine) as first, Session(rt, engine) as second:
        for turn in range(RUNS):
            takes = [one.enqueue({"x": frames(2, 10 * turn + n)}) for n, one in enumerate((first, second))]
            for n, take in reversed(list(enumerate(takes))):
                np.testing.assert_array_equal(take()["y"], answers(2, 10 * turn + n))


def test_launching_again_gives_the_same(session, answers):
    session.run({"x": frames(2, 3)})
    session.launch(RUNS)
    session.overwrite_inputs({"x": frames(2, 4)})
    session.launch()
    want = answers(2, 4)
    with session.memory.read([(session._buffers["y"], FRONT_BYTES + want.nbytes)], session.stream) as (raw,):
        got = raw[FRONT_BYTES:].copy().view(np.float32).reshape(want.shape)
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(session.run({"x": frames(2, 3)})["y"], answers(2, 3))


def test_an_output_that_is_not_written_holds_the_poison(session):
    session.run({"x": frames(2, 0)})
    assert np.isnan(session.replay(lambda: None, {"x": frames(2, 0)})["y"]).all()


@pytest.mark.parametrize("place", ["before the start", "behind the end"])
def test_a_write_outside_of_an_output_is_found(session, answers, place):
    session.run({"x": frames(2, 0)})
    buffer = session._buffers["y"]
    end = FRONT_BYTES + answers(2, 0).nbytes
    start = FRONT_BYTES - 1 if place == "before the start" else end + CANARY_BYTES - 1
    take = session.enqueue({"x": frames(2, 1)})
    session.memory.poison(buffer, 0, session.stream, start, start + 1)
    with pytest.raises(ExecutionError, match=f"{place} of output 'y'"):
        take()
    np.testing.assert_array_equal(session.run({"x": frames(2, 2)})["y"], answers(2, 2))


def test_threads_with_a_session_each(rt, plan, answers):
    want = {seed: answers(2, seed) for seed in range(THREADS)}
    engine, start, wrong = load_engine(rt, plan), threading.Barrier(THREADS), []

    def work(number):
        try:
            with Session(rt, engine) as made:
                start.wait(120)
                for turn in range(RUNS):
                    seed = (number + turn) % THREADS
                    if not np.array_equal(made.run({"x": frames(2, seed)})["y"], want[seed]):
                        wrong.append((number, turn))
        except Exception as error:
            wrong.append((number, repr(error)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_sessions_leave_nothing(rt, plan):
    engine = load_engine(rt, plan)
    x = frames(2, 0)

    def once():
        with Session(rt, engine) as made:
            made.run({"x": x})

    for _ in range(3):
        once()
    live, used = rt.memory.live(), rt.memory.used_bytes()
    for _ in range(SESSIONS):
        once()
    assert rt.memory.live() == live
    assert abs(rt.memory.used_bytes() - used) <= SPARE_BYTES


def test_runs_that_fail_leave_nothing(rt, plan, answers):
    before = rt.memory.live()
    with Session(rt, plan) as made:
        with pytest.raises(InputError):
            made.run({"x": np.zeros((9, *PROFILE[0][1:]), np.float32)})
        take = made.enqueue({"x": frames(2, 0)})
        with pytest.raises(UsageError, match="have not been taken"):
            made.run({"x": frames(2, 1)})
        take()
        made.enqueue({"x": frames(2, 0)})  # nobody takes it
    after = rt.memory.live()
    assert (after.buffers, after.streams) == (before.buffers, before.streams)


def test_a_capture_is_refused_in_words_and_the_session_lives_on(session, rt, answers):
    assert "is not captured" in why_no_graphs(rt)
    with pytest.raises(ExecutionError):
        CapturedRun(session, {"x": frames(2, 0)}, driver=load_library())
    np.testing.assert_array_equal(session.run({"x": frames(2, 1)})["y"], answers(2, 1))
