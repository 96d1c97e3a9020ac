"""The precision asked for is the one that ran: every convolution and matrix product, by the layer list of the engine.

Claims: a strongly typed network keeps to its types (TensorRT documentation, "Strongly Typed Networks"); public bugs in which it
did not: NVIDIA/TensorRT issue 3941, roboflow/rf-detr issue 1453.
"""

from __future__ import annotations

from ._named import demand
from ._precision import check_precision


def test_precision_is_proven(trt_runtime, trt_precision, trt_settings, request):
    """A convolution, a Gemm and a residual block: no layer fell back to another type."""
    typing = trt_settings.typing
    strong = typing == "strong" or (typing == "auto" and trt_runtime.features.strong_typing)
    demand(check_precision(trt_runtime, trt_precision, strong), request)
