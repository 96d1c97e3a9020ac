"""Q/DQ pairs as TensorRT reads them: symmetric INT8, a scale per output channel, on both sides of each product."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import WEIGHTED, Scope, View, attribute
from pytest_trt.precision import graph as graphs
from pytest_trt.precision.int8 import weight_axis

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_NARROW = (TensorProto.INT8, TensorProto.UINT8)
# They move values and compute none, so that a pair may stand on either side.
_MOVES = (
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Slice",
    "MaxPool",
    "Concat",
    "Gather",
)
# Operators of ONNX that read integers themselves. None is in the list of the ONNX parser ("Supported ONNX Operators" of
# onnx-tensorrt); TensorRT-RTX 1.7.1 refuses them as UNSUPPORTED_NODE.
_INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
# NVIDIA TensorRT Operator's Reference, "Layers and Precision": layers without INT8.
_NO_INT8 = (
    "Softmax",
    "LogSoftmax",
    "TopK",
    "Einsum",
    "LSTM",
    "GRU",
    "RNN",
    "NonMaxSuppression",
    "NonZero",
    "OneHot",
    "GridSample",
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "CumSum",
)
_STEPS = 6


def dequantizer(scope: Scope, name: str) -> NodeProto | None:
    """Return the DequantizeLinear that a tensor comes from, perhaps through nodes that only move values."""
    for _ in range(_STEPS):
        maker = scope.maker(name)
        if maker is None or maker.op_type == "DequantizeLinear":
            return maker
        if maker.op_type not in _MOVES:
            return None
        name = maker.input[0]
    return None


@rule("qdq-integer-operator")
def find_integer_operators(view: View) -> Iterator[Advice]:
    """An operator in the integer format that TensorRT's parser does not read."""
    for place in view.of(*_INTEGER):
        yield Advice(
            "qdq-integer-operator",
            "error",
            f"TensorRT does not read {place.node.op_type}",
            "it reads INT8 as QuantizeLinear and DequantizeLinear around float operators (the QDQ format)",
            "quantise again with quant_format=QuantFormat.QDQ",
            place.name,
        )


@rule("qdq-unpaired")
def find_unpaired(view: View) -> Iterator[Advice]:
    """A QuantizeLinear whose INT8 tensor is read by something else than a DequantizeLinear."""
    for place in view.of("QuantizeLinear"):
        name = place.node.output[0]
        strangers = sorted(set(_strangers(place.scope, name)) - set(_INTEGER))
        if strangers:
            what, severity = (
                f"QuantizeLinear is read by {', '.join(strangers)} without a DequantizeLinear",
                "error",
            )
        elif name in place.scope.outputs:
            what, severity = f"output {name!r} is quantised: no DequantizeLinear follows", "warning"
        elif not place.scope.readers.get(name):
            what, severity = "nothing reads QuantizeLinear", "warning"
        else:
            continue
        yield Advice(
            "qdq-unpaired",
            severity,
            what,
            "TensorRT takes a Q and the DQ behind it as one statement about a tensor",
            "put DequantizeLinear with the same scale behind it",
            place.name,
            name,
        )


@rule("qdq-zero-point")
def find_zero_points(view: View) -> Iterator[Advice]:
    """A zero point other than 0: TensorRT's INT8 is symmetric."""
    for place in view.of(*_PAIR):
        zero = place.scope.constant(place.node.input[2]) if len(place.node.input) > 2 else None
        if zero is None or zero.dtype.kind not in "iu" or not np.any(zero):
            continue
        yield Advice(
            "qdq-zero-point",
            "error",
            f"{place.node.op_type} has the zero point {int(zero.flat[int(np.argmax(zero != 0))])}",
            "TensorRT quantises symmetrically: its parser refuses every zero point but 0",
            "quantise again with ActivationSymmetric and WeightSymmetric, int8",
            place.name,
            place.node.input[2],
            {"nonzero": int(np.count_nonzero(zero)), "values": zero.size},
        )


@rule("qdq-unsigned")
def find_unsigned(view: View) -> Iterator[Advice]:
    """A pair in uint8: TensorRT reads int8, with another range."""
    for place in view.of("QuantizeLinear"):
        node, scope = place.node, place.scope
        has_zero = len(node.input) > 2 and bool(node.input[2])
        kind = scope.dtype(node.input[2]) if has_zero else 0
        given = attribute(node, "output_dtype")
        if given is not None and given.i:
            kind = given.i
        if kind == TensorProto.UINT8 or (not has_zero and not kind):
            yield Advice(
                "qdq-unsigned",
                "error",
                "QuantizeLinear makes uint8"
                + ("" if has_zero else ", which is ONNX's default without a zero point"),
                "ONNX holds values within 0 and 255 then, TensorRT within -128 and 127: they compute different functions",
                "give it a zero point of type int8 with the value 0",
                place.name,
                node.output[0],
            )
    for place in view.of("DequantizeLinear"):
        kind = place.scope.dtype(place.node.input[0])
        if kind in (TensorProto.UINT8, TensorProto.INT32) and place.scope.is_constant(place.node.input[0]):
            what = "weights in uint8" if kind == TensorProto.UINT8 else "a bias in int32"
            yield Advice(
                "qdq-unsigned",
                "error",
                f"DequantizeLinear reads {what}",
                "TensorRT's parser takes INT8 (and FP8, INT4) constants there and refuses others",
                "quantise weights to int8"
                if kind == TensorProto.UINT8
                else "leave the bias in float: QuantizeBias=False",
                place.name,
                place.node.input[0],
            )


