"""FP16 against FP32, tensor by tensor: TensorRT's own figures of a UNet, and overflow that is foreseen.

Claims: batch normalisation and ReLU lower the share of values that are more than 10 % off (TensorRT FAQ, "How to fix FP16
accuracy issue?": 0.9069 %, 0.0142 %, 0.0075 %); TF32 is on by default and has to be off in a reference (TensorRT documentation,
"TF32").
"""

from __future__ import annotations

import pytest

from pytest_trt.session import session_of

from ._fp16 import check_loud, check_unet
from ._named import demand

pytestmark = pytest.mark.faq(17)

both = pytest.mark.trt_precision("fp16", "bf16")


@pytest.fixture
def bench(trt_runtime, trt_precision, request):
    """The workbench, where this TensorRT has the type at all."""
    workbench, flag = session_of(request.config).workbench, trt_precision.upper()
    strong = workbench.is_strong(trt_runtime, trt_precision)
    if not strong and flag not in trt_runtime.features.builder_flags:
        pytest.skip(f"not applicable: {trt_runtime.title} has no builder flag {flag}")
    return workbench


@both
def test_deviation_falls_from_convolution_to_relu(bench, trt_precision, request):
    """A small UNet: the reference is FP32, every tensor is in the type, as many values deviate as have to."""
    demand(check_unet(bench, trt_precision), request)


@both
def test_overflow_is_foreseen_and_seen(bench, trt_precision, request):
    """A network that is finite in FP32 and bf16, and not in FP16."""
    demand(check_loud(bench, trt_precision), request)
