"""Values at which formats end: NaN, infinities, signed zeros, and numbers so large that sums overflow.

Claims: what a sum, a Clip, a Min or a Max reads as NaN comes out as one (the ONNX operators are numpy's; NVIDIA/TensorRT issues
4773 and 4758 are a Clip and a Min that lose it), and a sum past the largest number of its type is infinite (issues 1954, 2466).
"""

from __future__ import annotations

import pytest

from pytest_trt.strategies import Case

CASES = (
    "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
    "conv2d-n2-c16-o32-i6x6-k3x3-t2x1-p1x1x1x1-d1x2-g1-b1-q1x2x4-w_real-s2",
    "conv_transpose2d-n2-c8-o7-i4x3-k3x3-t2x3-p0x1x1x0-d1x1-g1-b1-e1x2-w_real-s1",
    "gemm-n9-k129-o17-ta0-tb1-al4-be4-b1-q1x9x16-w_real-s1",
    "matmul-n2-m3-k65-o9-i0-w_real-s4",
    "average_pool2d-n2-c9-i7x6-k3x2-t2x2-p1x0x0x1-z0-y1-w_int-s0",
    "conv_clip-n2-c7-o16-i4x5-k3-lom1-hi2-w_int-s3",
    "conv_add_relu-n3-c9-o1-i4x4-k3-lo0-hi1-q1x3x4-w_real-s2",
    "add-n2-c9x3x4-f1-w_real-s1",
    "clip-n2-c7x5-f0-w_int-s0",
    "max-n2-c7x5-f0-w_int-s0",
    "min-n2-c7x5-f0-w_int-s0",
)


@pytest.mark.trt_data("special", "big")
@pytest.mark.parametrize(
    "text", CASES, ids=[text.partition("-")[0] + f"-{i}" for i, text in enumerate(CASES)]
)
def test_special_values(conform, text):
    """Every run looks at them, whatever its battery."""
    conform(Case.parse(text))
