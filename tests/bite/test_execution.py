"""The two ways to run an engine: each fault is caught by its own check and by no other."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest

from pytest_trt.check import modes
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator.faults import FAULTS, dumps
from pytest_trt.errors import ConformanceError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case
from suites import _execute
from suites._dump import trunk
from suites._execute import chain, in_child, integers
from suites._refused import known_refusals
from suites.test_execute import CASE

SHIPPED = "pytest_trt.emulator.faults:"
FEEDS, SHAPES = integers(8), {"x": (8, 8)}
SETTINGS = Settings(runtime="emulator", gpu="t4")


def bench(*faults, emulate="tensorrt-10.13"):
    made = Settings(runtime="emulator", gpu="t4", emulate=emulate, faults=faults)
    return Workbench(made, discover(made))


def found(*faults, emulate="tensorrt-10.13"):
    """Return the names of all checks that something is wrong with."""
    with bench(*faults, emulate=emulate).session(chain(8, 3), "fp32") as session:
        rows = [
            *modes.check_early(session, FEEDS),
            *modes.check_debug_sync(session, FEEDS),
            *modes.check_addresses(session, SHAPES),
            *modes.check_input_event(session, FEEDS),
        ]
    assert len({name for name, _ in rows}) == 9
    return {name for name, wrong in rows if wrong is not None} | related(*faults, emulate=emulate)


def related(*faults, precision="fp32", **options):
    case = Case.parse(CASE)
    try:
        bench(*faults, **options).relate(
            case.model(),
            modes.check_modes,
            precision=precision,
            data=("int_small", "uniform11"),
            profile=case.profile,
            shapes=case.input_shapes,
        )
    except ConformanceError as error:
        return {one.check for one in error.verdict.findings}
    return set()


def late_synchronous_runs_differ(site):
    """A synchronous run is wrong from the sixth run of a context on."""
    if site.kind == "execute" and site.stream == 0 and site.run_index > 4:
        for values in site.outputs.values():
            values += 1


def real_data_differ_when_waited_for(site):
    """A synchronous run is wrong on inputs that are no integers, the first time."""
    x = next(iter(site.inputs.values())) if site.kind == "execute" else None
    if x is not None and site.stream == 0 and (x % 1).any() and site.memory.setdefault("told", True):
        site.memory["told"] = False
        for values in site.outputs.values():
            values += 1


def not_done_in_the_end(site):
    """The first run behind other work is not done, though the stream was waited for."""
    if site.kind == "execute" and site.run_index == 1 and site.stream:
        for values in site.outputs.values():
            values[...] = 0


def other_event(context):
    """A context that knows another event than it was given."""

    class Forgetful:
        def __getattr__(self, name):
            return getattr(context, name)

        def get_input_consumed_event(self):
            return 0

    return Forgetful()


CAUGHT = {
    "synchronous_run_differs_in_the_last_bit": {modes.SAME_BITS, modes.MIXED},
    "enqueue_waits_until_done": {modes.EARLY},
    "enqueue_without_an_address_is_taken": {modes.ASYNC_REFUSED},
    "synchronous_run_without_an_address_is_taken": {modes.SYNC_REFUSED},
    "debug_sync_tells_nothing": {modes.SYNC_LOGGED},
    "asynchronous_run_tells_its_layers": {modes.ASYNC_SILENT},
    "input_event_never_fires": {modes.EVENT_FIRED},
    "input_event_fires_before_the_inputs_are_read": {modes.EVENT_LATE},
}
VERSIONS = ["tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-11.4", "tensorrt_rtx-1.7"]


@pytest.mark.parametrize("emulate", ["tensorrt-10.13", *VERSIONS])
def test_an_honest_engine_passes(emulate):
    assert found(emulate=emulate) == set()


@pytest.mark.parametrize("name", CAUGHT)
def test_a_fault_is_caught_by_its_check(name):
    assert FAULTS[name].call.__module__ == dumps.__name__
    assert found(SHIPPED + name) == CAUGHT[name]


@pytest.mark.parametrize(
    ("fault", "relation"),
    [
        ("late_synchronous_runs_differ", modes.MIXED),
        ("real_data_differ_when_waited_for", modes.SAME),
    ],
)
def test_each_relation_is_broken_by_its_own_fault_alone(fault, relation):
    assert related(f"tests.bite.test_execution:{fault}") == {relation}


def test_a_run_that_is_not_done_in_the_end_is_caught():
    with bench("tests.bite.test_execution:not_done_in_the_end").session(chain(8, 3), "fp32") as session:
        rows = dict(modes.check_early(session, FEEDS))
    assert rows[modes.EARLY] is None and "other bits" in rows[modes.COMPLETE]


def test_an_event_that_is_forgotten_is_caught():
    with bench().session(chain(8, 3), "fp32") as session:
        session.context = other_event(session.context)
        rows = dict(modes.check_input_event(session, FEEDS))
    assert {name for name, wrong in rows.items() if wrong} == {modes.EVENT_TAKEN}


class Stream:
    """A stream of CUDA that is idle, or at work the first times that it is asked."""

    def __init__(self, busy):
        self.busy = list(busy)

    def is_done(self):
        return not (self.busy.pop(0) if self.busy else False)


@pytest.mark.parametrize(("busy", "wrong"), [((), True), ((False, False, True), False), ((True,), False)])
def test_a_gpu_is_asked_whether_it_is_at_work(busy, wrong):
    with bench().session(chain(8, 3), "fp32") as session:
        fake = SimpleNamespace(
            stream=Stream(busy), run=session.run, enqueue=session.enqueue, memory=session.memory
        )
        rows = dict(modes.check_early(fake, FEEDS))
    assert bool(rows[modes.EARLY]) is wrong and rows[modes.COMPLETE] is None


def test_a_child_process_asks_the_same():
    assert dict(in_child(SETTINGS)) == {modes.ASYNC_REFUSED: None, modes.SYNC_REFUSED: None}


def test_a_child_that_crashes_is_told(monkeypatch):
    ended = subprocess.CompletedProcess(
        [], -11, 'row ["missing-address-refused", null]\n', "Segmentation fault\n"
    )
    monkeypatch.setattr(_execute.subprocess, "run", lambda *args, **options: ended)
    rows = dict(in_child(SETTINGS))
    assert rows[modes.ASYNC_REFUSED] is None and "ended with -11: Segmentation" in rows[modes.SYNC_REFUSED]


class Refusing:
    """A TensorRT-RTX for Turing, that refuses what it is given."""

    def __init__(self, emulated):
        self.emulated, self.product, self.version = emulated, "tensorrt_rtx", "1.7.1.116"
        self.gpu = bench().executor.gpu


@pytest.mark.parametrize(("emulated", "model", "outcome"), [
    (False, chain(8, 3), pytest.skip.Exception),
    (True, chain(8, 3), UnsupportedError),
    (False, trunk(), UnsupportedError),
])  # fmt: skip
def test_only_a_known_refusal_is_not_applicable(emulated, model, outcome):
    with pytest.raises(outcome, match="no FP32 products"), known_refusals(Refusing(emulated), model, "fp32"):
        raise UnsupportedError("no FP32 products")
