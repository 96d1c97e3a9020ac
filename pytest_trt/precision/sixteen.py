"""Rewrite a float32 graph to fp16 or bf16, with float32 kept at its inputs and outputs.

`onnxruntime.transformers.float16` does half of this. It knows no bf16, leaves the graph unsorted, keeps Min,
Max and TopK in float32 although ONNX and TensorRT have them in 16 bits, and lifts weights below 2^-24 to it.
Here ONNX's own operator schemas decide, so one rewrite serves both types; a test holds it against that one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.precision import graph as graphs
from pytest_trt.precision.int8 import is_normal

_TYPES = {
    "fp16": (TensorProto.FLOAT16, "tensor(float16)"),
    "bf16": (TensorProto.BFLOAT16, "tensor(bfloat16)"),
}
# ONNX operator set 22 is the first with bfloat16 in Conv, ConvTranspose and the pools.
BF16_OPSET = 22
# Operators whose output type is an attribute, not the type of an input.
_TYPED_BY_ATTRIBUTE = {"Cast": "to", "EyeLike": "dtype", "RandomNormal": "dtype", "RandomUniform": "dtype"}
# Metadata of the rewritten model, before the name of a folded shift: |mean * scale| of each channel, JSON.
FOLDED = "pytest_trt.folded:"
_LARGEST = {"fp16": 65504.0, "bf16": 3.3895313892515355e38}


def retype(
    model: ModelProto, precision: str, *, keep: Collection[str] = ()
) -> tuple[ModelProto, tuple[str, ...]]:
    """Return a model whose float32 tensors are 16-bit, and the names of nodes that stay in float32.

    Parameters
    ----------
    model : ModelProto
        Topologically sorted, as ONNX demands. Not changed.
    precision : str
        `fp16` or `bf16`.
    keep : collection of str
        Names of nodes that stay in float32 because the caller wants them so.

    Returns
    -------
    model : ModelProto
        It begins with a Cast of each float32 input and ends with a Cast of each float32 output; weights are
        rounded to nearest even, finite ones beyond the type's range become its largest value.
    kept : tuple of str
        Nodes whose operator ONNX does not define for the type (and If, Loop, Scan): Casts stand around them. Those of
        `keep` are not among them.

    Raises
    ------
    PrecisionError
        bf16, and the model cannot be lifted to operator set 22.

    Notes
    -----
    QuantizeLinear stays in the type of its input, so that a float32 graph input is quantised as it is; DequantizeLinear
    gives the type of its readers, and its scale has that type too: in ONNX and TensorRT the type of the scale is that of
    the output. Scales that the type has only as subnormal numbers, and those of INT32 biases, stay in float32.
    """
    if precision == "bf16":
        model = graphs.at_least(model, BF16_OPSET, "bf16")
    result = graphs.infer(model)
    graphs.settle(result)
    fold_batch_norms(result)
    rewriter = _Rewriter(result, precision, frozenset(keep))
    kept = tuple(name for name in rewriter.rewrite() if name not in rewriter.keep)
    return graphs.verify(result), kept


def round_weights(array: np.ndarray, precision: str) -> np.ndarray:
    """Return float32 values rounded to fp16 (as float16) or bf16 (as uint16 bit patterns), nearest even.

    Finite values beyond the range become the largest finite value, as in ONNX Runtime's converter.
    """
    limit = _LARGEST[precision]
    held = np.where(np.isfinite(array), np.clip(array, -limit, limit), array).astype(np.float32)
    if precision == "fp16":
        return np.asarray(held.astype(np.float16))
    bits = held.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    patterns: np.ndarray = np.where(np.isnan(held), np.uint32(0x7FC0), rounded).astype(np.uint16)
    return patterns


def low_tensor(tensor: TensorProto, precision: str, name: str) -> TensorProto:
    """Return a float32 tensor rounded to a 16-bit type, under a name of its own."""
    array = numpy_helper.to_array(tensor)
    raw = round_weights(np.asarray(array, dtype=np.float32), precision)
    little = raw.astype(raw.dtype.newbyteorder("<")).tobytes()
    return helper.make_tensor(name, _TYPES[precision][0], array.shape, little, raw=True)


class _Rewriter:
    """One pass over a sorted graph; a float32 tensor gets its 16-bit or 32-bit twin when first read."""

    def __init__(self, model: ModelProto, precision: str, keep: frozenset[str]) -> None:
        self.graph = model.graph
        self.keep = keep
        self.readers = graphs.consumers(model.graph)
        self.makers = {name: node for node in model.graph.node for name in node.output if name}
        self.opset = graphs.opset(model)
        self.precision = precision
        self.kind, self.kind_text = _TYPES[precision]
        self.types = graphs.element_types(model)
        self.names = graphs.Names(model.graph)
        self.weights = {
            tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT
        }
        self.outputs = {value.name for value in model.graph.output}
        self.low: dict[str, str] = {}
        self.high: dict[str, str] = {}
        self.wide: set[str] = set()  # tensors that are made in float32
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []

    def rewrite(self) -> tuple[str, ...]:
        for value in self.graph.input:
            if self._is_float(value.name):
                self.high[value.name] = value.name
                self.wide.add(value.name)
        kept = [node.name for node in self.graph.node if not self._convert(node)]
        for value in self.graph.output:
            if value.name in self.weights:
                self.tensors.append(self.weights[value.name])  # its readers have twins of other names
            elif self._is_float(value.name) and value.name not in self.high:
                self.nodes.append(self._cast(self.low[value.name], value.name, TensorProto.FLOAT))
        others = (tensor for tensor in self.graph.initializer if tensor.name not in self.weights)
        graphs.replace(self.graph, self.nodes, [*others, *self.tensors])
        return tuple(kept)

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT

    def _convert(self, node: NodeProto) -> bool:
        """Append the node in its new types; tell whether it runs in 16 bits (or has no float tensor)."""
        plan = self._plan(node)
        if plan is not None and self._is_wide_quantization(node):
            plan = [False] * len(node.input), [False] * len(node.output)
        fresh = NodeProto()
        fresh.CopyFrom(node)
        reads, writes = plan if plan is not None else ([False] * len(node.input), [False] * len(node.output))
        for index, name in enumerate(node.input):
            if name and self._is_float(name):
                fresh.input[index] = self._read(name, low=reads[index])
        for index, name in enumerate(node.output):
            if name and self._is_float(name):
                fresh.output[index] = self._write(name, low=writes[index])
        if plan is None:
            self._rename_captured(fresh)
        elif any(writes):
            self._convert_attributes(fresh)
        self.nodes.append(fresh)
        touches = any(self._is_float(name) for name in (*node.input, *node.output))
        return plan is not None or not touches

    def _plan(self, node: NodeProto) -> tuple[list[bool], list[bool]] | None:
        """Which inputs and outputs become 16-bit; None when the node has to stay in float32."""
        if node.domain not in ("", "ai.onnx") or graphs.subgraphs(node) or node.name in self.keep:
            return None
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        except onnx.defs.SchemaError:
            return None
        allowed = {rule.type_param_str: set(rule.allowed_type_strs) for rule in schema.type_constraints}
        sides: list[list[bool]] = []
        for names, formal in ((node.input, schema.inputs), (node.output, schema.outputs)):
            side: list[bool] = []
            for index, name in enumerate(names):
                if not name or not self._is_float(name):
                    side.append(False)
                    continue
                text = formal[min(index, len(formal) - 1)].type_str
                if text in allowed and self.kind_text not in allowed[text]:
                    return None
                side.append(text in allowed)
            sides.append(side)
        return sides[0], sides[1]

    def _is_wide_quantization(self, node: NodeProto) -> bool:
        """Tell whether a QuantizeLinear or DequantizeLinear stays in float32 although ONNX has it in 16 bits."""
        if node.op_type == "QuantizeLinear":
            return node.input[0] in self.wide
        if node.op_type != "DequantizeLinear":
            return False
        if self._has_wide_scale(node) or self._meets_wide_scale(node):
            return True
        if self.types.get(node.input[0]) == TensorProto.INT32:
            return True
        readers = self.readers.get(node.output[0], [])
        return not any(self._reads_low(reader, node.output[0]) for reader in readers)

    def _has_wide_scale(self, node: NodeProto) -> bool:
        scale = self.weights.get(node.input[1])
        return scale is not None and not is_normal(numpy_helper.to_array(scale), self.precision)

    def _meets_wide_scale(self, node: NodeProto) -> bool:
        """Tell whether a matrix product reads this operand beside one whose scale stays in float32.

        TensorRT-RTX 1.7.1 refuses two types there: "type mismatch between matmul operand scales".
        """
        return any(
            other.op_type == "DequantizeLinear" and self._has_wide_scale(other)
            for reader in self.readers.get(node.output[0], [])
            if reader.op_type in ("Gemm", "MatMul")
            for name in reader.input[:2]
            if (other := self.makers.get(name)) is not None
        )

    def _reads_low(self, reader: NodeProto, name: str) -> bool:
        plan = self._plan(reader)
        return plan is not None and any(
            low for source, low in zip(reader.input, plan[0], strict=True) if source == name
        )

    def _read(self, name: str, *, low: bool) -> str:
        mine, other = (self.low, self.high) if low else (self.high, self.low)
        if name in mine:
            return mine[name]
        if name in self.weights:
            return self._weight(name, low=low)
        kind = self.kind if low else TensorProto.FLOAT
        made = self.names.fresh(f"{name}_{self.precision if low else 'fp32'}")
        self.nodes.append(self._cast(other[name], made, kind))
        mine[name] = made
        return made

    def _weight(self, name: str, *, low: bool) -> str:
        if low:
            made = self.names.fresh(f"{name}_{self.precision}") if name in self.outputs else name
            self.low[name] = made
            self.tensors.append(low_tensor(self.weights[name], self.precision, made))
            return made
        wide = TensorProto()
        wide.CopyFrom(self.weights[name])
        wide.name = self.high[name] = self.names.fresh(f"{name}_fp32")
        self.tensors.append(wide)
        return wide.name

    def _write(self, name: str, *, low: bool) -> str:
        if name in self.outputs:
            made = self.names.fresh(f"{name}_{self.precision}") if low else name
        else:
            made = name if low else self.names.fresh(f"{name}_fp32")
        (self.low if low else self.high)[name] = made
        if not low:
            self.wide.add(name)
        return made

    def _cast(self, source: str, target: str, kind: int) -> NodeProto:
        return helper.make_node("Cast", [source], [target], name=self.names.fresh(f"cast_{target}"), to=kind)

    def _rename_captured(self, node: NodeProto) -> None:
        renamed = {
            name: self._read(name, low=False)
            for name in sorted(graphs.captured(node))
            if self._is_float(name)
        }
        for inner in graphs.subgraphs(node):
            _rename(inner, renamed)

    def _convert_attributes(self, node: NodeProto) -> None:
        by_attribute = _TYPED_BY_ATTRIBUTE.get(node.op_type)
        found = False
        for entry in node.attribute:
            if entry.name == by_attribute:
                entry.i, found = self.kind, True
            elif entry.type == AttributeProto.TENSOR and entry.t.data_type == TensorProto.FLOAT:
                entry.t.CopyFrom(low_tensor(entry.t, self.precision, entry.t.name))
        if by_attribute and not found:
            node.attribute.append(helper.make_attribute(by_attribute, self.kind))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = TensorProto(data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\0\0\0\0")
            node.attribute.append(helper.make_attribute("value", low_tensor(zero, self.precision, "value")))


def fold_batch_norms(model: ModelProto) -> None:
    """Write each BatchNormalization with constant parameters as scale and shift alone, computed in float64.

    A variance of a trained net may well exceed what fp16 holds (9.8e7 was seen), and TensorRT folds the four
    parameters before it rounds them. What stays is the same operator with mean 0, variance 1 and epsilon 0. The metadata of the
    model keep |mean * scale| of each channel: a weakly typed engine, which reads the original, may add that term by itself.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = graphs.Names(graph)
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            continue
        if graphs.attribute(node, "training_mode", 0) or len(node.output) > 1:
            continue
        given = {name: numpy_helper.to_array(weights[name]) for name in node.input[1:5] if name in weights}
        known = graphs.fold_normalisation(node, given)
        if known is None:
            continue
        folded, shift, mean = known
        reach, shift_name = np.abs(mean * folded), names.fresh(f"{node.name}_shift")
        helper.set_model_props(
            model,
            {entry.key: entry.value for entry in model.metadata_props}
            | {f"{FOLDED}{shift_name}": json.dumps([float(value) for value in reach])},
        )
        values = (folded, shift - mean * folded, np.zeros_like(mean), np.ones_like(mean))
        for index, (part, value) in enumerate(zip(("scale", "shift", "zero", "one"), values, strict=True), 1):
            name = shift_name if part == "shift" else names.fresh(f"{node.name}_{part}")
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
            node.input[index] = name
        rest = [entry for entry in node.attribute if entry.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend([*rest, helper.make_attribute("epsilon", 0.0)])


def _rename(graph: GraphProto, renamed: dict[str, str]) -> None:
    hidden = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    visible = {old: new for old, new in renamed.items() if old not in hidden}
    for node in graph.node:
        _substitute(node.input, visible)
        for inner in graphs.subgraphs(node):
            _rename(inner, visible)


def _substitute(names: Iterable[str], renamed: dict[str, str]) -> None:
    listed = list(names)
    del names[:]  # type: ignore[attr-defined]
    names.extend(renamed.get(name, name) for name in listed)  # type: ignore[attr-defined]
