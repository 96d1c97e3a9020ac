"""The layers of an engine, and the texts that tell of them: inspector JSON in both dialects, and the build log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.graph import Graph
from pytest_trt.emulator.layer_types import layer_type
from pytest_trt.emulator.lowering import Step

Row = dict[str, Any]

_OLD_WORDS = {
    "fp32": "Row major linear FP32",
    "fp16": "Row major linear FP16 format",
    "bf16": "Row major linear BF16 format",
    "int8": "Row major Int8 format",
    "int32": "Row major INT32 format",
    "int64": "Row major INT64 format",
    "bool": "Row major BOOL format",
    "uint8": "Row major UINT8 format",
}
_NEW_WORDS = {
    "fp32": "Float",
    "fp16": "Half",
    "bf16": "BFloat16",
    "int8": "Int8",
    "int32": "Int32",
    "int64": "Int64",
    "bool": "Bool",
    "uint8": "UInt8",
}


_NEW_FORMAT = "Row major linear format"


def rows_of(steps: list[Step], graph: Graph, elems: Mapping[str, int], kinds: Mapping[str, Any]) -> list[Row]:
    """Return one row a layer: name, kind, working type, and (name, type, dimensions) of inputs and outputs.

    A quantized convolution or matrix product is shown with the QuantizeLinear behind it: its output is int8 then. The
    QuantizeLinear and DequantizeLinear nodes that such layers take in are not layers of their own.
    """
    taken = set()
    quantized: dict[str, str] = {}
    followers: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.node.input:
            followers.setdefault(name, []).append(step)
    for step in steps:
        if step.product is None:
            continue
        end = step
        for _ in range(3):
            after = followers.get(end.node.output[0], [])
            if len(after) != 1 or end.node.output[0] in graph.outputs:
                break
            end = after[0]
            if end.node.op_type == "QuantizeLinear":
                taken.add(end.node.name)
                quantized[step.node.name] = end.node.output[0]
                break
            if end.node.op_type not in ("Relu", "Clip"):
                break
    rows = []
    for step in steps:
        node = step.node
        if node.name in taken or node.op_type == "Constant" or node.op_type == "Shape":
            continue
        outputs = [name for name in node.output if name]
        if node.name in quantized:
            outputs = [quantized[node.name]]
        rows.append(
            {
                "name": node.name,
                "op": node.op_type,
                "kind": kind_of(step, kinds),
                "working": step.working,
                "inputs": [_tensor(name, step, graph, elems) for name in _activations(step, graph)],
                "outputs": [_tensor(name, step, graph, elems) for name in outputs],
            }
        )
    return rows


def kind_of(step: Step, kinds: Mapping[str, Any]) -> str:
    """Return the kind of a layer as the inspector words it; rounding of a graph input is a `Reformat`."""
    if step.node.name.endswith(" reformat") and step.node.input[0] in step.exact.values():
        return "Reformat"
    return layer_type(step.node.op_type, kinds, step.node.domain).title().replace("_", "")


def _activations(step: Step, graph: Graph) -> list[str]:
    constants = {tensor.name for tensor in graph.model.graph.initializer}
    if step.product is not None:
        names = [step.product.x] + ([step.product.w] if step.product.weights is None else [])
    else:
        names = [name for name in step.node.input if name]
    return [name for name in names if name not in constants]


def _tensor(name: str, step: Step, graph: Graph, elems: Mapping[str, int]) -> list[Any]:
    elem = elems.get(name, 0)
    source = step.sources.get(name, name)
    elem = elems.get(source, elem)
    if step.working in ("fp16", "bf16") and elem == dtypes.FLOAT and step.node.op_type != "Cast":
        elem = dtypes.elem_of_short(step.working)
    elif step.working == "fp32" and dtypes.short_of(elem) in ("fp16", "bf16") and step.node.op_type != "Cast":
        elem = dtypes.FLOAT  # a build that did not keep to the graph's type converts what it reads
    return [name, dtypes.short_of(elem), list(graph.tensor(name).shape)]


def word_of(kind: str) -> str:
    """Return how the new dialect words a type: `Float` for `fp32`."""
    return _NEW_WORDS.get(kind, kind)


def _format_word(kind: str, is_new: bool) -> str:
    return _NEW_FORMAT if is_new else _OLD_WORDS.get(kind, kind)


def _described(tensor: list[Any], is_new: bool) -> dict[str, Any]:
    name, kind, dims = tensor
    base: dict[str, Any] = {"Name": name, "Location": "Device", "Dimensions": dims}
    if is_new:
        return {**base, "Format": _format_word(kind, is_new), "Datatype": word_of(kind)}
    return {**base, "Format/Datatype": _format_word(kind, is_new)}


def tactic_name(row: Row) -> str:
    """Return the tactic that the emulator says ran: always a direct sum, in the working type."""
    return f"emulated_{row.get('tactic', 'direct')}_{row['working']}"


def layer_value(row: Row, detailed: bool, is_new: bool) -> Any:
    """Return what the inspector says of a layer: its name, or an object with everything."""
    if not detailed:
        return row["name"]
    return {
        "Name": row["name"],
        "LayerType": row["kind"],
        "Inputs": [_described(tensor, is_new) for tensor in row["inputs"]],
        "Outputs": [_described(tensor, is_new) for tensor in row["outputs"]],
        "ParameterType": row["kind"],
        "TacticName": tactic_name(row),
        "TacticValue": "0x0000000000000000",
        "StreamId": 0,
        "Metadata": f"[ONNX Layer: {row['name']}]",
    }


def engine_json(rows: list[Row], io: list[dict[str, Any]], detailed: bool, is_new: bool) -> str:
    """Return the inspector's JSON of an engine; from 11.0 `I/O Tensors` are objects, before `Bindings` are names."""
    value: dict[str, Any] = {"Layers": [layer_value(row, detailed, is_new) for row in rows]}
    if is_new:
        value["I/O Tensors"] = io
    else:
        value["Bindings"] = [tensor["Name"] for tensor in io]
    return json.dumps(value, indent=2)


def engine_lines(rows: list[Row], is_new: bool) -> str:
    """Return the layer list as the build log shows it at DETAILED; memory formats in the words of the inspector's dialect."""
    lines = []
    for row in rows:
        sides = []
        for side in ("inputs", "outputs"):
            tensors = ", ".join(
                f"{{ Name: {name}, Dimensions: {json.dumps(dims, separators=(',', ':'))},"
                f" Datatype: {word_of(kind)}, Format: (Linear) {_format_word(kind, is_new)} }}"
                for name, kind, dims in row[side]
            )
            sides.append(f"[ {tensors}]" if tensors else "[]")
        lines.append(
            f"Name: {row['name']}, LayerType: {row['kind']}, Inputs: {sides[0]}, Constants: [], Outputs: {sides[1]},"
            f" TacticName: {tactic_name(row)}, StreamId: 0, Metadata: [ONNX Layer: {row['name']}]"
        )
    return "Layers:\n" + "\n".join(lines)
