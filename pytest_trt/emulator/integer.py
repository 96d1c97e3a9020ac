"""Convolutions and matrix products on integers: found behind DequantizeLinear, lowered so that no bit is lost.

A float32 sum of integers is exact while every partial sum stays within 2**24. Where the weights could exceed that, they
are cut into parts along the reduction, each part exact, and the parts are added in float64. Matrix products run in
float64 at once. The scales come in after: `v = s_x * s_w[m] * acc + b`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.constants import Constants
from pytest_trt.emulator.graph import Graph

_EXACT_LIMIT = float(1 << 24)


@dataclass(frozen=True)
class _Quantized:
    """A tensor behind DequantizeLinear: the integers' name, scale, zero point, axis of the scales."""

    name: str
    scale: NDArray[np.float32]
    zero: int
    axis: int
    is_signed: bool


@dataclass(frozen=True)
class IntegerProduct:
    """The integer arithmetic of one node.

    Attributes
    ----------
    node : NodeProto
        Conv, ConvTranspose, Gemm or MatMul.
    x, w : str
        Names of the integer tensors.
    weights : ndarray of int8 or None
        The weights with their zero point taken off, if they are constant.
    bias : str
        Name of the float bias, or empty.
    x_scale, w_scale : ndarray of float32
        `x_scale` is a scalar; `w_scale` a scalar or one number an output channel.
    """

    node: NodeProto
    x: str
    w: str
    weights: NDArray[np.int16] | None
    bias: str
    x_scale: NDArray[np.float32]
    w_scale: NDArray[np.float32]
    x_zero: int
    w_zero: int
    rank: int

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute of the node."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                return helper.get_attribute_value(attribute)
        return default


def _dequantized(name: str, graph: Graph, constants: Constants) -> _Quantized | None:
    node = graph.producers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    scale = constants.folded(node.input[1])
    elem = graph.tensor(node.input[0]).elem
    if scale is None or scale.ndim > 1 or elem not in dtypes.EIGHT_BIT:
        return None
    zero = np.zeros(1, np.int64)
    if len(node.input) > 2 and node.input[2]:
        folded = constants.folded(node.input[2])
        if folded is None:
            return None
        zero = folded.reshape(-1).astype(np.int64)
    if np.any(zero != zero[0]):
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    return _Quantized(node.input[0], scale.astype(np.float32), int(zero[0]), axis, elem == TensorProto.INT8)


