"""Say for each ONNX node in which type an engine computed it, where the layer list names the nodes of each layer."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from pytest_trt.records import LayerInfo

# A rewritten node has a word behind its name: `[ONNX Layer: conv]__gemm_from_conv1x1`.
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=$|[\x1e\x1f\[]|__)")
# Generated kernels (layout moves, Q/DQ, epilogues; on small matrix products also the product itself).
_GENERATED = ("kgen", "noop", "shape_call", "reformat")
UNPROVEN = "?"
# What a precision is called in layer lists: TF32 is FP32 there.
_SHOWN = {"tf32": "fp32"}


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
    so its types prove nothing: seen for convolutions of one channel and one pixel.
    """
    shown = _SHOWN.get(asked, asked)
    layers = tuple(layers)
    found: dict[str, str] = {}
    for node in nodes:
        naming = [layer for layer in layers if node in onnx_nodes(layer)]
        working = [layer for layer in naming if layer.kind.lower() not in _GENERATED]
        if not naming:
            continue
        if working:
            types = [kind for layer in working for kind in layer.inputs]
            found[node] = asked if shown in types else (types[0] if types else UNPROVEN)
        else:
            types = [kind for layer in naming for kind in (*layer.inputs, *layer.constants, *layer.outputs)]
            found[node] = asked if shown in types and shown != "int8" else UNPROVEN
    return found
