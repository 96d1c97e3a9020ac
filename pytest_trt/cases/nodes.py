"""The node cases of the installed `onnx` package: one operator each, with inputs and expected outputs.

Source: `onnx.backend.test.case.node`, the ONNX operator specification as examples. They are made by code, with a fixed seed for
each; how many there are depends on the version of `onnx`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import SettingsError

# ONNX element type to the member of TensorRT's `DataType`; the parser reads double as float (onnx-tensorrt, docs/operators.md).
MEMBERS: Mapping[int, str] = {
    getattr(TensorProto, name): member
    for name, member in {
        "FLOAT": "FLOAT",
        "DOUBLE": "FLOAT",
        "FLOAT16": "HALF",
        "BFLOAT16": "BF16",
        "INT8": "INT8",
        "UINT8": "UINT8",
        "INT32": "INT32",
        "INT64": "INT64",
        "BOOL": "BOOL",
        "FLOAT8E4M3FN": "FP8",
        "INT4": "INT4",
        "FLOAT4E2M1": "FP4",
        "FLOAT8E8M0": "E8M0",
    }.items()
    if hasattr(TensorProto, name)
}
PLAIN = frozenset(np.dtype(name) for name in "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 ?".split())
RANDOM = frozenset(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split()
)
_EXPANDED = re.compile(r"_expanded(_ver\d+)?$")
# Every operand of these is a size.
_SIZED = frozenset({"ConstantOfShape", "Range"})
_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class NodeCase:
    """One case.

    Attributes
    ----------
    name : str
        As `onnx` names it, `test_add_bcast`.
    operator : str
        The operator that it is about, with its domain where that is not ONNX's own; of an expanded case the one that was
        expanded into others.
    data : bytes
        The model.
    inputs, outputs : mapping of str to ndarray
        By tensor name; sequences and absent optionals are as `onnx` gives them.
    rtol, atol : float
        What `onnx`'s own runner allows.
    """

    name: str
    operator: str
    data: bytes
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    rtol: float = 1e-3
    atol: float = 1e-7

    @cached_property
    def model(self) -> onnx.ModelProto:
        """The model, read."""
        return onnx.load_model_from_string(self.data)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Inputs that a network nearly always holds as constants: axes, sizes, scales, per-channel numbers.

        They are those behind the first that have at most one dimension, and scales and zero points of any shape.
        """
        operator = _plain(self.operator)
        tensors = {value.name for value in self.model.graph.input if value.type.HasField("tensor_type")}
        names = []
        for position, (name, value) in enumerate(self.inputs.items()):
            is_number = isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind not in "OSU"
            if name not in tensors or not is_number or (position == 0 and operator not in _SIZED):
                continue
            if value.ndim <= 1 or operator in _QUANTIZING:
                names.append(name)
        return tuple(names)

    def with_constants(self, names: Iterable[str]) -> NodeCase:
        """Return the case with some inputs as initializers that hold their values."""
        held = frozenset(names)
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        kept = [value for value in model.graph.input if value.name not in held]
        for value in model.graph.input:
            if value.name in held:
                kind = value.type.tensor_type.elem_type
                model.graph.initializer.append(_tensor(value.name, self.inputs[value.name], kind))
        del model.graph.input[:]
        model.graph.input.extend(kept)
        rest = {name: value for name, value in self.inputs.items() if name not in held}
        return NodeCase(
            self.name, self.operator, model.SerializeToString(), rest, self.outputs, self.rtol, self.atol
        )

    def lacks(self, members: Iterable[str]) -> str | None:
        """Return which kind of input or output a TensorRT with these `DataType` members has not, None where it has all."""
        known = frozenset(members)
        for value in (*self.model.graph.input, *self.model.graph.output):
            form = value.type.WhichOneof("value")
            if form != "tensor_type":
                return f"{(form or 'untyped').replace('_type', '').replace('_', ' ')} values"
            kind = value.type.tensor_type.elem_type
            if MEMBERS.get(kind) not in known:
                return f"{TensorProto.DataType.Name(kind).lower()} tensors"
        return None

    def draws(self) -> str | None:
        """Return which operator draws its output at random, None where none does."""
        for node in self.model.graph.node:
            if node.op_type in RANDOM:
                return str(node.op_type)
            if node.op_type == "Dropout" and len(node.input) > 2:
                ratio, training = (self.inputs.get(name) for name in node.input[1:3])
                if training is not None and np.any(training) and (ratio is None or np.any(ratio)):
                    return "Dropout that trains"
        return None


def _tensor(name: str, value: Any, kind: int) -> TensorProto:
    array = np.asarray(value)
    stored = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    # An older numpy does not call a type built in that was pickled; an older onnx keeps bfloat16 in float32.
    if array.dtype == stored and stored in PLAIN and helper.np_dtype_to_tensor_dtype(stored) == kind:
        return numpy_helper.from_array(array, name)
    return helper.make_tensor(name, kind, array.shape, array.astype(np.float32).ravel().tolist())


def _plain(operator: str) -> str:
    return operator.rpartition(".")[2]


def _value(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


@cache
def node_cases() -> tuple[NodeCase, ...]:
    """Return every case of the installed `onnx`, sorted by name; making them takes some seconds.

    Raises
    ------
    SettingsError
        This `onnx` has none.
    """
    with warnings.catch_warnings():  # the examples overflow on purpose
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        raw: dict[str, Any] = {case.name: case for case in collect_testcases(None)}
    if not raw:
        raise SettingsError(f"onnx {onnx.__version__} has no node cases", mend="pip install -U onnx")
    cases = []
    for name in sorted(raw):
        case = raw[name]
        first, operator = case.data_sets[0], raw.get(_EXPANDED.sub("", name), case).model.graph.node[0]
        inputs, outputs = (
            {value.name: _value(data) for value, data in zip(values, given, strict=False)}
            for values, given in zip((case.model.graph.input, case.model.graph.output), first, strict=True)
        )
        title = (
            operator.op_type
            if operator.domain in ("", "ai.onnx")
            else f"{operator.domain}.{operator.op_type}"
        )
        data = case.model.SerializeToString(deterministic=True)
        cases.append(NodeCase(name, title, data, inputs, outputs, case.rtol, case.atol))
    return tuple(cases)


def select(pattern: str | None = None) -> tuple[NodeCase, ...]:
    """Return the cases whose name or operator a regular expression finds.

    Raises
    ------
    SettingsError
        The expression is none, or finds no case.
    """
    if pattern is None:
        return node_cases()
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"bad pattern {pattern!r}", why=str(error)) from None
    found = tuple(
        case for case in node_cases() if wanted.search(case.name) or wanted.fullmatch(case.operator)
    )
    if not found:
        raise SettingsError(
            f"no node case of onnx {onnx.__version__} is named like {pattern!r}",
            mend="for instance Conv, or softmax",
        )
    return found
