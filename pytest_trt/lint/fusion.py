"""What stands between operators that TensorRT would fuse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.bypass import can_bypass
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import ACTIVATIONS, WEIGHTED, Place, Scope, View, attribute, integers

_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
# Type to the types that hold each of its values exactly.
_HOLDS: dict[int, tuple[int, ...]] = {
    TensorProto.FLOAT16: (TensorProto.FLOAT, TensorProto.DOUBLE),
    TensorProto.BFLOAT16: (TensorProto.FLOAT, TensorProto.DOUBLE),
    TensorProto.FLOAT: (TensorProto.DOUBLE,),
    TensorProto.INT8: (TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT),
    TensorProto.UINT8: (TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT),
    TensorProto.INT32: (TensorProto.INT64, TensorProto.DOUBLE),
    TensorProto.BOOL: (TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.FLOAT16),
}
# What TensorRT computes inside of a larger kernel; a softmax or a norm may want float32 around it.
_POINTWISE = (*ACTIVATIONS, "Add", "Sub", "Mul", "BatchNormalization", "MaxPool", "Concat", "PRelu")
_BREAKS = "TensorRT fuses a convolution or matrix product with what follows it directly, in the same type"


def cast_target(node: NodeProto) -> int:
    """Return the type that a Cast makes, 0 for any other node."""
    to = attribute(node, "to")
    return to.i if node.op_type == "Cast" and to is not None else 0


def cast_source(node: NodeProto, scope: Scope) -> str | None:
    """Return the tensor that may replace the output of a Cast bit for bit, None where there is none."""
    to = cast_target(node)
    if not to:
        return None
    if scope.dtype(node.input[0]) == to:
        return str(node.input[0])
    before = scope.maker(node.input[0])
    if before is None or not cast_target(before):
        return None
    first = scope.dtype(before.input[0])
    return str(before.input[0]) if first == to and cast_target(before) in _HOLDS.get(to, ()) else None


def transpose_source(node: NodeProto, scope: Scope) -> str | None:
    """Return the tensor that two Transposes in a row lead back to, None where they do not."""
    before = scope.maker(node.input[0]) if node.op_type == "Transpose" else None
    if before is None or before.op_type != "Transpose":
        return None
    first, second = integers(before, "perm"), integers(node, "perm")
    if first is None and second is None:
        return str(before.input[0])
    if first is None or second is None or len(first) != len(second):
        return None
    back = [first[axis] for axis in second] == list(range(len(first)))
    return str(before.input[0]) if back else None


def passes_through(node: NodeProto, scope: Scope) -> bool:
    """Tell whether the output of a node is its first input, bit for bit and in the same shape."""
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        if len(node.input) < 3 or not node.input[2]:
            return not any(node.output[1:])  # inference is the default
        training = scope.constant(node.input[2])
        return training is not None and not training.any() and not any(node.output[1:])
    if node.op_type == "Concat":
        return len(node.input) == 1
    if node.op_type == "Transpose":
        perm = integers(node, "perm")
        return perm is not None and list(perm) == list(range(len(perm)))
    if node.op_type in ("Reshape", "Flatten", "Expand"):
        before, after = scope.shape(node.input[0]), scope.shape(node.output[0])
        return before is not None and before == after and None not in before
    return False


@rule("noop")
def find_noops(view: View) -> Iterator[Advice]:
    """A node that changes nothing can stand in the way of a fusion."""
    for place in view:
        node, scope = place.node, place.scope
        if not passes_through(node, scope) or not can_bypass(scope.graph, node, node.input[0]):
            continue
        between = _behind_work(scope.maker(node.input[0]), scope) and _leads_to(scope, node, ACTIVATIONS)
        yield Advice(
            "noop",
            "warning" if between else "advice",
            f"{node.op_type} changes nothing"
            + (" and stands between a convolution or product and its activation" if between else ""),
            _BREAKS if between else "it is one node more for the parser, and stands in the way of rewrites",
            "--fix takes it out",
            place.name,
            node.output[0],
            fixable=True,
        )


@rule("cast-removable")
def find_casts(view: View) -> Iterator[Advice]:
    """A Cast to the same type, or there and back through a wider one, changes nothing."""
    for place in view.of("Cast"):
        source = cast_source(place.node, place.scope)
        if source is None:
            continue
        same = source == place.node.input[0]
        yield Advice(
            "cast-removable",
            "warning",
            f"Cast {'to the type that its input has' if same else 'undoes the Cast before it'}",
            _BREAKS,
            "--fix takes it out",
            place.name,
            place.node.output[0],
            fixable=can_bypass(place.scope.graph, place.node, source),
        )


@rule("cast-rounds")
def find_rounding(view: View) -> Iterator[Advice]:
    """A Cast to a narrower type and back costs the precision, and saves nothing."""
    for place in view.of("Cast"):
        to, before = cast_target(place.node), place.scope.maker(place.node.input[0])
        if before is None or not cast_target(before) or place.scope.dtype(before.input[0]) != to:
            continue
        if to in (TensorProto.FLOAT, TensorProto.DOUBLE) and to in _HOLDS.get(cast_target(before), ()):
            yield Advice(
                "cast-rounds",
                "warning",
                "two Casts round to a narrower type and come back with nothing between",
                "the precision is lost and no operator runs in the narrower type; the fusion ends there too",
                "remove both, or let the operators between them run in that type",
                place.name,
                place.node.output[0],
            )


@rule("cast-in-fusion")
def find_islands(view: View) -> Iterator[Advice]:
    """Casts around an operator that would have been fused in 16 bits."""
    for place in view.of(*_POINTWISE):
        node, scope = place.node, place.scope
        for name in node.input:
            cast = scope.maker(name)
            if cast is None or cast_target(cast) != TensorProto.FLOAT:
                continue
            if scope.dtype(cast.input[0]) not in _HALVES:
                continue
            work = _behind_work(scope.maker(cast.input[0]), scope)
            back = [reader for out in node.output for reader in scope.readers.get(out, [])]
            island = bool(back) and all(cast_target(reader) in _HALVES for reader in back)
            if work or island:
                yield Advice(
                    "cast-in-fusion",
                    "warning",
                    f"{node.op_type} runs in float32 between 16-bit operators",
                    f"{_BREAKS}; each Cast is a pass over memory",
                    f"let {node.op_type} run in 16 bits: remove the Cast before it and the one behind it",
                    place.name,
                    name,
                )
                break


@rule("transpose-pair")
def find_transposes(view: View) -> Iterator[Advice]:
    """Two Transposes in a row are one, or none."""
    for place in view.of("Transpose"):
        before = place.scope.maker(place.node.input[0])
        if before is None or before.op_type != "Transpose":
            continue
        source = transpose_source(place.node, place.scope)
        yield Advice(
            "transpose-pair",
            "advice",
            "Transpose undoes the one before it" if source else "two Transposes in a row could be one",
            "each may become a pass over memory and ends a fusion",
            "--fix takes it out" if source else "write one Transpose with the permutation of both",
            place.name,
            place.node.output[0],
            fixable=source is not None and can_bypass(place.scope.graph, place.node, source),
        )


@rule("batch-norm-unfolded")
def find_batch_norms(view: View) -> Iterator[Advice]:
    """A BatchNormalization behind a convolution belongs into its weights."""
    for place in view.of("BatchNormalization"):
        before = place.scope.maker(place.node.input[0])
        if before is None or before.op_type not in ("Conv", "ConvTranspose"):
            continue
        if place.scope.only_reader(before.output[0]) is None:
            continue
        weights = place.scope.maker(before.input[1])
        fixed = weights is not None and weights.op_type == "DequantizeLinear"
        yield Advice(
            "batch-norm-unfolded",
            "warning" if fixed else "advice",
            f"BatchNormalization behind {before.op_type} is not folded into its weights",
            "the weights are quantised already: the scale cannot be folded any more and INT8 was fitted to other weights"
            if fixed
            else "TensorRT folds it where types allow; the 16-bit and INT8 weights are then others than the file's",
            "fold it before the model is quantised or exported (the exporters do so in eval mode)",
            place.name,
            place.node.output[0],
        )


@rule("bias-apart")
def find_biases(view: View) -> Iterator[Advice]:
    """A constant that is added behind a convolution belongs into its bias, if it is one value per channel."""
    for place in view.of("Add"):
        found = _conv_and_constant(place)
        if found is None:
            continue
        conv, name, value = found
        rank = len(place.scope.shape(conv.output[0]) or ()) or 4
        shape = (1,) * (rank - value.ndim) + value.shape
        per_channel = len(shape) == rank and all(n == 1 for axis, n in enumerate(shape) if axis != 1)
        yield Advice(
            "bias-apart",
            "advice",
            f"Add behind {conv.op_type} adds a constant "
            + (
                "for each channel: it is a bias"
                if per_channel
                else "that differs over places: it cannot be a bias"
            ),
            "a bias costs nothing inside the convolution"
            if per_channel
            else "it is read from memory for each output and stays a layer or part of one behind the convolution",
            f"put it into the bias of {conv.op_type}"
            if per_channel
            else "expected where it encodes positions",
            place.name,
            name,
            {"values": value.size},
        )


def _conv_and_constant(place: Place) -> tuple[NodeProto, str, np.ndarray] | None:
    for index, name in enumerate(place.node.input):
        conv = place.scope.maker(name)
        if conv is None or conv.op_type not in ("Conv", "ConvTranspose"):
            continue
        if place.scope.only_reader(name) is None:
            continue
        other = place.node.input[1 - index]
        value = place.scope.constant(other)
        if value is not None:
            return conv, other, value
    return None


def _behind_work(node: NodeProto | None, scope: Scope) -> bool:
    """Tell whether a node is a convolution or product, or what fuses behind one: norm, residual Add."""
    for _ in range(3):
        if node is None:
            return False
        if node.op_type in WEIGHTED:
            return True
        if node.op_type not in ("BatchNormalization", "Add"):
            return False
        makers = [scope.maker(name) for name in node.input[:2]]
        node = next((maker for maker in makers if maker is not None), None)
    return False


def _leads_to(scope: Scope, node: NodeProto, kinds: tuple[str, ...]) -> bool:
    reader = scope.only_reader(node.output[0])
    return reader is not None and reader.op_type in kinds
