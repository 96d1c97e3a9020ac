"""Which type each ONNX node ran in, by layer lists as TensorRT-RTX 1.7.1 logs them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.attribution import UNPROVEN, attribute, onnx_nodes, typed_products
from pytest_trt.records import LayerInfo

from .models import build, conv_relu, feed, value


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


@pytest.mark.parametrize(
    ("layers", "asked", "found"),
    [
        # what Myelin does inside is not told, whatever the types at its border
        (
            [LayerInfo("{ForeignNode[n...m]}", "Myelin", ("fp16",), metadata="[ONNX Layer: n]")],
            "fp16",
            UNPROVEN,
        ),
        # an INT8 residual beside FP32 data is no INT8 convolution
        ([layer("correlation", ["fp32", "int8"], ["n"])], "int8", "fp32"),
        # shapes decide the format: the weights tell the type
        ([layer("CaskConvolution", ["?"], ["n"], constants=["fp16"])], "fp16", "fp16"),
    ],
)
def test_type_of_a_node_in_older_lists(layers, asked, found):
    assert attribute(layers, ["n"], asked) == {"n": found}


def test_a_kernel_named_tf32_is_not_fp32():
    tf32 = LayerInfo("l", "gemm", ("fp32",), (), "gemm_f32f32_tf32f32_f32", "[ONNX Layer: n]")
    assert attribute([tf32], ["n"], "fp32") == {"n": "tf32"}
    assert attribute([tf32], ["n"], "tf32") == {"n": "tf32"}


def typed(precision, **options):
    if precision == "bf16" and onnx.defs.onnx_opset_version() < 22:
        pytest.skip("this onnx has no operator set 22")
    model = conv_relu()
    return prepare(model, precision, strong=True, ranges=measure_ranges(model, [feed()]), **options).matched


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_types_that_a_typed_graph_asks_for(precision):
    assert typed_products(typed(precision)) == {"conv": precision}


def test_a_product_of_which_one_side_alone_is_quantized_is_asked_for_in_its_own_type():
    model = build(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="d"),
            helper.make_node("MatMul", ["d", "w"], ["m"], name="half"),
            helper.make_node("MatMul", ["d", "d"], ["y"], name="both"),
        ],
        [value("x", [4, 4])],
        [value("m", [4, 4]), value("y", [4, 4])],
        {"w": np.eye(4, dtype=np.float32), "scale": np.float32(0.1), "zero": np.int8(0)},
    )
    assert typed_products(model) == {"half": "fp32", "both": "int8"}
