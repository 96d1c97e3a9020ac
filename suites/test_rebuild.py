"""Engines for one network: built again, loaded again and refitted they give one answer; a linear net scales with its input.

Claims: TensorRT may choose other kernels in another build, and each of them has to compute what was promised; a plan holds all
of an engine; a refit changes the weights and nothing else. Public bugs: NVIDIA/TensorRT issues 4798, 4730, 3316 and 568
(rebuilds that differ), 1468, 1501 and 639 (weights scrambled by a refit), pytorch/TensorRT issue 3437 (NaN after one).
"""

from __future__ import annotations

import pytest

from pytest_trt import strategies
from pytest_trt.check.rebuild import (
    check_rebuild,
    check_rebuild_from_cache,
    check_refit,
    why_no_cached_rebuild,
    why_no_refit,
)
from pytest_trt.check.relations import check_scaling

from ._relate import make_relate

DATA = ("int_small", "uniform11")
CASES = (
    "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
    "conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1",
    "matmul_add_clip-n9-c33-o17-k1-lo0-hi6-w_int-s6",
)
LINEAR = (
    "conv2d-n2-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b0-w_int-s1",
    "matmul-n3-m8-k64-o31-i0-w_int-s0",
)


@pytest.fixture(scope="session")
def relate(trt_build, pytestconfig):
    """Factory: the verdict on the relations of one configuration."""
    return make_relate(pytestconfig)


@pytest.mark.parametrize("text", CASES)
def test_rebuilt_and_loaded_again(relate, text):
    """Two more builds, not from the plan cache: admissible answers, the same bits where nothing rounds."""
    relate(strategies.Case.parse(text), check_rebuild, DATA)


@pytest.mark.parametrize("text", CASES)
def test_rebuilt_from_one_timing_cache(relate, text):
    """Two more builds from the bytes of the timing cache that the first one filled (issue 4798)."""

    def rebuild(subject, bases):
        obstacle = why_no_cached_rebuild(subject)
        if obstacle:
            pytest.skip(f"not applicable: {obstacle}")
        yield from check_rebuild_from_cache(subject, bases)

    relate(strategies.Case.parse(text), rebuild, DATA)


@pytest.mark.parametrize("text", CASES)
def test_refitted(relate, text):
    """The same weights change nothing; others give what an engine gives that was built with them."""

    def refit(subject, bases):
        obstacle = why_no_refit(subject)
        if obstacle:
            pytest.skip(f"not applicable: {obstacle}")
        yield from check_refit(subject, bases)

    relate(strategies.Case.parse(text), refit, DATA)


@pytest.mark.trt_precision("fp32", "tf32", "fp16", "bf16")
@pytest.mark.parametrize("text", LINEAR)
def test_scaled_inputs(relate, text):
    """Integers times 4: every output is 4 times as large, to the bit. INT8 clips what its scale does not hold."""
    relate(strategies.Case.parse(text), lambda subject, bases: check_scaling(subject, bases[0]), DATA[:1])
