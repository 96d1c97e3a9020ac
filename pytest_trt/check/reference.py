"""ONNX Runtime on the CPU: the reference, graph optimisations off, one thread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.graph import FLOAT_KINDS, Graph
from pytest_trt.errors import ModelError
from pytest_trt.numerics.formats import Array
from pytest_trt.precision.graph import array_of
from pytest_trt.precision.sessions import plain_session


class OnnxRuntime:
    """One ONNX Runtime session on the CPU.

    Parameters
    ----------
    source : Graph
    unit : float
        Every stored tensor of two and more axes is shaken by a random relative error up to this; 0 for an honest reference.

    Raises
    ------
    ModelError
        ONNX Runtime does not load the model; its words are in `why`.
    """

    def __init__(self, source: Graph, *, unit: float = 0.0) -> None:
        model = source.model
        self._widened = {v.name for v in model.graph.input if v.type.tensor_type.elem_type in _LOW}
        if self._widened or _holds_16_bit(model):
            model = widened(source)
        if unit:
            model = _shaken(source, model, unit)
        try:
            self._session = plain_session(model)
        except Exception as error:  # ONNX Runtime raises a class per error code, all private
            raise ModelError(
                "ONNX Runtime does not load the model",
                why=str(error).splitlines()[:3],
                mend="check it with onnx.checker",
            ) from None
        self.names = [value.name for value in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output for these inputs.

        Raises
        ------
        ModelError
            ONNX Runtime fails on them.
        """
        fed = {
            name: np.asarray(value).astype(np.float32) if name in self._widened else value
            for name, value in feeds.items()
        }
        try:
            values = self._session.run(None, fed)
        except Exception as error:  # a class per error code, all private
            raise ModelError(
                "ONNX Runtime, the reference, does not run the model on these inputs",
                why=str(error).splitlines()[:3],
            ) from None
        return dict(zip(self.names, (np.asarray(v) for v in values), strict=True))


_ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_LOW = frozenset(_ELEMENTS.values())


def _holds_16_bit(model: onnx.ModelProto) -> bool:
    graph = model.graph
    return any(t.data_type in _LOW for t in graph.initializer) or any(
        a.name == "to" and a.i in _LOW for n in graph.node if n.op_type == "Cast" for a in n.attribute
    )


def widened(source: Graph) -> onnx.ModelProto:
    """Return the same computation in FP32, with every 16-bit tensor rounded to its type where it is stored.

    ONNX Runtime has no bf16 kernels on the CPU, and runs fp16 graphs in FP32 without all of their roundings. Here each node
    with a 16-bit output is followed by a cast to the type and back; constants become FP32 ones of the same value.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(source.model)
    graph = wide.graph
    low = {name: _ELEMENTS[kind] for name, kind in source.kinds.items() if kind in _ELEMENTS}
    for tensor in graph.initializer:
        if tensor.data_type in _LOW:
            values = array_of(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _LOW:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in _LOW:
                attribute.i = TensorProto.FLOAT
            if attribute.name == "value" and attribute.t.data_type in _LOW:
                values = array_of(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
        names = list(node.output)
        graph.node.append(node)
        for position, name in enumerate(names):
            if name in low:
                graph.node[-1].output[position] = f"{name}//wide"
        for name in names:
            if name in low:
                graph.node.append(helper.make_node("Cast", [f"{name}//wide"], [f"{name}//low"], to=low[name]))
                graph.node.append(helper.make_node("Cast", [f"{name}//low"], [name], to=TensorProto.FLOAT))
    return wide


def _shaken(source: Graph, given: onnx.ModelProto, unit: float) -> onnx.ModelProto:
    """Return a model whose inner floating tensors are multiplied by random numbers between 1 - unit and 1 + unit."""
    model = onnx.ModelProto()
    model.CopyFrom(given)
    ranks = {name: len(shape) for name, (kind, shape) in source.values.items() if kind in FLOAT_KINDS}
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for number, node in enumerate(nodes):
        after = []
        for place, name in enumerate(node.output):
            # A scalar or a list of numbers may be a shape, a scale or an axis.
            if ranks.get(name, 0) < 2 or name in source.initializers or node.op_type == "Constant":
                continue
            still, shake = f"{name}//still", f"{name}//shake"
            node.output[place] = still
            drawn = helper.make_node(
                "RandomUniformLike", [still], [shake], low=1.0 - unit, high=1.0 + unit, seed=float(number)
            )
            after += [drawn, helper.make_node("Mul", [still, shake], [name])]
        model.graph.node.extend([node, *after])
    return model
