"""What the model as a whole asks of TensorRT: operator set, inputs, size."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.load import LARGEST, size_of
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import View, attribute
from pytest_trt.precision.sixteen import BF16_OPSET

_PER_CHANNEL_OPSET = 13
_WIDE = {TensorProto.INT64: ("int64", "int32"), TensorProto.DOUBLE: ("float64", "float32")}


@rule("opset-old", "bf16", "int8")
def find_old_opset(view: View) -> Iterator[Advice]:
    """The operator set has no words yet for the precision that is wanted."""
    needs = {
        "int8": (_PER_CHANNEL_OPSET, "QuantizeLinear with a scale for each channel"),
        "bf16": (13, "bfloat16"),
    }
    if any(True for _ in view.of("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool")):
        needs["bf16"] = (BF16_OPSET, "bfloat16 in convolutions and pools")
    for precision, (version, what) in needs.items():
        if precision in view.precisions and view.opset < version:
            yield Advice(
                "opset-old",
                "warning",
                f"operator set {view.opset} is too old for {precision}",
                f"ONNX has {what} since operator set {version}",
                f"export the model at operator set {version} or newer, or let onnx.version_converter lift it",
                numbers={"opset": view.opset, "needed": version},
            )


@rule("dynamic-axis")
def find_dynamic_axes(view: View) -> Iterator[Advice]:
    """An axis of an input that is dynamic without need, or besides the batch."""
    for value in view.main.graph.input:
        shape = view.main.shape(value.name)
        if shape is None or value.name in view.main.tensors:
            continue
        for axis, length in enumerate(shape):
            if length is not None:
                continue
            fixed = _fixed_length(view, value.name, axis)
            if fixed is not None:
                yield Advice(
                    "dynamic-axis",
                    "warning",
                    f"axis {axis} of input {value.name!r} is dynamic, and only length {fixed} fits the weights",
                    "TensorRT wants a range for it, picks kernels that take any length, or refuses the convolution",
                    f"give the axis its length: {fixed}",
                    tensor=value.name,
                    numbers={"axis": axis, "length": fixed},
                )
            elif axis > 0:
                yield Advice(
                    "dynamic-axis",
                    "advice",
                    f"axis {axis} of input {value.name!r} is dynamic",
                    "every dynamic axis beside the batch widens the profile: kernels have to serve each length in it",
                    "give it a length where the data always has the same; else keep the profile narrow",
                    tensor=value.name,
                    numbers={"axis": axis},
                )


@rule("wide-input")
def find_wide_inputs(view: View) -> Iterator[Advice]:
    """An input of 64 bits is narrowed by TensorRT, or costs twice the memory."""
    for value in view.main.graph.input:
        wide = _WIDE.get(value.type.tensor_type.elem_type)
        if wide is not None and value.name not in view.main.tensors:
            yield Advice(
                "wide-input",
                "advice",
                f"input {value.name!r} is {wide[0]}",
                f"TensorRT before 10 has no int64 and narrows it to int32; no version computes in {wide[0]} faster"
                if wide[0] == "int64"
                else "TensorRT has no float64: the parser narrows it to float32",
                f"make it {wide[1]}",
                tensor=value.name,
            )


@rule("weights-beside")
def find_large_weights(view: View) -> Iterator[Advice]:
    """More than 2 GB of weights travel in files beside the model."""
    total = sum(size_of(tensor) for scope in view.scopes for tensor in scope.tensors.values())
    if total >= LARGEST:
        yield Advice(
            "weights-beside",
            "advice",
            f"weights of {total / 2**30:.3g} GiB lie in files beside the model",
            "one protobuf message holds less than 2 GiB: the parser has to be given the path, not the bytes, and no rule "
            "here has seen the values of these weights",
            "parse from the file (OnnxParser.parse_from_file), and move the files together",
            numbers={"bytes": total},
        )


def _fixed_length(view: View, name: str, axis: int) -> int | None:
    """Return the only length that a dynamic axis of an input can have, None where any will do."""
    for node in view.main.readers.get(name, []):
        if len(node.input) < 2 or node.input[0] != name:
            continue
        weights = view.main.shape(node.input[1])
        if weights is None or not view.main.is_constant(node.input[1]) or None in weights:
            continue
        group = attribute(node, "group")
        groups = 1 if group is None else group.i
        if node.op_type == "Conv" and axis == 1 and len(weights) > 2:
            return int(weights[1] or 0) * groups
        if node.op_type == "ConvTranspose" and axis == 1 and len(weights) > 2:
            return int(weights[0] or 0)
        if node.op_type == "BatchNormalization" and axis == 1 and len(weights) == 1:
            return int(weights[0] or 0)
        rank = len(view.main.shape(name) or ())
        if node.op_type == "MatMul" and len(weights) == 2 and axis == rank - 1:
            return int(weights[0] or 0)
        turned, crossed = attribute(node, "transA"), attribute(node, "transB")
        if node.op_type == "Gemm" and axis == (0 if turned is not None and turned.i else 1):
            return int(weights[1 if crossed is not None and crossed.i else 0] or 0)
    return None
