"""Small questions about an ONNX graph that every rewrite asks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from pytest_trt.errors import ModelError, PrecisionError

# Since IR version 4 an initializer need not be an input.
_FREE_INITIALIZERS = 4


class Names:
    """Hands out names that no tensor or node of a graph has."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = {node.name for node in graph.node}
        for node in graph.node:
            self._taken.update(node.output)
        for values in (graph.input, graph.output, graph.initializer):
            self._taken.update(value.name for value in values)

    def fresh(self, wish: str) -> str:
        """Return `wish`, with a number behind it if it is taken, and take it."""
        name, number = wish, 1
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name


def opset(model: ModelProto) -> int:
    """Return the version of ONNX's own operator set that a model imports."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def at_least(model: ModelProto, version: int, why: str) -> ModelProto:
    """Return a model at operator set `version` or newer, converted only when it is older.

    Raises
    ------
    PrecisionError
        ONNX cannot convert the model; `why` says what needs the newer set.
    """
    if opset(model) >= version:
        return model
    if version > onnx.defs.onnx_opset_version():
        raise PrecisionError(
            f"{why} needs ONNX operator set {version}",
            why=f"onnx {onnx.__version__} knows sets up to {onnx.defs.onnx_opset_version()}",
            mend="pip install --upgrade onnx",
        )
    try:
        return onnx.version_converter.convert_version(model, version)
    except Exception as error:  # the converter raises bare RuntimeErrors of its C++ half
        raise PrecisionError(
            f"{why} needs ONNX operator set {version}, and the model is at {opset(model)}",
            why=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            mend=f"export the model at operator set {version} or newer",
        ) from error


def infer(model: ModelProto) -> ModelProto:
    """Return a copy of a model with the types and shapes that ONNX can infer.

    Raises
    ------
    ModelError
        Inference says that the graph contradicts itself.
    """
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception as error:  # InferenceError and ValidationError differ between onnx versions
        raise ModelError("the ONNX graph contradicts itself", why=str(error).strip()[:2000]) from error


def verify(model: ModelProto) -> ModelProto:
    """Return a rewritten model, checked and with inferred types.

    Raises
    ------
    ModelError
        The checker refuses it.
    """
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError("the ONNX graph is not valid", why=str(error).strip()[:2000]) from error
    return infer(model)


def no_such(what: str, name: str, names: Iterable[str]) -> ModelError:
    """Return the error that a graph has no tensor or layer of a name, with those of the nearest names."""
    known = sorted({known for known in names if known})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return ModelError(
        f"the model has no {what} {name!r}",
        why=f"it has {', '.join(known[:20])}" + (f" and {len(known) - 20} more" if len(known) > 20 else ""),
        mend=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
    )


def element_types(model: ModelProto) -> dict[str, int]:
    """Return tensor name to ONNX element type, as far as an inferred model says it."""
    graph = model.graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for values in (graph.value_info, graph.input, graph.output):
        types.update((value.name, value.type.tensor_type.elem_type) for value in values)
    return types


def consumers(graph: GraphProto) -> dict[str, list[NodeProto]]:
    """Return tensor name to the nodes that read it, subgraphs counted with their owner."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in {*node.input, *captured(node)} - {""}:
            readers.setdefault(name, []).append(node)
    return readers


def is_quantized(model: ModelProto) -> bool:
    """Tell whether a model has Q/DQ of its own in its main graph."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Return the graphs that a node carries as attributes (If, Loop, Scan)."""
    found: list[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            found.extend(attribute.graphs)
    return found


def captured(node: NodeProto) -> set[str]:
    """Return the outer tensors that a node's subgraphs read."""
    names: set[str] = set()
    for graph in subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            names |= ({*inner.input, *captured(inner)} - own) - {""}
            own.update(inner.output)
        names |= {value.name for value in graph.output} - own
    return names


def attribute(node: NodeProto, name: str, default: int) -> int:
    """Return an integer attribute of a node, or its default."""
    for entry in node.attribute:
        if entry.name == name:
            return int(entry.i)
    return default


def replace(graph: GraphProto, nodes: Iterable[NodeProto], initializers: Iterable[TensorProto]) -> None:
    """Put nodes and initializers in place of a graph's own, and forget types that may no longer hold."""
    nodes, initializers = list(nodes), list(initializers)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.value_info[:]


def settle(model: ModelProto) -> None:
    """Make every float constant of a model's main graph a plain initializer, and name every node.

    Initializers that old models also list as inputs become constants, as they are for TensorRT.
    """
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    if any(value.name in fixed for value in graph.input):
        kept = [value for value in graph.input if value.name not in fixed]
        del graph.input[:]
        graph.input.extend(kept)
        model.ir_version = max(model.ir_version, _FREE_INITIALIZERS)
    outputs = {value.name for value in graph.output}
    nodes: list[NodeProto] = []
    for node in graph.node:
        value = float_constant(node)
        if value is None or node.output[0] in outputs:
            nodes.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)
    _name_nodes(graph)


def computed_constants(graph: GraphProto) -> set[str]:
    """Return the tensors that no input can change: initializers, and what nodes make of them alone."""
    fixed = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if not subgraphs(node) and all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    return fixed


def array_of(tensor: TensorProto) -> np.ndarray:
    """Return the values of a tensor; those of bf16 as float32, which holds them exactly.

    onnx itself returns them in three ways: as float32 up to 1.16, as integers that are their bit patterns in 1.17
    and 1.18, as ml_dtypes.bfloat16 since 1.19.
    """
    if tensor.data_type != TensorProto.BFLOAT16:
        return np.asarray(numpy_helper.to_array(tensor))
    bits = (
        np.frombuffer(tensor.raw_data, "<u2") if tensor.raw_data else np.array(tensor.int32_data, np.uint16)
    )
    values: np.ndarray = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.reshape(tuple(tensor.dims))


def float_constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """Return the float32 initializers of a graph by name."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
    }


def fold_normalisation(
    node: NodeProto, constants: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return what a BatchNormalization with constant parameters does, y = x factor + (shift - mean factor), in float64.

    Returns
    -------
    (factor, shift, mean) : 1-d float64 arrays; None where a parameter is no constant.
    """
    if not all(name in constants for name in node.input[1:5]):
        return None
    gain, shift, mean, variance = (constants[name].astype(np.float64) for name in node.input[1:5])
    epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
    return gain / np.sqrt(variance + epsilon), shift, mean


def float_constant(node: NodeProto) -> np.ndarray | None:
    """Return the float32 value of a Constant node, None for any other node."""
    if node.op_type != "Constant" or not node.attribute:
        return None
    value = node.attribute[0]
    if value.name == "value" and value.t.data_type == TensorProto.FLOAT:
        return np.asarray(numpy_helper.to_array(value.t))
    if value.name == "value_float":
        return np.asarray(value.f, dtype=np.float32)
    if value.name == "value_floats":
        return np.asarray(value.floats, dtype=np.float32)
    return None


def _name_nodes(graph: GraphProto) -> None:
    names = Names(graph)
    for position, node in enumerate(graph.node):
        if not node.name:
            node.name = names.fresh(f"{node.op_type}_{position}")
