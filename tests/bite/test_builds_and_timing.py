"""Builds, plans, GPU classes and clocks: each check has a subject that it catches, and only it."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from types import SimpleNamespace

import pytest

from pytest_trt.bench import trust
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.emulator.core import Core
from pytest_trt.emulator.plan import Plan
from pytest_trt.errors import UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _classes, _plans, _precision, _times
from tests.unit.check.models import PROFILE, conv_model

SHIPPED = "pytest_trt.emulator.faults:"


STRONG = _precision.Route(strong=True)


def settings_of(*names, **settings):
    full = tuple(name if ":" in name else SHIPPED + name for name in names)
    return Settings(**{"runtime": "emulator", "gpu": "t4", "faults": full, **settings})


def runtime(*names, **settings):
    return discover(settings_of(*names, **settings)).executor


def broken(checked):
    """Return the names of the checks that do not hold; there have to be checks."""
    rows = list(checked)
    assert rows
    return {check for check, note in rows if note is not None}


# Clocks.

CLOCKS = {
    "time_of_activation_negative": trust.LAYER_TIMES,
    "layer_reported_twice": trust.LAYER_TIMES,
    "layer_not_reported": trust.LAYER_TIMES,
    "time_ten_times_too_long": trust.WITHIN_HOST,
    "time_ten_times_too_short": trust.SHARE_OF_HOST,
    "time_cached": trust.NOT_CACHED,
    "time_of_failed_enqueue_counted": trust.FAILED_UNTIMED,
    "time_of_one_stream_as_total": trust.EVERY_STREAM,
}
SLOWER = {"five_percent_slower": "slower", "ten_percent_slower": "slower", "times_bimodal": "unreliable"}


@pytest.fixture
def made_up_time(monkeypatch):
    """The host waits 1 ms for each round; a convolution takes 0.7 ms, a ReLU 0.1, and a little more each time."""
    ticks, tocks = itertools.count(), itertools.count()
    counter = SimpleNamespace(perf_counter=lambda: 1e-3 * next(ticks))
    monkeypatch.setattr("pytest_trt.bench.clocks.time", counter)

    # Each thread of the emulator has a clock of its own, which a step moves on: streams side by side take equally long.
    now, run_observed = threading.local(), Core.run_observed

    def read():
        return getattr(now, "seconds", 0.0)

    def run(core, inputs, observe, foreign):
        def take_time(step, *given):
            now.seconds = read() + (7e-4 if step.node.op_type == "Conv" else 1e-4) + 1e-9 * next(tocks)
            observe(step, *given)

        return run_observed(core, inputs, take_time, foreign)

    monkeypatch.setattr("pytest_trt.emulator.launch.time", SimpleNamespace(perf_counter=read))
    monkeypatch.setattr(Core, "run_observed", run)


@pytest.mark.usefixtures("made_up_time")
@pytest.mark.parametrize("name", CLOCKS)
def test_a_clock_that_lies_is_caught_by_its_own_check_alone(name):
    rt = runtime(name)
    assert broken(_times.check_clock(rt)) == {CLOCKS[name]}
    assert broken(_times.check_profile(rt)) == set()


@pytest.mark.usefixtures("made_up_time")
def test_a_profile_that_comes_unasked_is_caught_by_its_own_check_alone():
    rt = runtime("profile_reported_unasked")
    assert broken(_times.check_profile(rt)) == {trust.WHEN_ASKED}
    assert broken(_times.check_clock(rt)) == set()


@pytest.mark.usefixtures("made_up_time")
def test_a_profiler_that_stays_on_while_whole_runs_are_timed_is_caught(monkeypatch):
    def profiled(self, rounds, warm_up):
        return tuple(self.run() for _ in range(rounds))

    monkeypatch.setattr("pytest_trt.bench.clocks.TimedSession.time_totals", profiled)
    rows = list(_times.check_profile(runtime()))
    assert broken(rows) == {trust.PROFILER_OFF}
    assert {check for check, _ in rows} == {trust.WHEN_ASKED, trust.PROFILER_OFF}


def slow_at_first(site):
    """The first two runs of a context take ten times as long: clocks rise, kernels are loaded."""
    return site.seconds * 10 if site.kind == "time" and not site.failed and site.run_index < 2 else None


def test_runs_of_the_warm_up_are_in_no_time():
    assert (
        _times.compare_contexts(runtime("tests.bite.test_builds_and_timing:slow_at_first")).verdict == "same"
    )


@pytest.mark.usefixtures("made_up_time")
def test_every_check_of_a_clock_has_its_subject():
    checks = {check for check, _ in _times.check_clock(runtime())}
    assert checks == set(CLOCKS.values())


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_an_honest_clock_is_trusted(emulate, request):
    rt = runtime(emulate=emulate)
    assert _times.compare_contexts(rt).verdict == "same"
    request.getfixturevalue("made_up_time")
    assert broken(_times.check_clock(rt)) == set()
    assert broken(_times.check_profile(rt)) == set()


@pytest.mark.parametrize("name", SLOWER)
def test_a_context_that_is_not_as_fast_is_told(name, request):
    rt = runtime(name)
    change = _times.compare_contexts(rt)
    request.getfixturevalue("made_up_time")
    assert change.verdict == SLOWER[name]
    if change.verdict == "slower":
        assert change.ratio == pytest.approx(1.05 if name.startswith("five") else 1.10)
    assert broken(_times.check_clock(rt)) == set()


# Precision.


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("name", ["engine_stays_fp32", "engine_in_tf32_for_16_bit", "one_layer_stays_fp32"])
def test_a_precision_that_was_ignored_is_caught(name, precision):
    rows = list(_precision.check_precision(runtime(name, gpu="a100"), precision, STRONG))
    if precision == "int8" and name == "engine_in_tf32_for_16_bit":
        assert broken(rows) == set()
        return
    assert broken(rows) == {_precision.PRECISION}
    block = next(note for _, note in rows if note and note.startswith("block"))
    if name == "one_layer_stays_fp32":
        assert (
            block
            == f"block, strongly typed: 3 of 4 working layers are in {precision}; in another type: matmul"
        )
    else:
        assert block.endswith("in another type: conv0, conv1, conv2, matmul")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_one_layer_in_another_precision_is_named_by_the_check_of_a_model(precision):
    made = settings_of("one_layer_stays_fp32")
    verdict = Workbench(made, discover(made)).judge(
        _precision.networks()["block"], precision=precision, data=("int_small",)
    )
    notes = {found.check: found.note for found in verdict.findings}
    assert notes["precision"].endswith("in another type: matmul")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_a_precision_that_was_kept_passes(precision):
    assert broken(_precision.check_precision(runtime(gpu="a100"), precision, STRONG)) == set()


def test_a_layer_list_without_a_working_layer_proves_nothing(monkeypatch):
    monkeypatch.setattr(_precision, "prove", lambda layers, asked, **_: _precision.Proof(asked))
    rows = list(_precision.check_precision(runtime(), "fp16", STRONG))
    assert broken(rows) == {_precision.PRECISION}
    assert rows[0][1] == "conv, strongly typed: no layer that multiplies is told, so nothing proves fp16"


@pytest.mark.parametrize(("precision", "state"), [("fp32", "on"), ("fp16", "on"), ("tf32", "off")])
def test_a_tf32_flag_that_was_not_taken_is_caught_by_its_own_check_alone(precision, state, monkeypatch):
    real, none = _precision.build_plan, frozenset()

    def stuck(rt, request):
        clear = frozenset({"TF32"}) if precision == "tf32" else none
        return real(rt, dataclasses.replace(request, clear=clear, flags=request.flags - {"TF32"}))

    monkeypatch.setattr(_precision, "build_plan", stuck)
    # A T4 has no TF32: elsewhere the names of kernels tell it as well.
    rows = list(_precision.check_precision(runtime(), precision, STRONG))
    assert broken(rows) == {_precision.TF32_FLAG}
    assert rows[1][1] == f"conv, strongly typed: the builder flag TF32 reads back {state} at {precision}"


def test_a_build_that_fails_is_caught_by_its_own_check_alone():
    rt = runtime("build_fails")
    assert broken(_precision.check_precision(rt, "fp32", STRONG)) == {_precision.REFUSED}
    with pytest.raises(UnsupportedError, match="Could not find any implementation"):
        _plans.build(rt)


# Plans.


def first_plan_is_not_loaded(site):
    """The first plan that is loaded gives nothing."""
    if site.kind == "load" and site.memory.setdefault("first", site.plan) is site.plan:
        site.plan = None


PLANS = {
    "tests.bite.test_builds_and_timing:first_plan_is_not_loaded": _plans.LOADS,
    "plan_of_other_engine_loaded": _plans.OWN_ENGINE,
    "build_fails_with_second_profile": _plans.TWO_PROFILES,
    "anything_accepted_as_plan": _plans.GARBAGE,
    "damaged_plan_accepted": _plans.DAMAGED,
    "plan_of_other_version_accepted": _plans.OTHER_VERSION,
    "plan_of_other_gpu_accepted": _plans.OTHER_GPU,
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_gone_wrong_is_caught_by_its_own_check_alone(name):
    assert broken(_plans.check_plans(runtime(name))) == {PLANS[name]}


@pytest.mark.parametrize("name", ["plan_damaged_in_build", "plan_truncated_in_build", "load_gives_nothing"])
def test_a_plan_that_is_refused_is_told_in_words(name):
    rows = list(_plans.check_plans(runtime(name)))
    assert broken(rows) == {_plans.LOADS, _plans.OWN_ENGINE, _plans.TWO_PROFILES}
    words = {"plan_damaged_in_build": "checksum mismatch", "plan_truncated_in_build": "truncated"}
    assert words.get(name, "deserialization failed") in rows[0][1]


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_good_plans_pass_and_every_check_has_its_subject(emulate):
    rows = list(_plans.check_plans(runtime(emulate=emulate)))
    assert broken(rows) == set()
    assert {check for check, _ in rows} == set(PLANS.values())


def test_a_refusal_without_a_word_is_a_failure(monkeypatch):
    monkeypatch.setattr(Plan, "is_headed", staticmethod(lambda data: False))
    rt = runtime()
    monkeypatch.setattr("pytest_trt.runtime.session.errors_in", lambda lines: ())
    assert _plans._refused(rt, bytes(100), "nothing") == "nothing was refused without a word"


# GPU classes and versions.


@pytest.mark.parametrize(
    ("names", "odd"),
    [((), ""), (("wrong_on_a100_only",), "a100"), (("wrong_on_t4_only", "wrong_on_a100_only"), "t4, a100")],
)
def test_a_gpu_class_that_computes_otherwise_is_caught_on_any_other(names, odd):
    made = settings_of(*names, gpu="l4", emulate="tensorrt_rtx-1.7" if not names else "tensorrt-10.13")
    ((check, note),) = _classes.check_classes(discover(made).executor, made)
    assert check == _classes.EVERY_CLASS
    assert note is None if not names else note.startswith(f"{odd}: other bits than on ")


OTHERWISE = [
    (name, precision)
    for name in ("version_shifts_mean", "version_doubles_error", "wrong_on_t4_only")
    for precision in ("fp32", "fp16", "int8")
    if precision in faults.FAULTS[name].contracts
]


@pytest.mark.parametrize(("name", "precision"), OTHERWISE)
def test_another_version_or_class_is_caught_by_its_numbers(name, precision):
    made = settings_of(name)
    verdict = Workbench(made, discover(made)).judge(
        conv_model(integer=False), precision=precision, profile=PROFILE, data=("uniform11",)
    )
    assert not verdict.passed
    assert {found.check for found in verdict.findings} & {"interval", "certificate"}


def test_every_fault_of_these_families_is_in_a_table_here():
    modules = ("builds", "plans", "timing")
    shipped = {n for n, entry in faults.FAULTS.items() if entry.call.__module__.split(".")[-1] in modules}
    told = {*CLOCKS, *SLOWER, *PLANS, "profile_reported_unasked"}
    told |= {"profile_a_quarter_too_long"}  # in test_timing
    told |= {"engine_stays_fp32", "engine_in_tf32_for_16_bit", "one_layer_stays_fp32", "build_fails"}
    told |= {"int8_layer_in_fp16", "tf32_although_it_is_off", "layer_list_of_what_did_not_run"}
    told |= {"plan_damaged_in_build", "plan_truncated_in_build", "load_gives_nothing"}
    told |= {"version_shifts_mean", "version_doubles_error", "wrong_on_t4_only", "wrong_on_a100_only"}
    assert shipped == {name for name in told if ":" not in name}
    assert all(faults.FAULTS[name].call.__doc__ for name in shipped)
