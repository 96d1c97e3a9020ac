"""The typed ONNX graph of a configuration, from its parts."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.bite.problems import Problem
from pytest_trt.emulator import dtypes
from pytest_trt.numerics.formats import Float64

ELEMS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# The type in which a contract's tensors are stored.
STORED = {
    "fp32": "fp32",
    "tf32": "fp32",
    "int8": "fp32",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp16acc": "fp16",
    "fp8": "fp16",
}
_OPSETS = {"bf16": (22, 10)}  # operator set and IR version; bfloat16 convolutions came with set 22
_DEFAULT_OPSET = (17, 8)


def make_tensor(name: str, values: Float64, stored: str) -> TensorProto:
    """Return values as an initializer of a stored type."""
    if stored == "bf16":
        bits = dtypes.bf16_bits(values.astype(np.float32))
        return helper.make_tensor(
            name, TensorProto.BFLOAT16, values.shape, bits.astype("<u2").tobytes(), raw=True
        )
    kind = np.float16 if stored == "fp16" else np.float32
    return numpy_helper.from_array(np.ascontiguousarray(values.astype(kind)), name)


def make_product(problem: Problem, inputs: list[str], output: str) -> NodeProto:
    """Return the convolution or matrix product."""
    if problem.is_gemm:
        return helper.make_node("Gemm", inputs, [output], name="product", transB=int(problem.transposed))
    return helper.make_node(
        "Conv",
        inputs,
        [output],
        name="product",
        kernel_shape=list(problem.w[2:]),
        group=problem.groups,
        strides=list(problem.strides),
        dilations=list(problem.dilations),
        pads=list(problem.pads),
    )


def make_graph(problem: Problem, nodes: list[NodeProto], tensors: list[TensorProto], elem: int) -> ModelProto:
    """Return the model of some nodes, inputs and output of one element type, with a symbolic batch."""
    shapes = {"x": problem.x, **({"r": problem.y} if problem.residual else {})}
    inputs = [helper.make_tensor_value_info(n, elem, ["batch", *shape[1:]]) for n, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", elem, ["batch", *problem.y[1:]])
    opset, version = _OPSETS.get(problem.contract, _DEFAULT_OPSET)
    graph = helper.make_graph(nodes, "bite", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
