"""Advice on optimising a network: right where it is given, and of no cost to the answer.

Claim 11 of the TensorRT FAQ: lower precision, channels in the multiples of the tensor cores, LeakyReLU in place of PReLU, dummy
dynamic ranges for a first speed test in INT8. What the advice gains in time is a benchmark's to say, on a real GPU; here it is
held against the engine's layers and answers.
"""

from __future__ import annotations

import pytest

from pytest_trt.session import session_of

from ._advice import check_advice, check_builds, check_dummy
from ._named import demand, demand_built

pytestmark = pytest.mark.faq(11)


def test_advice_is_given_and_harmless(trt_runtime, request):
    """PReLU with equal slopes and 60 channels are told; the rewritten network gives the same bits, on who executes."""
    demand(check_advice(session_of(request.config).workbench), request)


@pytest.mark.trt_precision("int8")
def test_dummy_ranges_are_never_judged(trt_runtime, trt_precision, request):
    """An INT8 engine with made-up ranges is marked, and no check takes its numbers."""
    demand(check_dummy(session_of(request.config).workbench), request)


def test_prelu_costs_a_layer(targeted, request):
    """What a real TensorRT builds in FP16: LeakyReLU is fused with its convolution, PReLU stays a layer of its own."""
    rows = list(check_builds(session_of(request.config).workbench, targeted))
    if not rows:
        pytest.skip(f"not applicable: {targeted.title} builds no FP16 convolution for {targeted.gpu.name}")
    demand_built(rows)
