"""Relations between runs that follow each other: an honest engine keeps them, and each is broken by its own fault."""

from __future__ import annotations

import ctypes
from functools import partial

import numpy as np
import pytest

from pytest_trt.cases.triggers import TRIGGERS, Inapplicable, Trial
from pytest_trt.check import memory_guard, rebuild, sequences
from pytest_trt.check.memory_guard import check_memory
from pytest_trt.check.parallel_builds import describe_parallel_builds
from pytest_trt.check.rebuild import check_rebuild, check_rebuild_from_cache
from pytest_trt.check.relations import REPEAT
from pytest_trt.check.replays import REPLAYED, check_replays
from pytest_trt.check.sequences import check_profiles_in_turn, check_repeats, check_sequences, fresh_bases
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ExecutionError, UnsupportedError, UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.sequence_faults:"
CASE = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
DYNAMIC = Case.parse("conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s2")


def settings(*faults):
    return Settings(runtime="emulator", gpu="t4", faults=faults)


def subject(*faults, case=CASE, precision="fp32", **build):
    made = settings(*faults)
    return Workbench(made, discover(made)).subject(case.model(), precision, case.profile, **build)


def feeds(case=CASE, count=3):
    rng = np.random.default_rng(3)
    return [
        {name: rng.integers(-4, 5, shape).astype(np.float32) for name, shape in case.input_shapes.items()}
        for _ in range(count)
    ]


def broken(made, check, case=CASE):
    """Return the names of the relations that a subject breaks."""
    with made:
        bases = fresh_bases(made, feeds(case))
        return {name for name, found in check(made, bases) if found is not None}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("check", [check_sequences, check_repeats, check_rebuild_from_cache])
def test_an_honest_engine_breaks_none(check, precision):
    assert broken(subject(precision=precision), check) == set()


@pytest.mark.parametrize(
    ("fault", "check", "relation"),
    [
        ("context_bound_to_its_first_stream", check_sequences, sequences.STREAMS),
        ("context_bound_to_its_first_thread", check_sequences, sequences.HANDED),
        ("enqueue_overwrites_the_one_before", check_sequences, sequences.SIDE_BY_SIDE),
        ("zeros_at_times_on_a_stream_of_its_own", check_repeats, REPEAT),
        ("build_from_timing_cache_differs", check_rebuild_from_cache, rebuild.REBUILT_FROM_CACHE),
        ("fourth_build_differs", partial(check_rebuild, rebuilds=3), rebuild.REBUILT),
    ],
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, check, relation):
    assert broken(subject(SHIPPED + fault), check) == {relation}


@pytest.mark.parametrize("fault", ["input_copy_overtaken_at_times", "previous_output_returned"])
def test_old_inputs_show_where_runs_follow_each_other(fault):
    only = partial(check_sequences, only=(sequences.FOLLOWS,))
    assert broken(subject(SHIPPED + fault), only) == {sequences.FOLLOWS}


def test_two_more_builds_do_not_see_what_differs_in_the_fourth():
    assert broken(subject(SHIPPED + "fourth_build_differs"), check_rebuild) == set()


def test_a_copy_that_does_not_keep_its_place_on_the_stream(monkeypatch):
    made = subject()

    def at_once(buffer, array, stream):
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        buffer.bytes[: raw.size] = raw

    monkeypatch.setattr(made.rt.memory, "upload", at_once)
    assert broken(made, check_sequences) == {sequences.FOLLOWS}


def test_a_run_that_writes_into_its_inputs():
    made = subject()
    engine = made.engine

    class Meddling:
        """A context whose run changes the last byte of an input when it is done."""

        def __init__(self, real):
            self.real, self.addresses = real, {}

        def __getattr__(self, name):
            return getattr(self.real, name)

        def set_tensor_address(self, name, address):
            self.addresses[name] = address
            return self.real.set_tensor_address(name, address)

        def execute_async_v3(self, stream):
            done = self.real.execute_async_v3(stream)
            size = int(np.prod(CASE.input_shapes["x"])) * 4
            last = (ctypes.c_ubyte * size).from_address(self.addresses["x"])
            made.rt.trt.emulated_streams.submit(
                stream, lambda: last.__setitem__(size - 1, last[size - 1] ^ 1)
            )
            return done

    class Proxy:
        def __getattr__(self, name):
            return getattr(engine, name)

        def create_execution_context(self):
            return Meddling(engine.create_execution_context())

    made.__dict__["engine"] = Proxy()
    assert broken(made, check_sequences) == {sequences.INPUTS_KEPT}


def turns(*faults):
    case = DYNAMIC
    wide = {"x": tuple(case.profile["x"])}
    return broken(subject(*faults, case=case, more_profiles=(wide,)), check_profiles_in_turn, case)


