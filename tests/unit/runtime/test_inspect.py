"""Layer lists: both JSON dialects and the build log of TensorRT-RTX 1.7.1."""

from __future__ import annotations

import json
from pathlib import Path

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
            ("a",),
            ("y",),
            ("Channel major format",),
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
        LayerInfo(
            "conv",
            "CaskConvolution",
            ("fp16",),
            ("fp16",),
            "sm75_xmma",
            reads=("x",),
            writes=("y",),
            formats=("Row major linear FP16 format",),
        ),
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
        LayerInfo(
            "conv",
            "kgen",
            ("bf16",),
            ("fp32",),
            "",
            "[ONNX Layer: conv]",
            reads=("x",),
            writes=("y",),
            formats=("Row major linear format",),
        ),
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


SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> tuple[LayerInfo, ...]:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return read_json(text) if name.endswith(".json") else read_log([LogLine("VERBOSE", text)])


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.[jl]*")), ids=lambda path: path.name)
def test_every_sample_names_and_types_each_tensor(path: Path) -> None:
    layers = sample(path.name)
    assert len(layers) == path.read_text(encoding="utf-8").count("LayerType")
    for layer in layers:
        assert len(layer.reads) == len(layer.inputs) == len(layer.formats), layer
        assert len(layer.writes) == len(layer.outputs) >= 1, layer
        assert all((*layer.reads, *layer.writes)), layer


def test_samples_of_each_dialect_are_there() -> None:
    assert {path.name.split("-")[1].split(".")[0] for path in SAMPLES.glob("tensorrt-*.json")} == {
        "8",
        "10",
        "11",
    }
    assert len(list(SAMPLES.glob("rtx-1.7.1-*.log"))) >= 4


def test_names_and_formats_of_the_older_dialect() -> None:
    quantize, stem, depthwise, point, *_ = sample("tensorrt-8.6-int8-fp16.json")
    assert (quantize.inputs, quantize.outputs) == (("fp32",), ("int8",))
    assert (point.reads, point.writes) == (("dw_out", "stem_out"), ("sum",))
    assert stem.formats == ("Four wide channel vectorized row major Int8 format",)
    assert depthwise.constants == ("int8",)


def test_types_that_depend_on_shapes_are_told_by_the_weights() -> None:
    reformat, conv, *_ = sample("tensorrt-8.6-dynamic-myelin.json")
    assert (reformat.inputs, reformat.constants, reformat.formats) == (("?",), (), ("",))
    assert (conv.inputs, conv.constants, conv.formats) == (("?",), ("fp16",), ("",))


def test_a_bare_type_is_no_format() -> None:
    gemm = sample("tensorrt-10-gemm-fp16.json")[1]
    assert gemm.inputs == ("fp16", "fp16", "fp32", "fp32", "fp16") and gemm.formats == ("",) * 5


def test_names_and_formats_of_the_newer_dialect() -> None:
    _, conv, *_ = sample("tensorrt-11-bf16.json")
    assert (conv.reads, conv.inputs, conv.constants) == (("x_b",), ("bf16",), ("bf16",))
    assert conv.formats == ("Channel major format where channel % 8 == 0",)


def test_names_and_formats_of_the_build_log_of_rtx() -> None:
    layers = sample("rtx-1.7.1-sm80-block-fp16.log")
    residual = next(layer for layer in layers if "conv2" in layer.metadata)
    assert residual.reads == ("s.1_4_myl0", "r1.1_3_myl0") and residual.inputs == ("fp16", "fp16")
    assert residual.formats == ("Channel major format",) * 2
    assert layers[-1].writes == ("y",) and layers[-1].outputs == ("fp32",)


OLD_LINE = (
    "Layers:\n"
    "Name: {ForeignNode[a, b...c]}, LayerType: Myelin, Inputs: [], Outputs: [ { Name: q, Location: Device, "
    "Dimensions: [2,12600], Format/Datatype: Row major linear FP32 }], TacticValue: 0x00000000000000\n"
    "Name: conv + relu, LayerType: CaskConvolution, Inputs: [ { Name: q, Location: Device, Dimensions: [1,3,8,8], "
    "Format/Datatype: Channel major FP16 format where channel % 8 == 0 }, { Name: {r}, Location: Device, "
    "Dimensions: [1], Format/Datatype: N/A due to dynamic shapes }], Outputs: [ { Name: y, Location: Device, "
    "Dimensions: [1,64,8,8], Format/Datatype: Half }], ParameterType: Convolution, Kernel: [3,3], "
    'Weights: {"Type": "Half", "Count": 23232}, Bias: {"Type": "Float", "Count": 64}, Activation: RELU, '
    "TacticName: sm80_xmma_fprop_f16f16_f16f16_f16, TacticValue: 0x280b0ad3c23d8442, StreamId: 0, "
    "Metadata: [ONNX Layer: conv][ONNX Layer: relu]"
)


def test_the_lines_of_8_and_10_are_read() -> None:
    foreign, conv = read_log([LogLine("VERBOSE", OLD_LINE)])
    assert (foreign.name, foreign.kind, foreign.outputs) == ("{ForeignNode[a, b...c]}", "Myelin", ("fp32",))
    assert conv == LayerInfo(
        "conv + relu",
        "CaskConvolution",
        ("fp16", "?"),
        ("fp16",),
        "sm80_xmma_fprop_f16f16_f16f16_f16",
        "[ONNX Layer: conv][ONNX Layer: relu]",
        ("fp16",),
        ("q", "{r}"),
        ("y",),
        ("Channel major FP16 format where channel % 8 == 0", ""),
    )
