"""A model as the rules read it: who makes a tensor, who reads it, its type, shape and constant value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.inliner
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto
from onnx.external_data_helper import uses_external_data

from pytest_trt.hardware import GpuClass
from pytest_trt.precision import graph as graphs

Shape = tuple[int | None, ...]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
# Operators that multiply and accumulate with weights.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What TensorRT fuses behind one of these, where nothing stands between.
ACTIVATIONS = (
    "Relu",
    "LeakyRelu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "Elu",
    "Selu",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
)


@dataclass(frozen=True)
class Place:
    """A node and the graph in which it stands."""

    node: NodeProto
    scope: Scope

    @property
    def name(self) -> str:
        """The node's name, or its first output."""
        return self.node.name or next((name for name in self.node.output if name), self.node.op_type)


class Scope:
    """One graph of a model, the main one or that of an If, Loop or Scan; asks the graph around it in turn."""

    def __init__(self, graph: GraphProto, parent: Scope | None = None) -> None:
        self.graph = graph
        self.parent = parent
        self.outputs = {value.name for value in graph.output}
        self.inputs = {value.name for value in graph.input}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.readers = graphs.consumers(graph)
        self.types: dict[str, TypeProto.Tensor] = {}
        for values in (graph.value_info, graph.input, graph.output):
            self.types.update((value.name, value.type.tensor_type) for value in values)
        self._values: dict[str, np.ndarray | None] = {}

    def maker(self, name: str) -> NodeProto | None:
        """Return the node that makes a tensor, None for inputs and initializers."""
        owner = self._owner(name)
        return None if owner is None else owner.makers.get(name)

    def only_reader(self, name: str) -> NodeProto | None:
        """Return the one node that reads a tensor; None if several do, none does, or it is an output."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def dtype(self, name: str) -> int:
        """Return the ONNX element type of a tensor, 0 where nothing tells it."""
        owner = self._owner(name)
        if owner is None:
            return 0
        if name in owner.tensors:
            return int(owner.tensors[name].data_type)
        return int(owner.types[name].elem_type) if name in owner.types else 0

    def shape(self, name: str) -> Shape | None:
        """Return the shape of a tensor, None for a length that is not known; None where the rank is not."""
        owner = self._owner(name)
        if owner is None:
            return None
        if name in owner.tensors:
            return tuple(owner.tensors[name].dims)
        kind = owner.types.get(name)
        if kind is None or not kind.HasField("shape"):
            return None
        return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)

    def is_constant(self, name: str) -> bool:
        """Tell whether a tensor is an initializer or comes from a Constant node."""
        owner = self._owner(name)
        if owner is None:
            return False
        maker = owner.makers.get(name)
        return name in owner.tensors or (maker is not None and maker.op_type == "Constant")

    def constant(self, name: str) -> np.ndarray | None:
        """Return the value of a constant tensor; None for any other, and for one whose bytes are not here."""
        owner = self._owner(name)
        if owner is None:
            return None
        if name not in owner._values:
            owner._values[name] = owner._read(name)
        return owner._values[name]

    def _owner(self, name: str) -> Scope | None:
        if not name:
            return None
        here = name in self.makers or name in self.tensors or name in self.types
        return self if here or self.parent is None else self.parent._owner(name)

    def _read(self, name: str) -> np.ndarray | None:
        maker = self.makers.get(name)
        if maker is not None:
            return _constant_node(maker)
        tensor = self.tensors.get(name)
        return None if tensor is None else _array(tensor)


class View:
    """A model with inferred types, the GPU class and the precisions that are wanted.

    Parameters
    ----------
    model : ModelProto
        Any valid model. It is not changed.
    gpu : GpuClass
    precisions : frozenset of str
    """

    def __init__(self, model: ModelProto, gpu: GpuClass, precisions: frozenset[str]) -> None:
        self.gpu = gpu
        self.precisions = precisions
        self.model = _inferred(model)
        self.opset = graphs.opset(model)
        self.main = Scope(self.model.graph)
        self.scopes = tuple(_scopes(self.main))
        self.quantized = any(place.node.op_type in ("QuantizeLinear", "DequantizeLinear") for place in self)

    def __iter__(self) -> Iterator[Place]:
        """Yield each node of ONNX's own operators, those of inner graphs too."""
        for scope in self.scopes:
            for node in scope.graph.node:
                if node.domain in ("", "ai.onnx"):
                    yield Place(node, scope)

    def of(self, *kinds: str) -> Iterator[Place]:
        """Yield the nodes of some operators."""
        return (place for place in self if place.node.op_type in kinds)


def attribute(node: NodeProto, name: str) -> AttributeProto | None:
    """Return an attribute of a node, None where it is not given."""
    return next((entry for entry in node.attribute if entry.name == name), None)


def integers(node: NodeProto, name: str) -> tuple[int, ...] | None:
    """Return an attribute of integers, None where it is not given."""
    entry = attribute(node, name)
    return None if entry is None else tuple(entry.ints)


def _scopes(scope: Scope) -> Iterator[Scope]:
    yield scope
    for node in scope.graph.node:
        for inner in graphs.subgraphs(node):
            yield from _scopes(Scope(inner, scope))


def written_out(model: ModelProto) -> ModelProto:
    """Return a model with the bodies of its own functions in place of their calls."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception:  # a call that onnx cannot write out stays; it raises bare types of its C++ half
        return model


def _inferred(model: ModelProto) -> ModelProto:
    """Return a model with what ONNX can infer, functions written out; as it is where that fails."""
    model = written_out(model)
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a graph that ONNX cannot infer is linted without shapes; onnx raises many types here
        return model


def _array(tensor: TensorProto) -> np.ndarray | None:
    if uses_external_data(tensor) or tensor.data_type == TensorProto.STRING:
        return None
    try:
        return graphs.array_of(tensor)
    except (ValueError, TypeError, KeyError, AttributeError):  # a type that this onnx or numpy does not know
        return None


def _constant_node(node: NodeProto) -> np.ndarray | None:
    if node.op_type != "Constant" or not node.attribute:
        return None
    entry = node.attribute[0]
    if entry.name == "value":
        return _array(entry.t)
    if entry.name in ("value_float", "value_floats"):
        return np.asarray(entry.f if entry.name == "value_float" else entry.floats, np.float32)
    if entry.name in ("value_int", "value_ints"):
        return np.asarray(entry.i if entry.name == "value_int" else entry.ints, np.int64)
    return None
