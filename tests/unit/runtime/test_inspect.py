"""Layer lists: both JSON dialects and the build log of TensorRT-RTX 1.7.1."""

from __future__ import annotations

import json

import pytest

from pytest_trt.records import LayerInfo, LogLine
from pytest_trt.runtime.inspect import read_json, read_log, type_name

FORMAT = "Format: (Linear) Row major linear format }"
RTX_LOG = (
    "Layers:\n"
    "Name: __mye57_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , "
    "StreamId: 0, Metadata: \n"
    "Name: node_of_y, LayerType: correlation, Inputs: [ { Name: a, Dimensions: [-1,8,16,16], Strides: "
    "[2048,1,128,8], StrideOrder: [3,0,2,1], Datatype: Int8, Format: (NHWC) Channel major format }], "
    f"Constants: [ {{ Name: c, Dimensions: [16], StrideOrder: [0], Datatype: Float, {FORMAT}, {{ Name: d, "
    f"Dimensions: [1], Datatype: Half, {FORMAT}], Outputs: [ {{ Name: y, Dimensions: [-1,16,16,16], "
    f"Datatype: Half, {FORMAT}], TacticName: stub_a, StreamId: 0, "
    "Metadata: [ONNX Layer: node_of_y][ONNX Layer: Outputs: [ ]]\n"
    "\n"
    "I/O Tensors:\n Name: x, IOMode: Input, DataType: Float"
)


def test_the_build_log_of_rtx_is_read() -> None:
    layers = read_log([LogLine("VERBOSE", "Local timing cache"), LogLine("VERBOSE", RTX_LOG)])
    assert layers == (
        LayerInfo("__mye57_0_myl0_0", "shape_call"),
        LayerInfo(
            "node_of_y",
            "correlation",
            ("int8",),
            ("fp16",),
            "stub_a",
            "[ONNX Layer: node_of_y][ONNX Layer: Outputs: [ ]]",
            ("fp32", "fp16"),
        ),
    )


def test_a_log_without_layers_gives_none() -> None:
    assert read_log([LogLine("INFO", "Engine generation completed")]) == ()


def test_the_json_dialect_up_to_10() -> None:
    document = {
        "Layers": [
            {
                "Name": "conv",
                "LayerType": "CaskConvolution",
                "Inputs": [
                    {"Name": "x", "Dimensions": [1], "Format/Datatype": "Row major linear FP16 format"}
                ],
                "Outputs": [{"Name": "y", "Dimensions": [1], "Format/Datatype": "Half"}],
                "TacticName": "sm75_xmma",
            }
        ],
        "Bindings": ["x", "y"],
    }
    assert read_json(json.dumps(document)) == (
        LayerInfo("conv", "CaskConvolution", ("fp16",), ("fp16",), "sm75_xmma"),
    )


def test_the_json_dialect_from_11_on() -> None:
    document = {
        "Layers": [
            {
                "Name": "conv",
                "LayerType": "kgen",
                "Inputs": [{"Name": "x", "Format": "Row major linear format", "Datatype": "BFloat16"}],
                "Outputs": [{"Name": "y", "Format": "Row major linear format", "Datatype": "Float"}],
                "Metadata": "[ONNX Layer: conv]",
            }
        ],
        "I/O Tensors": [{"Name": "x", "IOMode": "Input", "DataType": "BFloat16"}],
    }
    assert read_json(json.dumps(document)) == (
        LayerInfo("conv", "kgen", ("bf16",), ("fp32",), "", "[ONNX Layer: conv]"),
    )


def test_names_only_and_text_that_is_no_json() -> None:
    assert read_json('{"Layers": ["conv + relu"], "Bindings": []}') == (LayerInfo("conv + relu", "?"),)
    assert read_json("not JSON") == read_json("[]") == ()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Float", "fp32"),
        ("BFloat16", "bf16"),
        ("Int8", "int8"),
        ("Two wide channel FP32 format", "fp32"),
        ("?", "?"),
    ],
)
def test_type_words(words: str, name: str) -> None:
    assert type_name(words) == name
