"""Which kind of layer the parser makes of an ONNX operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_trt.emulator.graph import PLUGIN_DOMAINS

# ONNX operator to the kind of layer that the parser makes of it.
_LAYER_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv"), "CONVOLUTION"),
    **dict.fromkeys(("ConvTranspose",), "DECONVOLUTION"),
    **dict.fromkeys(("MaxPool", "AveragePool"), "POOLING"),
    **dict.fromkeys(
        (
            "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 "
            "ReduceSumSquare ReduceLogSum ReduceLogSumExp"
        ).split(),
        "REDUCE",
    ),
    **dict.fromkeys(
        "Relu Sigmoid Tanh LeakyRelu Elu Selu HardSigmoid Softplus Softsign Clip ThresholdedRelu Gelu".split(),
        "ACTIVATION",
    ),
    **dict.fromkeys(
        "Add Sub Mul Div Min Max Pow And Or Xor Equal Greater Less Sum Mean Mod".split(), "ELEMENTWISE"
    ),
    **dict.fromkeys(
        "Exp Log Sqrt Reciprocal Abs Neg Sin Cos Tan Floor Ceil Erf Not Sign Round IsInf IsNaN".split(),
        "UNARY",
    ),
    **dict.fromkeys(("MatMul", "Gemm"), "MATRIX_MULTIPLY"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "SOFTMAX"),
    **dict.fromkeys(("BatchNormalization",), "SCALE"),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization", "GroupNormalization"), "NORMALIZATION"),
    **dict.fromkeys("Reshape Transpose Flatten DepthToSpace SpaceToDepth".split(), "SHUFFLE"),
    "Squeeze": "SQUEEZE",
    "Unsqueeze": "UNSQUEEZE",
    "Concat": "CONCATENATION",
    "Cast": "CAST",
    "CastLike": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Constant": "CONSTANT",
    "Shape": "SHAPE",
    "Slice": "SLICE",
    "Split": "SLICE",
    "Pad": "SLICE",
    "Expand": "SLICE",
    "Tile": "SLICE",
    "Gather": "GATHER",
    "GatherElements": "GATHER",
    "GatherND": "GATHER",
    "ScatterND": "SCATTER",
    "ScatterElements": "SCATTER",
    "Resize": "RESIZE",
    "Upsample": "RESIZE",
    "TopK": "TOPK",
    "ArgMax": "TOPK",
    "ArgMin": "TOPK",
    "Where": "SELECT",
    "PRelu": "PARAMETRIC_RELU",
    "NonZero": "NON_ZERO",
    "NonMaxSuppression": "NMS",
    "OneHot": "ONE_HOT",
    "Einsum": "EINSUM",
    "LRN": "LRN",
    "GridSample": "GRID_SAMPLE",
    "ConstantOfShape": "FILL",
    "Range": "FILL",
    "CumSum": "CUMULATIVE",
    "If": "CONDITION",
    "Loop": "RECURRENCE",
    "LSTM": "RECURRENCE",
    "GRU": "RECURRENCE",
    "RNN": "RECURRENCE",
}


def layer_type(op_type: str, members: Mapping[str, Any], domain: str = "") -> str:
    """Return the `LayerType` member name for an ONNX operator or a plugin, among those that the version has."""
    found = PLUGIN_DOMAINS.get(domain) or _LAYER_TYPES.get(op_type, "IDENTITY")
    if found in members:
        return found
    return "SHUFFLE" if found in ("SQUEEZE", "UNSQUEEZE") else "IDENTITY"
