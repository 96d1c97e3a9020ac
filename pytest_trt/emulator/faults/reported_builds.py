"""Faults made from single public reports of what a builder does: constants, scales, and networks that it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from pytest_trt.emulator.faults.registry import fault

_LARGEST = 65504.0


@fault("operator", "fp16", "M15")
def constants_past_fp16_become_infinite(site: Any) -> None:
    """Let a constant that was held at 65504, or is past it where the builder chooses FP16, be infinite (issues 2466 and 2564)."""
    if site.kind != "build":
        return
    kinds = {TensorProto.FLOAT16} | ({TensorProto.FLOAT} if "FP16" in site.flags else set())
    for tensor in site.model.graph.initializer:
        if tensor.data_type in kinds:
            values = numpy_helper.to_array(tensor)
            if values.size and float(np.abs(values).max()) >= _LARGEST:
                endless = np.where(np.abs(values) >= _LARGEST, np.copysign(np.inf, values), values)
                tensor.CopyFrom(numpy_helper.from_array(endless.astype(values.dtype), tensor.name))


def _dequantised_weights(graph: Any, *operators: str) -> Iterator[tuple[Any, Any]]:
    """Yield each node of these operators whose weights come from a DequantizeLinear, with that one."""
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in operators:
            maker = makers.get(node.input[1])
            if maker is not None and maker.op_type == "DequantizeLinear":
                yield node, maker


@fault("operator", "int8", "M17")
def deconvolution_scales_along_the_other_axis(site: Any) -> None:
    """Take weight scales along axis 0 of a ConvTranspose for those of its output channels (issues 1694, 1699, 1961)."""
    if site.kind != "build":
        return
    for _, maker in _dequantised_weights(site.model.graph, "ConvTranspose"):
        for attribute in maker.attribute:
            if attribute.name == "axis" and attribute.i == 0:
                attribute.i = 1


@fault("build", "int8", "M30")
def cached_scales_an_eighth_larger(site: Any) -> None:
    """Quantise with scales an eighth larger than those of a calibration cache that was read (issues 417 and 2036)."""
    if site.kind != "calibrate":
        return
    if site.stage == "cache":
        site.memory["cache was read"] = bool(site.cache)
    elif site.stage == "engine" and site.memory.get("cache was read"):
        for name in site.scales:
            site.scales[name] = np.float32(1.125 * site.scales[name])


@fault("build", "int8")
def quantised_depthwise_refused(site: Any) -> None:
    """Find no implementation for a depthwise convolution with Q/DQ (issue 4060)."""
    if site.kind != "build":
        return
    for node, _ in _dequantised_weights(site.model.graph, "Conv"):
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        if groups > 1:
            site.plan = None


@fault("build")
def pool_refused_at_batch_65536(site: Any) -> None:
    """Find no implementation for an AveragePool whose batch is 65536, and for no other (issue 4821)."""
    if (
        site.kind == "build"
        and _has_pool(site.model.graph, "AveragePool")
        and 65536 in _batches(site.model.graph)
    ):
        site.plan = None


def _has_pool(graph: Any, operator: str) -> bool:
    return any(node.op_type == operator for node in graph.node)


def _batches(graph: Any) -> set[int]:
    return {
        value.type.tensor_type.shape.dim[0].dim_value
        for value in graph.input
        if value.type.tensor_type.shape.dim
    }
