"""Faults of workspace limits, timing caches and types: each check of the suites has one that breaks it alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_trt.check import workspace
from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import tuning as shipped_faults
from pytest_trt.records import LayerInfo, Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from pytest_trt.runtime.timing_cache import TimingCache
from suites import _autotuning as tuning

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.tuning_faults:"
VERSIONS = ("tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7")


def emulator(*names, version="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", emulate=version, gpu="l4", faults=names)).executor


def broken(rows):
    return {check for check, wrong in rows if wrong is not None}


def walked(rt, build=build_plan):
    steps = workspace.walk(rt, build=build)
    return [*workspace.check_steps(steps, must_refuse=True), *workspace.check_engines(rt, steps)]


def tuned(rt):
    pools = tuning.check_pools(rt) if rt.features.weak_typing else []
    return [*tuning.check_cache(rt), *pools, *tuning.check_steering(rt)]


WALKED = {
    "small_workspace_gives_another_answer": {workspace.ANSWER},
    "workspace_limit_ignored": {workspace.MEMORY},
    "workspace_refused_without_words": {workspace.WORDS},
}
TUNED = {
    "cached_tactics_not_reused": {tuning.REPEATS, tuning.COMBINED},
    "timing_cache_of_other_version_accepted": {tuning.FOREIGN},
    "fp16_without_its_flag": {tuning.POOL},
    "conversions_not_listed": {tuning.REFORMATS},
    "highest_optimization_level_gives_another_answer": {tuning.STEERED},
}


def test_every_fault_has_a_row():
    shipped = {n for n, entry in faults.FAULTS.items() if entry.call.__module__ == shipped_faults.__name__}
    assert shipped == WALKED.keys() | TUNED.keys()


@pytest.mark.parametrize("name", WALKED)
def test_a_fault_of_workspace_breaks_its_check_alone(name):
    assert broken(walked(emulator(SHIPPED + name))) == WALKED[name]


@pytest.mark.parametrize("name", TUNED)
def test_a_fault_of_tuning_breaks_its_checks_alone(name):
    assert broken(tuned(emulator(SHIPPED + name))) == TUNED[name]


def unlimited(rt, request, **options):
    """Build with all the memory there is where one byte is allowed."""
    if request.workspace_bytes != 1:
        return build_plan(rt, request, **options)
    plan = build_plan(rt, BuildRequest(request.model), **options)
    return plan


def deaf(rt, request, configure):
    """Tell the configuration of another limit than was asked for."""

    def tell(config):
        seen = config.get_memory_pool_limit
        configure(SimpleNamespace(get_memory_pool_limit=lambda pool: seen(pool) // 2))

    return build_plan(rt, request, configure=tell)


@pytest.mark.parametrize(
    ("name", "build", "checks"),
    [
        (OWN + "middle_limit_refused", build_plan, {workspace.MONOTONE}),
        (OWN + "nothing_builds", build_plan, {workspace.DEFAULT_BUILDS}),
        ("", deaf, {workspace.READ_BACK}),
        ("", unlimited, {workspace.REFUSED, workspace.READ_BACK, workspace.MEMORY}),
    ],
)
def test_other_checks_of_the_workspace_are_broken(name, build, checks):
    rt = emulator(*[name] if name else [])
    if build is deaf:
        limits = (None, workspace.GIB, 1 << 20)
        steps = workspace.walk(rt, limits, build=build)
        assert broken(workspace.check_steps(steps, must_refuse=True)) == checks
    else:
        assert broken(walked(rt, build)) == checks


def test_one_byte_that_builds_is_seen_alone():
    steps = [
        workspace.Step(
            1, build_plan(emulator(), BuildRequest(workspace.convolution()[0].SerializeToString())), read=1
        )
    ]
    assert broken(workspace.check_steps(steps, must_refuse=True)) == {workspace.REFUSED}
    assert broken(workspace.check_steps(steps, must_refuse=False)) == set()


@pytest.mark.parametrize("version", VERSIONS)
def test_an_honest_engine_breaks_no_check(version):
    rt = emulator(version=version)
    assert broken(walked(rt)) == set() and broken(tuned(rt)) == set()


def test_a_miss_that_is_no_error_is_seen():
    def lenient(rt, request, configure):
        weak = BuildRequest(request.model, strongly_typed=request.strongly_typed)
        return build_plan(rt, weak, configure=configure)

    assert broken(tuning.check_cache(emulator(), lenient)) == {tuning.MISS}


def test_caches_that_do_not_combine_are_seen(monkeypatch):
    monkeypatch.setattr(TimingCache, "combine", lambda self, other: False)
    assert broken(tuning.check_cache(emulator())) == {tuning.COMBINED}


def test_a_timing_cache_of_rtx_with_an_effect_is_seen(monkeypatch):
    rt = emulator(version="tensorrt_rtx-1.7")
    numbers = iter(range(9))
    monkeypatch.setattr(TimingCache, "data", property(lambda self: b"%d" % next(numbers)))
    assert broken(tuning.check_no_op(rt)) == {tuning.NO_OP}
    monkeypatch.undo()
    monkeypatch.setattr(TimingCache, "_note", lambda self, seen: None)
    assert broken(tuning.check_no_op(rt)) == {tuning.NO_OP}


def test_layers_that_are_not_told_are_seen():
    assert tuning.outside_pool([], ()) and "no layer converts it" in tuning.unconverted(
        [LayerInfo("c", "Convolution", ("fp16",), ("fp16",), reads=("x",), writes=("y",))], {"x": "fp32"}
    )
