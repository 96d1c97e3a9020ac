"""The networks that are timed: one of the shape of ResNet-18 and a small one, with seeded weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

INPUT, OUTPUT = "x", "y"
CLASSES = 1000


class _Writer:
    """Nodes and weights as they come; each operation returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def put(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes))
        return f"{name}_out"

    def weight(self, *shape: int, gain: float = 2.0) -> str:
        """Return normal weights whose sums have as large a variance as what they read, times half the gain (He et al. 2015)."""
        spread = math.sqrt(gain / math.prod(shape[1:]))
        values = (self.rng.standard_normal(shape) * spread).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def conv(
        self, x: str, inner: int, outer: int, kernel: int, stride: int = 1, *, relu: bool, gain: float = 2.0
    ) -> str:
        bias = numpy_helper.from_array(np.zeros(outer, np.float32), f"w{len(self.weights)}")
        self.weights.append(bias)
        w = self.weight(outer, inner, kernel, kernel, gain=gain)
        pads = [kernel // 2] * 4
        y = self.put("Conv", x, w, bias.name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        return self.put("Relu", y) if relu else y

    def model(self, y: str, size: int, classes: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [y], [OUTPUT], name="output"))
        inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, size, size])]
        outputs = [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", classes])]
        graph = helper.make_graph(self.nodes, "network", inputs, outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make_deep(size: int, seed: int = 0, widths: tuple[int, ...] = (64, 128, 256, 512)) -> onnx.ModelProto:
    """Return a network of the shape of ResNet-18 (He et al. 2016, table 1): 20 convolutions, residual additions, one Gemm.

    Batch normalisation is taken to be folded into the weights. Input `x`, (n, 3, size, size); output `y`, (n, 1000).
    """
    writer = _Writer(seed)
    x = writer.conv(INPUT, 3, widths[0], 7, 2, relu=True)
    x = writer.put("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inner = widths[0]
    for stage, outer in enumerate(widths):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = writer.conv(x, inner, outer, 3, stride, relu=True)
            y = writer.conv(
                y, outer, outer, 3, relu=False, gain=0.5
            )  # so that the sum of both ways does not grow
            if stride != 1:
                x = writer.conv(x, inner, outer, 1, stride, relu=False, gain=1.0)
            x = writer.put("Relu", writer.put("Add", x, y))
            inner = outer
    return _with_head(writer, x, inner, size)


def make_shallow(size: int, seed: int = 0) -> onnx.ModelProto:
    """Return the deep network with few channels, for a try of everything in seconds."""
    return make_deep(size, seed, (8, 8, 16, 16))


def make_small(size: int = 32, seed: int = 1) -> onnx.ModelProto:
    """Return a network of three convolutions and one Gemm, which takes a GPU some tens of microseconds."""
    writer = _Writer(seed)
    x = writer.conv(INPUT, 3, 16, 3, 2, relu=True)
    x = writer.conv(x, 16, 32, 3, 2, relu=True)
    x = writer.conv(x, 32, 32, 3, relu=True)
    return _with_head(writer, x, 32, size)


def make_tiny(size: int = 8, seed: int = 3) -> onnx.ModelProto:
    """Return a network of one convolution and one Gemm, for thousands of runs of an emulator that computes step by step."""
    writer = _Writer(seed)
    return _with_head(writer, writer.conv(INPUT, 3, 4, 3, relu=True), 4, size)


def _with_head(writer: _Writer, x: str, inner: int, size: int) -> onnx.ModelProto:
    x = writer.put("Flatten", writer.put("GlobalAveragePool", x))
    y = writer.put("Gemm", x, writer.weight(CLASSES, inner, gain=1.0), transB=1)
    return writer.model(y, size, CLASSES)


def draw_input(batch: int, size: int, seed: int = 2) -> Any:
    """Return normal numbers of the networks' input shape, float32."""
    return np.random.default_rng(seed).standard_normal((batch, 3, size, size), np.float32)