def test_contexts_of_two_profiles_take_turns():
    assert turns() == set()
    assert turns(SHIPPED + "context_wrong_after_another_ran") == {sequences.TURNS}


def test_what_cannot_be_told_apart_is_refused():
    with subject() as made:
        bases = fresh_bases(made, feeds())
        with pytest.raises(UsageError, match="told apart by their inputs"):
            list(check_sequences(made, bases[:1]))
        with pytest.raises(UsageError, match="two profiles take turns"):
            list(check_profiles_in_turn(made, bases))


def memory(*faults):
    with subject(*faults) as made:
        return [words for _, words in check_memory(made, fresh_bases(made, feeds(count=1))[0])]


def test_contexts_that_leak():
    assert set(memory()) == {None}
    (words,) = {
        words for words in memory(SHIPPED + "contexts_leak") if words and words.startswith("the heap")
    }
    assert 60_000 < int(words.split()[5]) < 80_000  # 64 KiB of each


def test_what_grows_in_eight_of_ten_batches_is_a_leak_and_else_nothing():
    def grown(*batches):
        return memory_guard.steady_growth(np.cumsum([1 << 30, *batches]).tolist())

    page = memory_guard.CYCLES * memory_guard.LEAST_BYTES
    assert grown(*[page] * 10) == grown(0, -page, *[2 * page] * 7, page) == 512
    assert grown(0, 0, 0, *[page] * 7) == grown(*[page - 1] * 10) == grown() == 0


class Driver:
    """A CUDA driver whose graphs are what `replayed` says: the enqueue itself, or nothing."""

    def __init__(self, session, replayed="run", nodes=3, begun=0):
        self.session, self.replayed, self.nodes, self.begun = session, replayed, nodes, begun
        self.destroyed = []

    def cuStreamBeginCapture_v2(self, stream, mode):
        return self.begun

    def cuStreamEndCapture(self, stream, graph):
        graph._obj.value = 7
        return 0

    def cuGraphGetNodes(self, graph, nodes, count):
        count._obj.value = self.nodes
        return 0

    def cuGraphInstantiateWithFlags(self, made, graph, flags):
        made._obj.value = 9
        return 0

    def cuGraphLaunch(self, made, stream):
        if self.replayed == "run":
            self.session.context.execute_async_v3(stream.value)
        return 0

    def cuGraphExecDestroy(self, made):
        self.destroyed.append(made.value)
        return 0

    def cuGraphDestroy(self, graph):
        self.destroyed.append(graph.value)
        return 0


def replays(**how):
    with subject() as made:
        bases = fresh_bases(made, feeds(count=2))
        driver = Driver(made.session, **how)
        found = {name for name, each in check_replays(made, bases, driver) if each is not None}
        assert driver.destroyed == [9, 7]
        return found


def test_a_replay_that_runs_nothing_shows_by_the_poison():
    assert replays() == set()
    assert replays(replayed="nothing") == {REPLAYED}


@pytest.mark.parametrize(
    ("how", "words"),
    [({"nodes": 0}, "graph is empty"), ({"begun": 901}, "cuStreamBeginCapture_v2 answered 901")],
)
def test_a_capture_that_caught_nothing_is_an_error(how, words):
    with pytest.raises(ExecutionError, match=words):
        replays(**how)


def test_a_hardware_compatible_engine_whose_third_enqueue_fails():
    each = TRIGGERS["a_hardware_compatible_engine"]

    def provoke(gpu, *faults):
        made = Settings(runtime="emulator", gpu=gpu, faults=faults)
        each.provoke(Trial(Workbench(made, discover(made)), "fp32"))

    provoke("a100")
    with pytest.raises(ExecutionError, match="did not enqueue"):
        provoke("a100", SHIPPED + "third_enqueue_fails")
    with pytest.raises(Inapplicable, match="no hardware-compatible engines for t4"):
        provoke("t4")


def test_builders_in_threads():
    assert describe_parallel_builds(settings()) == ""
    refused = describe_parallel_builds(settings(SHIPPED + "build_fails_beside_another"))
    assert "did not build the model" in refused and "and " in refused


def test_builders_that_crash_or_hang_cost_their_process_alone():
    assert describe_parallel_builds(settings(OWN + "second_builder_crashes")).endswith("the process: SIGSEGV")
    assert "did not end within 2 s" in describe_parallel_builds(
        settings(OWN + "second_builder_hangs"), limit_seconds=2
    )


def test_a_network_that_is_refused_alone_says_nothing_of_threads():
    with pytest.raises(UnsupportedError, match="does not build alone"):
        describe_parallel_builds(settings(OWN + "every_builder_raises"))