def _channel_axis(node: NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        flag = next((attribute.i for attribute in node.attribute if attribute.name == "transB"), 0)
        return 0 if flag else 1
    return rank - 1


def find_product(node: NodeProto, graph: Graph, constants: Constants) -> IntegerProduct | None:
    """Return the integer arithmetic of a node, or None where it works on floats.

    Both operands must come from DequantizeLinear with constant scales: one number for the first, one number or one an
    output channel for the second, which must be constant unless the node is a MatMul with one scale.
    """
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    x = _dequantized(node.input[0], graph, constants)
    w = _dequantized(node.input[1], graph, constants)
    if x is None or w is None or x.scale.size != 1:
        return None
    folded = constants.folded(w.name)
    dims = graph.tensor(w.name).dims
    rank = folded.ndim if folded is not None else len(dims or ())
    if folded is None and (node.op_type != "MatMul" or w.scale.size != 1):
        return None
    axis = w.axis + rank if w.axis < 0 else w.axis
    if w.scale.size > 1 and (axis != _channel_axis(node, rank) or rank < 2):
        return None
    weights = None if folded is None else folded.astype(np.int16) - np.int16(w.zero)
    return IntegerProduct(
        node=node,
        x=x.name,
        w=w.name,
        weights=weights,
        bias=node.input[2] if len(node.input) > 2 else "",
        x_scale=x.scale.reshape(()),
        w_scale=w.scale.reshape(-1) if w.scale.size > 1 else w.scale.reshape(()),
        x_zero=x.zero,
        w_zero=w.zero,
        rank=rank,
    )


def parts_of(
    weights: NDArray[Any], is_transposed: bool, groups: int, x_max: float
) -> list[NDArray[np.float32]]:
    """Return the weights as float32 arrays that add up to them, each short enough for exact float32 sums.

    Parameters
    ----------
    weights : ndarray of integers, shape (M, C/g, ...) or, for a transposed convolution, (C, M/g, ...)
    is_transposed : bool
        Which of the two layouts it is.
    groups : int
        Of the convolution.
    x_max : float
        Largest modulus of an input.
    """
    size = np.abs(weights.astype(np.float64)) * x_max
    if is_transposed:
        per_group = size.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1)
        flat = per_group.transpose(0, 2, 1, 3).reshape(groups * weights.shape[1], -1)
    else:
        flat = size.reshape(weights.shape[0], -1)
    if not flat.size or flat.sum(axis=1).max() <= _EXACT_LIMIT:
        return [weights.astype(np.float32)]
    part = np.zeros(flat.shape[1], np.int64)
    running, current = np.zeros(flat.shape[0]), 0
    for column in range(flat.shape[1]):
        grown = running + flat[:, column]
        if grown.max() > _EXACT_LIMIT:
            current += 1
            grown = flat[:, column].copy()
        running, part[column] = grown, current
    parts = []
    for number in range(current + 1):
        mask = part == number
        if is_transposed:
            shape = (1, weights.shape[0] // groups, 1, *weights.shape[2:])
            full = np.broadcast_to(
                mask.reshape(shape), (groups, shape[1], weights.shape[1], *weights.shape[2:])
            ).reshape(weights.shape)
        else:
            full = np.broadcast_to(mask.reshape(1, *weights.shape[1:]), weights.shape)
        parts.append(np.where(full, weights, 0).astype(np.float32))
    return parts


def output_scale(product: IntegerProduct) -> NDArray[np.float64]:
    """Return `s_x * s_w`, a scalar or one number an output channel."""
    scale: NDArray[np.float64] = product.x_scale.astype(np.float64) * product.w_scale.astype(np.float64)
    if product.node.op_type == "ConvTranspose" and scale.ndim:
        scale = np.tile(scale, int(product.attribute("group", 1)))
    return scale


def lower_product(product: IntegerProduct, target: str) -> tuple[list[NodeProto], Mapping[str, NDArray[Any]]]:
    """Return the nodes that compute `v = s_x * s_w * acc + b` into `target`, as float32, and their constants."""
    build = _Convolution if product.node.op_type in ("Conv", "ConvTranspose") else _Matrix
    lowered = build(product, target)
    lowered.write()
    return lowered.nodes, lowered.constants


class _Writer:
    def __init__(self, product: IntegerProduct, target: str) -> None:
        self.product = product
        self.target = target
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, op: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
        output = f"{self.product.node.name}@{suffix}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, suffix: str, array: NDArray[Any]) -> str:
        name = f"{self.product.node.name}@{suffix}"
        self.constants[name] = array
        return name

    def centred(self, name: str, zero: int, elem: int, suffix: str) -> str:
        """Cast integers to a float type and take the zero point off."""
        cast = self.add("Cast", [name], f"{suffix}_float", to=elem)
        if not zero:
            return cast
        kind = np.float64 if elem == TensorProto.DOUBLE else np.float32
        return self.add("Sub", [cast, self.constant(f"{suffix}_zero", np.array(zero, kind))], suffix)

    def finish(self, name: str) -> None:
        self.nodes[-1].output[0] = self.target


class _Convolution(_Writer):
    def write(self) -> None:
        """Write the nodes of a convolution or transposed convolution."""
        product = self.product
        assert product.weights is not None
        transposed = product.node.op_type == "ConvTranspose"
        groups = int(product.attribute("group", 1))
        parts = parts_of(product.weights, transposed, groups, 128.0 + abs(product.x_zero))
        x = self.centred(product.x, product.x_zero, dtypes.FLOAT, "x")
        sums = []
        for number, part in enumerate(parts):
            node = NodeProto()
            node.CopyFrom(product.node)
            node.name = ""
            del node.input[:], node.output[:]
            node.input.extend([x, self.constant(f"w{number}", part)])
            node.output.append(f"{product.node.name}@acc{number}")
            self.nodes.append(node)
            sums.append(node.output[0])
        wide = len(sums) > 1
        kind: Any = np.float64 if wide else np.float32
        if wide:
            sums = [
                self.add("Cast", [name], f"wide{i}", to=TensorProto.DOUBLE) for i, name in enumerate(sums)
            ]
        total = sums[0]
        for number, name in enumerate(sums[1:]):
            total = self.add("Add", [total, name], f"sum{number}")
        scale = output_scale(product).astype(kind)
        spread = (1, -1) + (1,) * (product.rank - 2)
        value = self.add(
            "Mul", [total, self.constant("scale", scale.reshape(spread) if scale.ndim else scale)], "v"
        )
        if product.bias:
            shape = self.constant("spread", np.array(spread, np.int64))
            bias = self.add("Reshape", [product.bias, shape], "bias")
            if wide:
                bias = self.add("Cast", [bias], "bias_wide", to=TensorProto.DOUBLE)
            value = self.add("Add", [value, bias], "vb")
        if wide:
            self.add("Cast", [value], "narrow", to=dtypes.FLOAT)
        self.finish(value)


class _Matrix(_Writer):
    def write(self) -> None:
        """Write the nodes of a matrix product; float64 holds any sum of int8 products exactly."""
        product = self.product
        x = self.centred(product.x, product.x_zero, TensorProto.DOUBLE, "x")
        if product.weights is not None:
            w = self.constant("w", product.weights.astype(np.float64))
        else:
            w = self.centred(product.w, product.w_zero, TensorProto.DOUBLE, "w")
        if product.node.op_type == "Gemm":
            if product.attribute("transA", 0):
                x = self.add("Transpose", [x], "xt", perm=[1, 0])
            if product.attribute("transB", 0):
                w = self.add("Transpose", [w], "wt", perm=[1, 0])
        acc = self.add("MatMul", [x, w], "acc")
        alpha = float(product.attribute("alpha", 1.0)) if product.node.op_type == "Gemm" else 1.0
        value = self.add("Mul", [acc, self.constant("scale", output_scale(product) * alpha)], "v")
        if product.bias:
            bias = self.add("Cast", [product.bias], "bias", to=TensorProto.DOUBLE)
            beta = float(product.attribute("beta", 1.0))
            if beta != 1.0:
                bias = self.add("Mul", [bias, self.constant("beta", np.array(beta))], "bias_beta")
            value = self.add("Add", [value, bias], "vb")
        self.add("Cast", [value], "narrow", to=dtypes.FLOAT)
        self.finish(value)
