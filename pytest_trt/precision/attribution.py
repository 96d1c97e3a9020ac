"""Say for each ONNX node in which type an engine computed it, where the layer list names the nodes of each layer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from onnx import ModelProto

from pytest_trt.precision import graph as graphs
from pytest_trt.precision.kinds import UNKNOWN, is_generated, is_opaque, working_type
from pytest_trt.records import LayerInfo

# A rewritten node has a word behind its name: `[ONNX Layer: conv]__gemm_from_conv1x1`.
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=$|[\x1e\x1f\[]|__)")
UNPROVEN = UNKNOWN
# What a precision is called in layer lists: TF32 is FP32 there, but for the names of kernels.
_SHOWN = {"tf32": ("fp32", "tf32")}
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_TYPES = {1: "fp32", 10: "fp16", 16: "bf16"}  # onnx.TensorProto.DataType


def onnx_nodes(layer: LayerInfo) -> tuple[str, ...]:
    """Return the names of the ONNX nodes that a layer says it computes, in its order; `()` where it does not say."""
    return tuple(_NODE.findall(layer.metadata))


def attribute(layers: Iterable[LayerInfo], nodes: Collection[str], asked: str) -> dict[str, str]:
    """Return ONNX node name to the type that the node was computed in.

    Parameters
    ----------
    layers : iterable of LayerInfo
        Of one engine, DETAILED.
    nodes : collection of str
        Names of the nodes that multiply and accumulate: Conv, ConvTranspose, Gemm, MatMul.
    asked : str
        The precision asked for, one of `records.PRECISIONS`.

    Returns
    -------
    dict of str to str
        Only nodes that some layer names. `asked` where the node was computed in it, else the type that was read;
        `UNPROVEN` where the list does not tell.

    Notes
    -----
    Read off TensorRT-RTX 1.7.1: a convolution is a `correlation`, `deconv` or `gemm` layer, or a `runtime_fusion`; its
    name is also in the metadata of `kgen` layers before and behind it, which pad, quantise or add the bias. A matrix
    product with one row, one column or K = 1 is a `kgen` and nothing else, with the Casts around it fused: it reads
    fp32, and its fp16 constants, where it has any, are the proof. In INT8 such a kernel holds the Q/DQ pairs as well,
    so its types prove nothing: seen for convolutions of one channel and one pixel. What a `Myelin` layer of 8.6 does inside
    is not told.
    """
    shown = _SHOWN.get(asked, (asked,))
    layers = tuple(layers)
    found: dict[str, str] = {}
    for node in nodes:
        naming = [layer for layer in layers if node in onnx_nodes(layer)]
        if not naming:
            continue
        working = [layer for layer in naming if not is_generated(layer)]
        if working:
            types = [UNPROVEN if is_opaque(layer) else working_type(layer) for layer in working]
            found[node] = asked if any(kind in shown for kind in types) else types[0]
        else:
            types = [kind for layer in naming for kind in (*layer.inputs, *layer.constants, *layer.outputs)]
            told = asked != "int8" and any(kind in shown for kind in types)
            found[node] = asked if told else UNPROVEN
    return found


def typed_products(model: ModelProto) -> dict[str, str]:
    """Return ONNX node name to the type that a typed graph asks of it, for nodes that multiply and accumulate.

    A node that reads both operands from DequantizeLinear is asked for in INT8: TensorRT fuses them. Any other is asked for in the
    type of its data; one behind a Cast of a dequantised tensor in neither: it may be fused or not.
    """
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    types = graphs.element_types(model)
    if any(node.input[0] not in types for node in products):
        types = graphs.element_types(graphs.infer(model))
    makers = {name: node for node in model.graph.node for name in node.output}
    wanted = {}
    for node in products:
        sides = [makers.get(name) for name in node.input[:2]]
        behind = [makers.get(m.input[0]) for m in sides if m is not None and m.op_type == "Cast"]
        if any(maker is not None and maker.op_type == "DequantizeLinear" for maker in behind):
            continue
        if all(maker is not None and maker.op_type == "DequantizeLinear" for maker in sides):
            wanted[node.name] = "int8"
        elif types.get(node.input[0]) in _TYPES:
            wanted[node.name] = _TYPES[types[node.input[0]]]
    return wanted
