"""Channel counts that tensor cores have to pad."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import WEIGHTED, Scope, View, attribute


def padded(count: int, multiple: int) -> int:
    """Return the least multiple that is not below a count."""
    return -(-count // multiple) * multiple


def channel_counts(node: NodeProto, scope: Scope) -> tuple[int, int] | None:
    """Return how many channels a working node reads and makes; None where its weights do not tell.

    Grouped and depthwise convolutions have kernels of their own and are left out.
    """
    if len(node.input) < 2:
        return None
    shape = scope.shape(node.input[1])
    if shape is None or len(shape) < 2 or None in shape[-2:] or None in shape[:2]:
        return None
    group = attribute(node, "group")
    if group is not None and group.i != 1:
        return None
    turned = attribute(node, "transB")
    if node.op_type == "Conv" or (turned is not None and turned.i):
        made, read = shape[0], shape[1]
    elif node.op_type == "MatMul":
        read, made = shape[-2], shape[-1]
    else:
        read, made = shape[0], shape[1]
    return (read, made) if read and made else None


@rule("channels-off-multiple", "tf32", "fp16", "bf16", "int8")
def find_padding(view: View) -> Iterator[Advice]:
    """Channels off the multiple of the class's tensor cores are padded with zeros that are multiplied too."""
    wanted = {p: m for p, m in sorted(view.gpu.multiples.items()) if p in view.precisions}
    for place in view.of(*WEIGHTED) if wanted else ():
        counts = channel_counts(place.node, place.scope)
        if counts is None:
            continue
        read, made = counts
        from_caller = place.node.input[0] in view.main.inputs  # its channels are the data's
        words, numbers, better = [], {"read": float(read), "made": float(made)}, 0
        for precision, multiple in wanted.items():
            more = padded(made, multiple) / made * (1.0 if from_caller else padded(read, multiple) / read)
            if more == 1.0:
                continue
            cost = 100.0 * (more - 1.0)
            numbers |= {f"{precision}_multiple": multiple, f"{precision}_cost_percent": round(cost, 2)}
            words.append(
                f"{precision} pads to multiples of {multiple}, {cost:.{0 if cost >= 10 else 1}f} % more multiplications"
            )
            better = max(better, multiple)
        if words:
            yield Advice(
                "channels-off-multiple",
                "advice",
                f"{place.node.op_type} goes from {read} to {made} channels: {'; '.join(words)}",
                f"tensor cores of {view.gpu.title} work on whole multiples; their larger tiles are 32 or 64 channels wide",
                f"use {'' if from_caller else f'{padded(read, better)} -> '}{padded(made, better)} channels",
                place.name,
                place.node.input[1],
                numbers,
            )
