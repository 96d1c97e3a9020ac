"""The limits of a model's outputs, without running it."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.check.final import FinalLimits
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import InputError
from pytest_trt.numerics.judge import measure
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case

from .deep_models import SHAPE, deep_model
from .test_dump import noisy_model

GEMM = Case.parse("gemm-n8-k64-o33-ta0-tb1-al4-be4-b1-w_int-s9")
CONV = Case.parse("conv2d-n2-c8-o16-i8x7-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x2x4-w_real-s1")


@pytest.fixture(scope="module")
def bench():
    settings = Settings(runtime="emulator", gpu="t4")
    bench = Workbench(settings, discover(settings))
    yield bench
    bench.close()


def data(case, kind="int"):
    rng = np.random.default_rng(0)
    draw = {"int": lambda shape: rng.integers(-2, 3, shape), "real": lambda shape: rng.uniform(-1, 1, shape)}[
        kind
    ]
    return {name: draw(shape).astype(np.float32) for name, shape in case.input_shapes.items()}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("case", [GEMM, CONV], ids=["gemm", "conv"])
def test_an_honest_run_is_inside(bench, case, precision):
    inputs = data(case, "real")
    limits = bench.limits(case.model(), inputs, precision, case.profile)
    with limits.subject as subject:
        got = subject.run(limits.feeds)
    assert list(limits) == list(got) == ["y"] and len(limits) == 1
    assert not measure(got["y"], limits["y"]).bad
    assert measure(got["y"] + 1, limits["y"]).bad == got["y"].size
    assert limits["y"] is limits["y"], "worked out once"
    with pytest.raises(KeyError):
        limits["z"]


def test_whole_numbers_are_certified_and_others_are_not(bench):
    assert bench.limits(GEMM.model(), data(GEMM), "fp32").certified == {"y"}
    assert bench.limits(CONV.model(), data(CONV, "real"), "fp32", CONV.profile).certified == frozenset()


def test_the_scales_are_those_of_the_session(bench):
    """INT8 without calibration data: both draw the same ones."""
    inputs = data(GEMM, "real")
    with bench.session(GEMM.model(), "int8") as session:
        got = session.run(inputs)
    assert not measure(got["y"], bench.limits(GEMM.model(), inputs, "int8")["y"]).bad


def test_a_profile_follows_from_the_inputs(bench):
    limits = bench.limits(CONV.model(), data(CONV, "real"), "fp32")
    assert limits["y"].mid.shape == (2, 16, 8, 7)


def test_wrong_inputs(bench):
    with pytest.raises(InputError, match="no input 'z'"):
        bench.limits(GEMM.model(), {"z": np.ones(3, np.float32)}, "fp32")


@pytest.mark.parametrize("make", [deep_model, noisy_model])
def test_deep_networks_have_the_limits_of_all_layers_together(bench, make):
    rng = np.random.default_rng(0)
    limits = bench.limits(make(), {"x": rng.uniform(-1, 1, SHAPE).astype(np.float32)}, "fp32")
    with limits.subject as subject:
        got = subject.run(limits.feeds)["y"]
    assert list(limits) == ["y"] and len(limits) == 1 and limits.certified == frozenset()
    assert not measure(got, limits["y"]).bad
    assert measure(got + 0.1, limits["y"]).bad == got.size


def test_the_limits_of_a_deep_network_are_the_hull_of_those_of_the_rungs(bench):
    limits = bench.limits(deep_model(), {"x": np.ones(SHAPE, np.float32)}, "fp32")
    hull = limits["y"]
    subject = limits.subject
    for rung in ("direct", "winograd"):
        one = FinalLimits(subject.graph, limits.feeds, subject.contract, (rung,), "fp32").limits()["y"]
        assert (hull.low <= one.low).all() and (hull.high >= one.high).all()
