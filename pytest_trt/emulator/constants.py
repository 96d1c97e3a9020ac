"""The constants of a graph, carried: initializers, Constant nodes, and what follows from them alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.graph import Graph

_LARGEST: dict[int, float] = {dtypes.FLOAT16: 65504.0, dtypes.BFLOAT16: 3.3895313892515355e38}


class Constants:
    """Arrays by tensor name.

    Parameters
    ----------
    graph : Graph
        Whose initializers are taken.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.model.graph.initializer}
        self._arrays: dict[str, NDArray[Any]] = {}
        for node in graph.nodes:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                value = _constant_value(node)
                if value is not None:
                    self._arrays[node.output[0]] = value

    def names(self) -> list[str]:
        """Return the names of all initializers, Constant nodes' outputs and added constants."""
        return list(dict.fromkeys([*self._tensors, *self._arrays]))

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or name in self._tensors

    def array(self, name: str) -> NDArray[Any]:
        """Return a constant as it is carried."""
        if name not in self._arrays:
            self._arrays[name] = dtypes.constant_array(self._tensors[name])
        return self._arrays[name]

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Add a constant of our own."""
        self._arrays[name] = array

    def round(self, name: str, elem: int) -> None:
        """Round a float32 constant to a 16-bit type, as a builder that chooses types does."""
        self._arrays[name] = narrowed(self.array(name), elem)

    def folded(self, name: str) -> NDArray[Any] | None:
        """Return the value of a tensor that follows from constants through Constant, Identity, Cast or Quantize."""
        if name in self:
            return self.array(name)
        node = self._graph.producers.get(name)
        if node is None:
            return None
        if node.op_type not in ("Identity", "Cast", "QuantizeLinear"):
            return None
        inputs = [self.folded(source) for source in node.input if source]
        if not inputs or inputs[0] is None or any(value is None for value in inputs):
            return None
        if node.op_type == "QuantizeLinear":
            return _quantize(node, [value for value in inputs if value is not None])
        if node.op_type == "Cast":
            elem = next(attribute.i for attribute in node.attribute if attribute.name == "to")
            if not dtypes.is_known(elem):
                return None
            if elem in dtypes.HALVES:
                return dtypes.round_to(inputs[0].astype(np.float32), elem)
            return inputs[0].astype(dtypes.storage_of(elem))
        return inputs[0]

    def protos(self, names: list[str]) -> list[TensorProto]:
        """Return initializers for those of the names that are constants."""
        found = []
        for name in names:
            if name in self._arrays:
                found.append(self.proto(name, self._arrays[name]))
            elif name in self._tensors:
                tensor = self._tensors[name]
                halves = tensor.data_type in dtypes.HALVES
                found.append(self.proto(name, self.array(name)) if halves else tensor)
        return found

    @staticmethod
    def proto(name: str, array: NDArray[Any]) -> TensorProto:
        """Return an array as an initializer."""
        return numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name)


def narrowed(array: NDArray[Any], elem: int) -> NDArray[Any]:
    """Return a float32 constant rounded to a 16-bit type; finite values past its range become its largest.

    A weakly typed TensorRT warns of such weights and says that it "converted them to the closest finite FP16 value"
    (NVIDIA/TensorRT issue 3101).
    """
    largest = np.float32(_LARGEST[elem])
    return dtypes.round_to(np.where(np.isfinite(array), np.clip(array, -largest, largest), array), elem)


def _constant_value(node: NodeProto) -> NDArray[Any] | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            return dtypes.constant_array(attribute.t)
        if attribute.name == "value_float":
            return np.array(attribute.f, np.float32)
        if attribute.name == "value_int":
            return np.array(attribute.i, np.int64)
        if attribute.name == "value_floats":
            return np.array(attribute.floats, np.float32)
        if attribute.name == "value_ints":
            return np.array(attribute.ints, np.int64)
    return None


def _quantize(node: NodeProto, inputs: list[NDArray[Any]]) -> NDArray[Any] | None:
    values, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 else np.array(0, np.uint8)
    if scale.ndim > 1 or zero.dtype not in (np.int8, np.uint8):
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.size > 1 else zero
    limits = np.iinfo(zero.dtype)
    scaled = np.rint(values.astype(np.float32) / scale.astype(np.float32)) + zero.astype(np.float32)
    quantized: NDArray[Any] = np.clip(scaled, limits.min, limits.max).astype(zero.dtype)
    return quantized
