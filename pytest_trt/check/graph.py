"""An ONNX model, read once: nodes, constants as float64, element types, who makes and who reads a tensor."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.inliner import inline_local_functions

from pytest_trt.errors import ModelError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.precision.graph import array_of
from pytest_trt.precision.sixteen import FOLDED
from pytest_trt.runtime.external import check_one_piece, held_bytes, load_whole

ModelSource = "str | os.PathLike[str] | bytes | onnx.ModelProto"

KINDS: Mapping[int, str] = {
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.DOUBLE: "fp64",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
}
FLOAT_KINDS = frozenset({"fp32", "fp16", "bf16", "fp64"})

Shape = tuple["int | str | None", ...]


def load_model(source: Any) -> onnx.ModelProto:
    """Return the model of a path, of bytes, or of a `ModelProto` (which is returned as it is).

    Raises
    ------
    ModelError
        The file is missing, the bytes are not ONNX, or the graph is not valid ONNX.
    """
    if isinstance(source, onnx.ModelProto):
        return _checked(source, "the model")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _checked(_parsed(bytes(source), "the byte string given"), "the byte string given")
    if not isinstance(source, (str, os.PathLike)):
        raise ModelError(
            f"a model of type {type(source).__name__} cannot be read",
            mend="give a path, bytes or an onnx.ModelProto",
        )
    path = Path(source)
    if not path.is_file():
        raise ModelError(
            f"no model file {str(path)!r}", mend="check the path; it is relative to the working folder"
        )
    try:
        model = load_whole(path)
    except ModelError:
        raise
    except (
        Exception
    ) as error:  # onnx raises plain exceptions of several kinds for weights that it does not take
        raise ModelError(f"{str(path)!r} cannot be loaded", why=str(error)) from None
    return _checked(model, repr(str(path)))


def _parsed(data: bytes, name: str) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelError(f"{name} is not an ONNX model", why=str(error)) from None


def _checked(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    if not model.graph.node:
        raise ModelError(f"{name} holds no ONNX graph", why="the graph has no nodes")
    check_one_piece(held_bytes(model), name)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, and ValueError
        words = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(f"{name} is not a valid ONNX model", why=words[:3]) from None
    # Parsers inline local functions as well; a rewrite would lose them.
    return inline_local_functions(model) if model.functions else model


@dataclass(frozen=True)
class Node:
    """One operator: its type, name, tensors and attributes as Python values."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        value = self.attributes.get(name)
        return default if value is None else tuple(int(v) for v in value)


class Graph:
    """The parts of a model that the check needs, each worked out once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.nodes: tuple[Node, ...] = tuple(
            Node(
                n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}::{n.op_type}",
                n.name,
                tuple(n.input),
                tuple(n.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute},
            )
            for n in graph.node
        )
        self.initializers = {t.name: t for t in graph.initializer}
        self.inputs: dict[str, tuple[str, Shape]] = {
            v.name: _typed(v) for v in graph.input if v.name not in self.initializers
        }
        self.outputs: dict[str, tuple[str, Shape]] = {v.name: _typed(v) for v in graph.output}
        self.opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self._constants: dict[str, Bound] = {}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the serialised model, hexadecimal."""
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    @cached_property
    def producer(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each tensor, once an occurrence."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Element type of every tensor that ONNX shape inference can type, in our spelling."""
        return {name: kind for name, (kind, _) in self.values.items()}

    @cached_property
    def values(self) -> dict[str, tuple[str, Shape]]:
        """Type and shape of every tensor that ONNX shape inference knows."""
        known = dict(self.inputs) | dict(self.outputs)
        for name, tensor in self.initializers.items():
            known[name] = (KINDS.get(tensor.data_type, "?"), tuple(tensor.dims))
        if all(name in known for node in self.nodes for name in node.outputs if name):
            return known
        inferred = onnx.shape_inference.infer_shapes(self.model)
        for value in inferred.graph.value_info:
            known.setdefault(value.name, _typed(value))
        return known

    def constant(self, name: str) -> Bound | None:
        """Return an initializer as an exact bound, or None if there is none of that name."""
        found = self._constants.get(name)
        if found is None and name in self.initializers:
            tensor = self.initializers[name]
            values = array_of(tensor).astype(np.float64)
            found = Bound.exact(values, KINDS.get(tensor.data_type, "?"))
            self._constants[name] = found
        return found

    @cached_property
    def folded(self) -> dict[str, np.ndarray]:
        """By name of the shift of a BatchNormalization that the rewrite folded: |mean * scale| of each channel."""
        return {
            entry.key[len(FOLDED) :]: np.asarray(json.loads(entry.value), dtype=np.float64)
            for entry in self.model.metadata_props
            if entry.key.startswith(FOLDED)
        }

    @cached_property
    def dynamic(self) -> dict[str, Shape]:
        """The inputs that have a dimension without a size."""
        return {
            name: shape
            for name, (_, shape) in self.inputs.items()
            if not all(isinstance(d, int) for d in shape)
        }

    @cached_property
    def batch_symbol(self) -> str | None:
        """The symbolic first dimension that all inputs and outputs share, or None."""
        firsts = {shape[0] if shape else None for _, shape in (*self.inputs.values(), *self.outputs.values())}
        only = firsts.pop() if len(firsts) == 1 else None
        return only if isinstance(only, str) and only else None

    def count(self, names: frozenset[str]) -> Counter[str]:
        """Return how many nodes there are of each of the operators."""
        return Counter(node.op for node in self.nodes if node.op in names)


def _typed(value: onnx.ValueInfoProto) -> tuple[str, Shape]:
    tensor = value.type.tensor_type
    shape: list[int | str | None] = []
    for dim in tensor.shape.dim:
        field = dim.WhichOneof("value")
        shape.append(
            dim.dim_value if field == "dim_value" else dim.dim_param if field == "dim_param" else None
        )
    return KINDS.get(tensor.elem_type, "?"), tuple(shape)
