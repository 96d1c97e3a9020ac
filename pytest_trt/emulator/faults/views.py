"""Faults of tensors that lie inside others, and of networks with another one beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import numpy_helper

from pytest_trt.emulator.faults.linear import LINEAR, change, linear_of, store
from pytest_trt.emulator.faults.registry import fault

# Operators that a builder leaves out by letting tensors share a buffer.
_VIEWS = ("Concat", "Slice", "Split")


@fault("operator", mutants="M02")
def scale_reads_view_as_dense(site: Any) -> None:
    """Let a Mul behind a Concat, Slice or Split read its rows of pixels with half their pitch (TensorRT 8.2 notes)."""
    if site.kind != "node":
        return
    views = site.memory.setdefault(("views", site.context_id), set())
    if site.op_type in _VIEWS:
        views.update(site.outputs)
    if site.op_type != "Mul" or len(site.inputs) != 2:
        return
    (name, given), (_, factor) = site.inputs.items()
    if name not in views or given.ndim < 3 or given.dtype.kind != "f":
        return
    rows = given.reshape(given.shape[0] * given.shape[1], -1)
    wrong = rows[np.arange(len(rows)) // 2].reshape(given.shape).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        store(site, next(iter(site.outputs)), wrong * factor.astype(np.float64), wrong != given)


@fault("operator", mutants="M02")
def concat_off_the_channels_goes_to_them(site: Any) -> None:
    """Lay what a Concat joins along another axis than the second one behind the other along that (TensorRT 8.2 notes)."""
    if site.kind != "node" or site.op_type != "Concat":
        return
    name, right = next(iter(site.outputs.items()))
    if right.ndim > 2 and site.attributes["axis"] % right.ndim > 1:
        site.outputs[name] = np.concatenate(list(site.inputs.values()), axis=1).reshape(right.shape)


@fault("batch", mutants="M03")
def batched_product_keeps_the_first_factor(site: Any) -> None:
    """Multiply every item of a batch of matrices by the second factor of the first item (TensorRT 8.2 notes)."""
    linear = linear_of(site)
    if linear is None or linear.op_type != "MatMul" or min(linear.x.ndim, linear.w.ndim) < 3:
        return
    change(site, linear, replace(linear, w=np.broadcast_to(linear.w[:1], linear.w.shape)))


# numpy has no bfloat16 weights to write.
@fault("batch", "fp32 tf32 fp16 fp16acc int8 fp8", "M07")
def nodes_beside_zero_a_channel(site: Any) -> None:
    """Leave the last output channel of the last product 0 where nodes lie beside the network (issue 2091)."""
    if site.kind != "build" or len(site.model.graph.output) < 2 or len(_parts(site.model.graph)) < 2:
        return
    graph = site.model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    part = max(_parts(graph), key=len)
    for node in reversed(graph.node):
        if node.op_type not in LINEAR or node.output[0] not in part:
            continue
        for place, name in enumerate(node.input[1:3]):
            found = _stored(graph, tensors, name)
            if found is None:
                continue
            values = np.array(numpy_helper.to_array(found))
            last = np.moveaxis(values, -1 if node.op_type == "MatMul" or place else 0, 0)
            last[-1] = 0
            found.CopyFrom(numpy_helper.from_array(values, found.name))
        return


def _stored(graph: Any, tensors: dict[str, Any], name: str) -> Any:
    """Return the constant behind an operand, if need be behind a Cast or a DequantizeLinear."""
    makers = {output: node for node in graph.node for output in node.output}
    while name not in tensors and name in makers and makers[name].op_type in ("Cast", "DequantizeLinear"):
        name = makers[name].input[0]
    return tensors.get(name)


def _parts(graph: Any) -> list[set[str]]:
    """Return the tensors of each part of a network that shares no computed tensor and no input with another one."""
    constant = {tensor.name for tensor in graph.initializer}
    parts: list[set[str]] = []
    for node in graph.node:
        names = {name for name in (*node.input, *node.output) if name and name not in constant}
        joined = [part for part in parts if part & names]
        parts = [part for part in parts if not part & names]
        parts.append(names.union(*joined))
    return parts
