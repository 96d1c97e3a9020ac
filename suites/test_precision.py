"""The precision asked for is the one that ran: every convolution and matrix product, by the layer list of the engine.

Claims: a strongly typed network keeps to its types (TensorRT documentation, "Strongly Typed Networks"); a weakly typed build
times FP32 and the types whose flags are set, and no other ("Precision Control"); public bugs in which it was not so:
NVIDIA/TensorRT issue 3941, roboflow/rf-detr issue 1453.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_trt.report.sections import attach

from ._named import demand, demand_built
from ._precision import check_precision, routes, table


def test_precision_is_proven(trt_runtime, trt_precision, trt_settings, request):
    """A convolution, a Gemm and a residual block, by every route that this TensorRT has: no layer is in another type."""
    rows, told = [], []
    for route in routes(trt_runtime, trt_precision, trt_settings):
        rows += check_precision(trt_runtime, trt_precision, route, told=told)
    attach(request.node, table(told, trt_precision))
    demand(rows, request)


def test_real_builds_are_proven(targeted, trt_precision, trt_settings, request):
    """The same networks, built and not executed, where a real TensorRT builds without a GPU."""
    rows, told = [], []
    # The typing that was asked for is the executor's; this TensorRT may have another one only.
    for route in routes(targeted, trt_precision, replace(trt_settings, typing="auto")):
        rows += check_precision(targeted, trt_precision, route, told=told)
    attach(request.node, table(told, trt_precision))
    if not rows:
        pytest.skip(
            f"not applicable: {targeted.title} is known to refuse these networks in {trt_precision} there"
        )
    demand_built(rows)
