"""Attributes of a node as plain values, with the defaults that ONNX gives them filled in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnx import NodeProto, helper

_POOLS = ("MaxPool", "AveragePool", "LpPool")
_DEFAULTS: dict[str, dict[str, Any]] = {
    "Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0},
    "BatchNormalization": {"epsilon": 1e-5},
    "Softmax": {"axis": -1},
    "LeakyRelu": {"alpha": 0.01},
    "Concat": {"axis": 0},
    "Transpose": {},
    "MaxPool": {"ceil_mode": 0},
    "AveragePool": {"ceil_mode": 0, "count_include_pad": 0},
    "QuantizeLinear": {"axis": 1},
    "DequantizeLinear": {"axis": 1},
}


def _same_pads(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], upper: bool
) -> list[int]:
    begins, ends = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return begins + ends


def filled(node: NodeProto, x_shape: Sequence[int], w_shape: Sequence[int] | None) -> dict[str, Any]:
    """Return the attributes of a node, defaults and automatic pads worked out.

    Parameters
    ----------
    node : NodeProto
        Any node; convolutions and pools get `kernel_shape`, `strides`, `pads` (begins, then ends), `dilations` and
        convolutions `group`, transposed ones `output_padding`.
    x_shape : sequence of int
        Shape of the first input.
    w_shape : sequence of int or None
        Shape of the weights, for convolutions.
    """
    values: dict[str, Any] = dict(_DEFAULTS.get(node.op_type, {}))
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif not isinstance(value, (int, float, str)) and hasattr(value, "__iter__"):
            value = list(value)
        values[attribute.name] = value
    convolution = node.op_type in ("Conv", "ConvTranspose")
    if not convolution and node.op_type not in _POOLS:
        return values
    if convolution:
        values.setdefault("group", 1)
        if "kernel_shape" not in values and w_shape is not None:
            values["kernel_shape"] = list(w_shape[2:])
    rank = len(values["kernel_shape"])
    for name in ("strides", "dilations"):
        values.setdefault(name, [1] * rank)
    if node.op_type == "ConvTranspose":
        values.setdefault("output_padding", [0] * rank)
        values["pads"] = _transposed_pads(values, x_shape[2:], rank)
        return values
    mode = values.pop("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        values["pads"] = _same_pads(
            x_shape[2:], values["kernel_shape"], values["strides"], values["dilations"], mode == "SAME_UPPER"
        )
    elif mode == "VALID":
        values["pads"] = [0] * (2 * rank)
    values.setdefault("pads", [0] * (2 * rank))
    return values


def _transposed_pads(values: dict[str, Any], size: Sequence[int], rank: int) -> list[int]:
    mode = values.pop("auto_pad", "NOTSET")
    wanted = values.get("output_shape")
    if wanted is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return [0] * (2 * rank) if mode == "VALID" else list(values.get("pads", [0] * (2 * rank)))
    wanted = list(wanted)[-rank:] if wanted is not None else None
    begins, ends = [], []
    for axis in range(rank):
        stride, dilation = values["strides"][axis], values["dilations"][axis]
        full = stride * (size[axis] - 1) + values["output_padding"][axis]
        full += (values["kernel_shape"][axis] - 1) * dilation + 1
        total = max(0, full - (wanted[axis] if wanted is not None else size[axis] * stride))
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins + ends
