"""Bugs of builds that are repeated, and of builders in threads."""

from __future__ import annotations

from functools import partial

from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.parallel_builds import describe_parallel_builds
from pytest_trt.check.rebuild import check_rebuild, check_rebuild_from_cache
from pytest_trt.errors import UnsupportedError
from pytest_trt.strategies import Case

REBUILDS = 5
FIXED = Case.parse("conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_int-s1")
DYNAMIC = Case.parse("conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s2")
DIFFERS = "every_second_build_differs rebuilt_engine_differs fourth_build_differs"


@trigger("B48", precisions="fp32 fp16 int8", faults=DIFFERS)
def builds_are_repeated(trial: Trial) -> None:
    """Five more builds of one network give the same answers, with dynamic shapes too."""
    relations = partial(check_rebuild, rebuilds=REBUILDS)
    for case in (FIXED, DYNAMIC):
        trial.relate(
            case.model(),
            relations,
            ("int_small", "uniform11"),
            profile=case.profile,
            shapes=case.input_shapes,
            label=case.text,
        )


@trigger("B48", precisions="fp32 fp16", faults="build_from_timing_cache_differs")
def builds_from_one_timing_cache(trial: Trial) -> None:
    """Engines that are built from one timing cache give the same answers, with dynamic shapes too."""
    for case in (FIXED, DYNAMIC):
        trial.relate(
            case.model(),
            check_rebuild_from_cache,
            ("int_small", "uniform11"),
            profile=case.profile,
            shapes=case.input_shapes,
            label=case.text,
        )


@trigger("B53", faults="build_fails_beside_another")
def builders_in_threads(trial: Trial) -> None:
    """Threads with a builder and a runtime each build, load and run at once, and the process neither crashes nor hangs."""
    trial.demand([("build", describe_parallel_builds(trial.bench.settings) or None)])


@trigger("B53")
def real_builders_in_threads(trial: Trial) -> None:
    """Threads with a builder of a real TensorRT each build at once, and the process neither crashes nor hangs."""
    builder = trial.bench.discovery.builder
    if builder is None or builder is trial.rt:
        trial.skip("no TensorRT is here that builds and does not execute")
    try:
        words = describe_parallel_builds(trial.bench.settings, "builder")
    except UnsupportedError as error:
        trial.skip(f"{builder.title} for {builder.gpu.name}: {error.what}")
    trial.demand([("build", words or None)])
