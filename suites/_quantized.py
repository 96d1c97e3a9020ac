"""Networks with Q/DQ of their own, in the forms that exporters write."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

IMAGE = (2, 16, 10, 10)
ROWS = (8, 32)


class _Graph:
    """Nodes and constants as they come; activations have one scale, weights one for each output channel."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, NDArray[np.generic]] = {"zero": np.int8(0).reshape(())}

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Add a node that has its output's name."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def pair(self, tensor: str, scale: float = 0.04) -> str:
        """Quantise an activation and take it back."""
        self.constants[f"{tensor}_s"] = np.float32(scale).reshape(())
        given = [f"{tensor}_s", "zero"]
        whole = self.node("QuantizeLinear", [tensor, *given], f"{tensor}_q")
        return self.node("DequantizeLinear", [whole, *given], f"{tensor}_dq")

    def weights(self, name: str, shape: tuple[int, ...], axis: int | None, *, floating: bool = False) -> str:
        """Add weights: INT8 constants, or with `floating` float constants behind a Q of their own."""
        reach = float(np.sqrt(3 / np.prod(shape[1:])))
        values = self.rng.uniform(-reach, reach, shape).astype(np.float32)
        others = tuple(i for i in range(len(shape)) if i != axis)
        scale = np.abs(values).max(axis=None if axis is None else others).astype(np.float32) / np.float32(127)
        self.constants[f"{name}_s"] = np.asarray(scale)
        self.constants[f"{name}_z"] = np.zeros(np.shape(scale), np.int8)
        given, where = [f"{name}_s", f"{name}_z"], {} if axis is None else {"axis": axis}
        whole = f"{name}_q"
        if floating:
            self.constants[name] = values
            self.node("QuantizeLinear", [name, *given], whole, **where)
        else:
            wide = scale if axis is None else np.expand_dims(scale, others)
            self.constants[whole] = np.clip(np.rint(values / wide), -127, 127).astype(np.int8)
        return self.node("DequantizeLinear", [whole, *given], f"{name}_dq", **where)

    def conv(self, tensor: str, name: str, *, floating: bool = False, axis: int | None = 0) -> str:
        """Add a 3x3 convolution of 16 to 16 channels with a bias behind a quantised activation."""
        kernel = self.weights(f"w_{name}", (16, 16, 3, 3), axis, floating=floating)
        self.constants[f"b_{name}"] = self.rng.standard_normal(16).astype(np.float32)
        return self.node("Conv", [self.pair(tensor), kernel, f"b_{name}"], name, pads=[1, 1, 1, 1])

    def model(self, shape: tuple[int, ...]) -> ModelProto:
        """Return the network from `x` to `y`; the last tensor gets a pair in front of it."""
        self.node("Identity", [self.pair(self.nodes[-1].output[0])], "y")
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return shape_inference.infer_shapes(model, strict_mode=True)


def quantized_networks() -> dict[str, tuple[ModelProto, dict[str, tuple[int, ...]]]]:
    """Return the networks with their input shapes, by name.

    Placement is that of "Explicit Quantization" in NVIDIA's TensorRT documentation: Q/DQ in front of every operator that is to be
    INT8, on its data and its weights; weights per output channel, which is axis 0 of a convolution, axis 1 of a
    deconvolution and the last axis of a matrix; both sides of a residual; one scale for all parts of a Concat.
    """
    found = {}
    for name, floating, axis in (
        ("conv", False, 0),
        ("conv-float-weights", True, 0),
        ("conv-per-tensor", False, None),
    ):
        graph = _Graph()
        graph.node("Relu", [graph.conv("x", "c0", floating=floating, axis=axis)], "r0")
        found[name] = (graph.model(IMAGE), IMAGE)
    graph = _Graph()
    kernel = graph.weights("w", (16, 8, 2, 2), 1)
    graph.node("ConvTranspose", [graph.pair("x"), kernel], "d0", strides=[2, 2])
    found["conv-transpose"] = (graph.model(IMAGE), IMAGE)
    graph = _Graph()
    kernel = graph.weights("w", (16, 1, 3, 3), 0)
    graph.node("Conv", [graph.pair("x"), kernel], "c0", pads=[1, 1, 1, 1], group=16)
    found["depthwise"] = (graph.model(IMAGE), IMAGE)
    graph = _Graph()
    graph.node("MatMul", [graph.pair("x"), graph.weights("w", (32, 24), 1)], "m0")
    found["matmul"] = (graph.model(ROWS), ROWS)
    graph = _Graph()
    graph.constants["b"] = graph.rng.standard_normal(24).astype(np.float32)
    graph.node("Gemm", [graph.pair("x"), graph.weights("w", (24, 32), 0), "b"], "g0", transB=1)
    found["gemm"] = (graph.model(ROWS), ROWS)
    graph = _Graph()
    graph.node("Relu", [graph.conv("x", "c0")], "r0")
    last = graph.pair(graph.conv("r0", "c1"))
    graph.node("Relu", [graph.node("Add", [last, "r0_dq"], "s0")], "r1")
    found["residual"] = (graph.model(IMAGE), IMAGE)
    graph = _Graph()
    parts = [graph.pair(graph.conv("x", "c0")), graph.pair(_second(graph))]
    joined = graph.node("Concat", parts, "j0", axis=1)
    kernel = graph.weights("w", (16, 32, 1, 1), 0)
    graph.node("Conv", [graph.pair(joined), kernel], "c2")
    found["concat"] = (graph.model(IMAGE), IMAGE)
    return {name: (model, {"x": shape}) for name, (model, shape) in found.items()}


def _second(graph: _Graph) -> str:
    """Add a convolution that reads the pair of the input once more."""
    kernel = graph.weights("w_c1", (16, 16, 3, 3), 0)
    return graph.node("Conv", ["x_dq", kernel], "c1", pads=[1, 1, 1, 1])
