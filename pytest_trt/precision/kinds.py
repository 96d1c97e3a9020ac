"""What one layer of a layer list is: whether it multiplies, whether it hides what it does, and in which type it works."""

from __future__ import annotations

import re

from pytest_trt.records import LayerInfo

UNKNOWN = "?"
# Kinds that multiply and accumulate. TensorRT 8.6 and 10.x: CaskConvolution, CaskGemmConvolution, CaskJitConv,
# CaskDeconvolutionV2, CudaDepthwiseConvolution, CaskGemmMatrixMultiply, FullyConnected; from 10.x on, and in TensorRT-RTX, also
# the compiler's own: `correlation` (a convolution), `deconv`, `gemm`, `runtime_fusion`.
_WORK = (
    "conv",
    "correlation",
    "gemm",
    "matmul",
    "matrix_multiply",
    "matrixmultiply",
    "fully",
    "runtime_fusion",
)
# Kernels that the compiler generates; their names say what they do: `__myl_MulMinMaxRounCast_myl0_2`.
_GENERATED = ("kgen", "noop", "shape_call", "reformat")
_PARTS = re.compile(r"[A-Z][a-z0-9]*")
_WORKING_PARTS = {"Fc"}
_ATTENTION = re.compile(r"(^|_)(gemm|f?mha)_", re.I)  # `_gemm_mha_v2_myl0_2`: both products of an attention
_MOVING_PARTS = {"Cast", "Move", "Copy", "Tran", "Resh"}
# `sm80_xmma_gemm_f32f32_tf32f32_f32_...`: types of the two operands, then of the product and its accumulator.
_TACTIC = re.compile(r"(?<![a-z0-9])(f32|f16|bf16|i8|s8|e4m3)\1(?![a-z0-9])")
_TACTIC_TYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "s8": "int8", "e4m3": "fp8"}
_TF32 = re.compile(r"(?<![a-z0-9])tf32")


def is_generated(layer: LayerInfo) -> bool:
    """Tell whether a layer is a kernel that the compiler made for moves, quantisation and epilogues."""
    return layer.kind.lower() in _GENERATED and not is_working(layer)


def is_working(layer: LayerInfo) -> bool:
    """Tell whether a layer multiplies and accumulates: convolution, deconvolution or matrix product."""
    kind = layer.kind.lower()
    if any(word in kind for word in _WORK):
        return True
    if kind != "kgen":
        return False
    return bool(_WORKING_PARTS & _parts(layer)) or _ATTENTION.search(layer.name) is not None


def is_opaque(layer: LayerInfo) -> bool:
    """Tell whether a layer may multiply and does not say so.

    Up to 8.6 the compiler's part of a network is one layer, `{ForeignNode[first...last]}` of kind `Myelin`; the types at its
    border are not those inside. Without DETAILED verbosity a layer is a name and nothing else.
    """
    return layer.kind.lower() in ("myelin", UNKNOWN) or layer.name.startswith("{ForeignNode[")


def is_reformat(layer: LayerInfo) -> bool:
    """Tell whether a layer changes type or memory format and nothing else, as far as its kind or its name says."""
    kind = layer.kind.lower()
    if kind in ("reformat", "cast"):
        return True
    parts = _parts(layer)
    return kind == "kgen" and bool(parts) and parts <= _MOVING_PARTS


def working_type(layer: LayerInfo) -> str:
    """Return the type that a layer reads its data in, `?` where the list does not tell it.

    The first input says it; where shapes are dynamic the type of the weights, or the name of the kernel. TF32 shows in the
    name of the kernel alone.
    """
    tactic = layer.tactic.lower()
    told = [kind for kind in (*layer.inputs[:1], *layer.constants[:1]) if kind != UNKNOWN]
    named = _TACTIC.search(tactic)
    kind = told[0] if told else _TACTIC_TYPES[named.group(1)] if named else UNKNOWN
    return "tf32" if kind == "fp32" and _TF32.search(tactic) else kind


def _parts(layer: LayerInfo) -> set[str]:
    found = re.match(r"__myl_(.*?)_myl\d", layer.name)
    return set(_PARTS.findall(found.group(1))) if found else set()
