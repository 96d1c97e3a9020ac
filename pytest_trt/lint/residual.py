"""Q/DQ pairs around what fuses behind a convolution: the residual Add and the activation."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.quantized import dequantizer, is_quantized_work
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import ACTIVATIONS, Scope, View


@rule("qdq-residual")
def find_residuals(view: View) -> Iterator[Advice]:
    """A residual Add behind an INT8 convolution whose other input is float."""
    for place in view.of("Add"):
        scope, names = place.scope, list(place.node.input)
        fused = [name for name in names if _ends_in_work(scope, name)]
        others = [name for name in names if name not in fused] or fused[1:]
        if not fused or not others or scope.is_constant(others[0]):
            continue
        if dequantizer(scope, others[0]) is None:
            yield Advice(
                "qdq-residual",
                "warning",
                f"the other input of the residual Add, {others[0]!r}, comes without Q/DQ",
                "TensorRT adds it inside the INT8 convolution only if it is INT8 too; else the sum is a float layer",
                f"put Q and DQ on {others[0]!r}, on that branch only",
                place.name,
                others[0],
            )


@rule("qdq-before-fusion")
def find_early_pairs(view: View) -> Iterator[Advice]:
    """A pair between a convolution and what would be fused behind it."""
    for place in view.of("QuantizeLinear"):
        scope, node = place.scope, place.node
        maker = scope.maker(node.input[0])
        if maker is None or not is_quantized_work(maker, scope) or scope.only_reader(maker.output[0]) is None:
            continue
        ends = [reader for name in node.output for reader in scope.readers.get(name, [])]
        behind = [reader for end in ends for name in end.output for reader in scope.readers.get(name, [])]
        if len(behind) != 1 or behind[0].op_type not in (*ACTIVATIONS, "Add", "BatchNormalization"):
            continue
        if behind[0].op_type == "Add" and not _is_fusable_add(behind[0], scope):
            continue
        yield Advice(
            "qdq-before-fusion",
            "advice",
            f"Q/DQ stands between {maker.op_type} and {behind[0].op_type}",
            "the sum is rounded to INT8 before it is used, and the fusion ends there",
            f"put the pair behind {behind[0].op_type}",
            place.name,
            node.output[0],
        )


def _ends_in_work(scope: Scope, name: str) -> bool:
    """Tell whether a tensor is the sum of an INT8 convolution or product, perhaps normalised, read once."""
    maker = scope.maker(name)
    if maker is not None and maker.op_type == "BatchNormalization":
        name = maker.input[0]
        maker = scope.maker(name)
    return maker is not None and is_quantized_work(maker, scope) and scope.only_reader(name) is not None


def _is_fusable_add(node: NodeProto, scope: Scope) -> bool:
    return not any(scope.is_constant(name) for name in node.input)