@rule("qdq-missing")
def find_missing(view: View) -> Iterator[Advice]:
    """A convolution or product in a Q/DQ graph with a float operand stays in float."""
    if not view.quantized:
        return
    for place in view.of(*WEIGHTED):
        if len(place.node.input) < 2 or place.scope.dtype(place.node.output[0]) in _NARROW:
            continue
        sides = {
            role: dequantizer(place.scope, place.node.input[index]) is not None
            for index, role in enumerate(("data", "weights"))
        }
        lacking = [role for role, have in sides.items() if not have]
        if not lacking:
            continue
        yield Advice(
            "qdq-missing",
            "warning" if len(lacking) == 1 else "advice",
            f"{place.node.op_type} stays in float: its {' and '.join(lacking)} come without Q/DQ",
            "TensorRT multiplies in INT8 only where both operands come from a DequantizeLinear",
            f"put Q and DQ before its {' and '.join(lacking)}"
            + ("" if len(lacking) == 1 else ", unless it is meant to stay in float"),
            place.name,
            place.node.input[0 if lacking[0] == "data" else 1],
        )


@rule("qdq-weight-scale")
def find_weight_scales(view: View) -> Iterator[Advice]:
    """Weights with one scale for all channels, or with scales along the wrong axis."""
    for place in view.of(*WEIGHTED):
        node, scope = place.node, place.scope
        maker = scope.maker(node.input[1]) if len(node.input) > 1 else None
        if maker is None or maker.op_type != "DequantizeLinear" or len(maker.input) < 2:
            continue
        shape, scales = scope.shape(maker.output[0]), scope.shape(maker.input[1])
        if shape is None or scales is None or not _is_weight(scope, maker):
            continue
        want = weight_axis(node, len(shape))
        if want is None:
            continue
        count = scales[0] if len(scales) == 1 else 1
        if count == 1 and shape[want] != 1:
            yield Advice(
                "qdq-weight-scale",
                "advice",
                f"the weights of {node.op_type} have one scale for all {shape[want]} output channels",
                "a scale for each channel costs nothing at run time, and narrow channels keep their bits",
                f"quantise weights per channel, axis {want}",
                place.name,
                maker.output[0],
                {"channels": shape[want] or 0},
            )
        elif len(scales) == 1 and count != 1:
            axis = graphs.attribute(maker, "axis", 1) % len(shape)
            if axis != want:
                yield Advice(
                    "qdq-weight-scale",
                    "error",
                    f"the scales of the weights of {node.op_type} run along axis {axis}, not {want}",
                    "only a scale per output channel can be taken out of the sum: TensorRT refuses the others, or computes "
                    "the layer in float",
                    f"quantise weights per channel, axis {want}",
                    place.name,
                    maker.output[0],
                    {"axis": axis, "wanted": want},
                )


@rule("qdq-no-int8-kernel")
def find_float_operators(view: View) -> Iterator[Advice]:
    """An operator without INT8 between pairs: it only loses precision."""
    for place in view.of(*_NO_INT8):
        node, scope = place.node, place.scope
        readers = scope.readers.get(node.output[0], []) if node.output else []
        before = scope.maker(node.input[0]) if node.input else None
        if before is None or before.op_type != "DequantizeLinear" or not readers:
            continue
        if all(reader.op_type == "QuantizeLinear" for reader in readers):
            yield Advice(
                "qdq-no-int8-kernel",
                "warning",
                f"{node.op_type} stands between Q/DQ pairs, and TensorRT has no INT8 for it",
                "it runs in float all the same; the pairs only round its input and its output",
                f"leave the pair before {node.op_type} out, unless a convolution or product reads the same tensor",
                place.name,
                node.output[0],
            )


def _is_weight(scope: Scope, maker: NodeProto) -> bool:
    """Tell whether a DequantizeLinear stands behind a constant, or behind one and its QuantizeLinear."""
    name = maker.input[0]
    before = scope.maker(name)
    if before is not None and before.op_type == "QuantizeLinear":
        name = before.input[0]
    return scope.is_constant(name)


def _strangers(scope: Scope, name: str) -> Iterator[str]:
    front = [name]
    for _ in range(_STEPS):
        behind: list[str] = []
        for reader in (node for each in front for node in scope.readers.get(each, [])):
            if reader.op_type in _MOVES:
                behind.extend(reader.output)
            elif reader.op_type != "DequantizeLinear":
                yield reader.op_type
        front = behind


def is_quantized_work(node: NodeProto, scope: Scope) -> bool:
    """Tell whether both operands of a convolution or product come from a DequantizeLinear."""
    return (
        node.op_type in WEIGHTED
        and len(node.input) > 1
        and all(dequantizer(scope, name) is not None for name in node.input[:2])
    )
