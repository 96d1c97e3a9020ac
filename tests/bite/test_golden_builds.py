"""Goldens of builds: each thing that they keep has a TensorRT that is wrong in it alone, and an honest one passes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pytest_trt.golden import builds
from pytest_trt.golden.apart import Asked, build_apart
from pytest_trt.golden.builds import golden_of_build, golden_of_parser
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.record import BENIGN, DRIFT, IDENTICAL, REGRESSION
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.build_faults:"
HONEST = Settings(runtime="emulator", gpu="l4")
GEMM = Case.parse("gemm-n4-k16-o8-ta0-tb0-al4-be4-b1-w_int-s0")
DEPTHWISE = Case.parse("conv2d-n1-c33-o33-i4x5-k3x3-t1x1-p1x0x1x2-d1x1-g33-b1-w_grid-s3")
# What a fault of the builder changes in the golden, and the class of that.
CAUGHT = {
    f"{SHIPPED}engine_stays_fp32": (GEMM, "fp16", DRIFT, "layers by type"),
    f"{SHIPPED}one_layer_stays_fp32": (GEMM, "fp16", DRIFT, "layers by type"),
    f"{OWN}gemm_refused": (GEMM, "fp32", REGRESSION, "it was built and is refused"),
    f"{SHIPPED}quantised_depthwise_refused": (DEPTHWISE, "int8", REGRESSION, "it was built and is refused"),
}


def runtime(*faults, **more):
    return discover(replace(HONEST, faults=faults, **more)).executor


def made(rt, case, precision):
    feed = {name: np.ones(shape, np.float32) for name, shape in case.input_shapes.items()}
    return golden_of_build(rt, "build-x", case.model(), precision, feed=feed, profile=case.profile)


@pytest.mark.parametrize("fault", CAUGHT)
def test_a_builder_that_is_wrong_is_caught(fault):
    case, precision, outcome, words = CAUGHT[fault]
    found = compare_builds(made(runtime(), case, precision), made(runtime(fault), case, precision))
    assert found.outcome == outcome
    assert len(found.why) == 1 and words in found.why[0]


@pytest.mark.parametrize("case", [GEMM, DEPTHWISE])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_honest_builder_gives_the_same_golden_again(case, precision):
    assert (
        compare_builds(made(runtime(), case, precision), made(runtime(), case, precision)).outcome
        == IDENTICAL
    )


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_an_honest_builder_of_another_version_is_not_worse(emulate):
    found = compare_builds(made(runtime(), GEMM, "fp16"), made(runtime(emulate=emulate), GEMM, "fp16"))
    assert found.outcome in (IDENTICAL, BENIGN)


def test_an_engine_that_asks_for_more_memory_is_caught(monkeypatch):
    honest = made(runtime(), GEMM, "fp16")
    actual = builds._device_memory
    monkeypatch.setattr(builds, "_device_memory", lambda *given: (actual(*given) or 0) * 2 + (1 << 21))
    found = compare_builds(honest, made(runtime(), GEMM, "fp16"))
    assert found.outcome == DRIFT and "device memory" in found.why[0]


def test_a_parser_that_takes_an_operator_no_longer_is_caught(monkeypatch):
    rt = runtime()
    honest = golden_of_parser(rt, "build-parser")
    actual = rt.trt.OnnxParser.supports_operator
    monkeypatch.setattr(
        rt.trt.OnnxParser, "supports_operator", lambda self, name: name != "Conv" and actual(self, name)
    )
    found = compare_builds(honest, golden_of_parser(rt, "build-parser"))
    assert found.outcome == REGRESSION and found.why == ("regression: the parser supports no longer: Conv",)


def test_a_builder_that_ends_the_process_is_caught():
    asked = Asked("build-x", "l4", "fp16", model=GEMM.model().SerializeToString(deterministic=True))
    (died,) = build_apart(runtime(), replace(HONEST, faults=(f"{OWN}process_dies",)), [asked], workers=1)
    found = compare_builds(made(runtime(), GEMM, "fp16"), died)
    assert found.outcome == REGRESSION and "it was built and is crashed: signal SIGKILL" in found.why[0]
