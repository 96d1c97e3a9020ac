"""Which type each ONNX node ran in, by layer lists as TensorRT-RTX 1.7.1 logs them."""

from __future__ import annotations

import pytest

from pytest_trt.precision.attribution import UNPROVEN, attribute, onnx_nodes
from pytest_trt.records import LayerInfo


def layer(kind, inputs, nodes, *, constants=(), outputs=("fp32",)):
    metadata = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return LayerInfo("l", kind, tuple(inputs), tuple(outputs), "", metadata, tuple(constants))


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ("", ()),
        ("[ONNX Layer: conv]", ("conv",)),
        ("[ONNX Layer: a]\x1f[ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: a]\x1e[ONNX Layer: b]", ("a", "b")),
        ("[ONNX Layer: a][ONNX Layer: b]__gemm_from_conv1x1[ONNX Layer: c]", ("a", "b", "c")),
        ("[ONNX Layer: model/x[0]/conv]", ("model/x[0]/conv",)),
    ],
)
def test_nodes_of_a_layer(metadata, names):
    assert onnx_nodes(LayerInfo("l", "kgen", metadata=metadata)) == names


@pytest.mark.parametrize(
    ("layers", "asked", "found"),
    [
        # a convolution with its bias in a kernel behind it
        ([layer("correlation", ["int8"], ["n"]), layer("kgen", ["fp32"], ["n", "q"])], "int8", "int8"),
        # Turing: Q/DQ apart from a convolution in float
        ([layer("kgen", ["int8"], ["dq"]), layer("correlation", ["fp32", "fp32"], ["n"])], "int8", "fp32"),
        ([layer("deconv", ["fp32"], ["n"])], "int8", "fp32"),
        ([layer("gemm", ["int8"], ["n"])], "int8", "int8"),
        ([layer("runtime_fusion", ["fp16"], ["n"])], "fp16", "fp16"),
        ([layer("correlation", ["fp16"], ["n"])], "bf16", "fp16"),
        # a matrix times a vector, the Cast before it fused
        ([layer("kgen", ["fp32"], ["cast", "n"], constants=["fp16"])], "fp16", "fp16"),
        ([layer("kgen", ["fp32"], ["n"], constants=["fp32"])], "fp16", UNPROVEN),
        ([layer("runtime_fusion", [], ["n"])], "fp16", UNPROVEN),
        ([layer("kgen", ["int8"], ["n"], constants=["int8"])], "int8", UNPROVEN),
        ([layer("correlation", ["fp32"], ["n"])], "tf32", "tf32"),
    ],
)
def test_type_of_a_node(layers, asked, found):
    assert attribute(layers, ["n"], asked) == {"n": found}


def test_node_that_no_layer_names_is_left_out():
    assert attribute([layer("correlation", ["fp32"], ["other"])], ["n"], "fp32") == {}
