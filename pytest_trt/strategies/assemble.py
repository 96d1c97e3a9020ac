"""Put nodes and constants together to a small ONNX model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

# The newest set that TensorRT 8.6 reads completely; IR 8 belongs to it.
OPSET = 17
_IR_VERSION = 8


class Assembly:
    """Collects the nodes and constants of one model, in order.

    Parameters
    ----------
    name : str
        Name of the graph.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add a constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; return the output's name. The node is named after both."""
        name = f"{kind.lower()}_{output}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=name, **attributes))
        return output

    def model(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        *,
        dynamic: bool,
    ) -> ModelProto:
        """Return the model; the first axis of each input and output is `N` when `dynamic`."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [_value(name, shape, dynamic) for name, shape in inputs.items()],
            [_value(name, shape, dynamic) for name, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = _IR_VERSION
        model.producer_name = "pytest-trt"
        return model


def _value(name: str, shape: tuple[int, ...], dynamic: bool) -> ValueInfoProto:
    dims: list[int | str] = ["N", *shape[1:]] if dynamic else list(shape)
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
