"""Small ONNX models of a few nodes, for the triggers that no drawn configuration covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.strategies.assemble import OPSET

_IR_VERSION = 8
FLOAT, HALF, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BOOL
INT32, INT64 = TensorProto.INT32, TensorProto.INT64

Shape = Sequence[Any]  # extents: numbers, or names of dynamic ones
Tensors = Mapping[str, Shape | tuple[int, Shape]]  # by name: a shape of float32, or (element type, shape)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """Return a node named after its first output; tensors in one string each, `-` for one that is left out."""
    given = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(
        operator, given, outputs.split(), name=f"{operator.lower()}_{outputs.split()[0]}", **attributes
    )


def net(
    nodes: Sequence[NodeProto],
    inputs: Tensors,
    outputs: Tensors,
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = OPSET,
) -> ModelProto:
    """Return a model of these nodes, with constants by name."""
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    return assemble("reported", nodes, inputs, outputs, held, opset=opset)


def assemble(
    name: str,
    nodes: Sequence[NodeProto],
    inputs: Tensors,
    outputs: Tensors,
    constants: Sequence[TensorProto],
    *,
    opset: int = OPSET,
) -> ModelProto:
    """Return a model from its parts."""
    graph = helper.make_graph(
        list(nodes),
        name,
        [_value(name, value) for name, value in inputs.items()],
        [_value(name, value) for name, value in outputs.items()],
        list(constants),
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=_IR_VERSION,
        producer_name="pytest-trt",
    )


def _value(name: str, value: Sequence[Any]) -> Any:
    elem, shape = value if len(value) == 2 and isinstance(value[1], (list, tuple)) else (FLOAT, value)
    return helper.make_tensor_value_info(name, elem, list(shape))


def quantised(tensor: str, scale: float, constants: dict[str, Any]) -> list[NodeProto]:
    """Return a Q/DQ pair that makes `TENSOR_dq` of a tensor, its scale and zero point added to the constants."""
    constants |= {f"{tensor}_scale": np.float32(scale), f"{tensor}_zero": np.int8(0)}
    pair = f"{tensor}_scale {tensor}_zero"
    return [
        node("QuantizeLinear", f"{tensor} {pair}", f"{tensor}_q"),
        node("DequantizeLinear", f"{tensor}_q {pair}", f"{tensor}_dq"),
    ]


def integers(shape: Sequence[int], largest: int, seed: int = 0) -> np.ndarray:
    """Return float32 integers from -largest to largest."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, tuple(shape)).astype(np.float32)


def levels(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Return int8 weights from -127 to 127."""
    return np.random.default_rng(seed).integers(-127, 128, tuple(shape)).astype(np.int8)
