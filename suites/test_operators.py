"""Operators against a dtype-matched reference: every drawn configuration is built, run and judged.

Claims: the ONNX operator specifications, and TensorRT's promise of FP32 accumulation for FP16 and of INT32 accumulation with
round-half-even requantisation for INT8 (TensorRT documentation, "Accuracy Considerations" and "Quantization Schemes").
"""

from __future__ import annotations

from hypothesis import given

from pytest_trt import strategies


@given(case=strategies.conv_cases())
@strategies.with_corners("conv")
def test_conv(conform, case):
    """Convolutions: 1-D to 3-D, grouped, depthwise, dilated, strided, padded unevenly."""
    conform(case)


@given(case=strategies.conv_transpose_cases())
@strategies.with_corners("conv_transpose")
def test_conv_transpose(conform, case):
    """Transposed convolutions, with output padding."""
    conform(case)


@given(case=strategies.pool_cases())
@strategies.with_corners("pool")
def test_pool(conform, case):
    """Maximum, average and global pooling."""
    conform(case)


@given(case=strategies.gemm_cases())
@strategies.with_corners("gemm")
def test_gemm(conform, case):
    """Gemm and MatMul, transposed and batched."""
    conform(case)


@given(case=strategies.elementwise_cases())
@strategies.with_corners("elementwise")
def test_elementwise(conform, case):
    """Arithmetic, activations, normalisations, reductions, Resize, moves, comparisons."""
    conform(case)
