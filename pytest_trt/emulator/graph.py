"""What the parser hands to the network: an ONNX graph with named nodes and the type and shape of every tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
from onnx import NodeProto, ValueInfoProto, shape_inference

Dim = int | str | None
UNKNOWN = -1

# Domain of a node that stands for a plugin, in the model that the emulator keeps, to the kind of its layer.
PLUGIN_DOMAINS = {"emulated.plugin.v2": "PLUGIN_V2", "emulated.plugin.v3": "PLUGIN_V3"}


@dataclass(frozen=True)
class TensorInfo:
    """Element type (ONNX number, 0 if unknown) and dimensions of a tensor.

    `dims` holds an integer, the name of a symbol, or None for an unknown size; it is None for an unknown rank.
    """

    elem: int
    dims: tuple[Dim, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions with -1 for every one that is not a number; empty for an unknown rank."""
        return tuple(d if isinstance(d, int) else UNKNOWN for d in self.dims or ())

    @property
    def is_dynamic(self) -> bool:
        """True if a dimension is not a number."""
        return self.dims is None or UNKNOWN in self.shape


def _info(value: ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return TensorInfo(tensor.elem_type, None)
    dims: list[Dim] = []
    for dim in tensor.shape.dim:
        kind = dim.WhichOneof("value")
        dims.append(dim.dim_value if kind == "dim_value" else (dim.dim_param or None) if kind else None)
    return TensorInfo(tensor.elem_type, tuple(d if not isinstance(d, int) or d >= 0 else None for d in dims))


def is_plugin(node: NodeProto) -> bool:
    """Return whether a node stands for a plugin; what it gives is declared in the model's `value_info`."""
    return node.domain in PLUGIN_DOMAINS


def is_older_plugin(node: NodeProto) -> bool:
    """Return whether a node stands for a V2 plugin."""
    return PLUGIN_DOMAINS.get(node.domain) == "PLUGIN_V2"


@dataclass
class Graph:
    """A parsed model.

    Attributes
    ----------
    model : ModelProto
        Every node has a name; local functions are inlined.
    inputs, outputs : list of str
        Graph inputs without initializers, and outputs, in order; more outputs may be marked later.
    info : mapping of str to TensorInfo
        What is known of each tensor.
    own_outputs : frozenset of str
        The outputs that the model itself has.
    """

    model: onnx.ModelProto
    inputs: list[str]
    outputs: list[str]
    info: dict[str, TensorInfo]
    own_outputs: frozenset[str] = frozenset()
    producers: dict[str, NodeProto] = field(default_factory=dict)

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes in order."""
        return list(self.model.graph.node)

    def tensor(self, name: str) -> TensorInfo:
        """Return what is known of a tensor."""
        return self.info.get(name, TensorInfo(0, None))


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each nameless node the name that TensorRT's parser gives it, and make names unique."""
    seen: dict[str, int] = {}
    for node in model.graph.node:
        name = node.name or f"node_of_{node.output[0] if node.output else node.op_type}"
        count = seen.get(name, 0)
        seen[name] = count + 1
        node.name = f"{name}_{count}" if count else name


def infer(
    model: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, TensorInfo]:
    """Return type and shape of each tensor, from shape inference.

    Parameters
    ----------
    model : ModelProto
        Declared shapes of outputs are not believed.
    inputs : mapping of str to tuple of int, optional
        Shapes to assume for graph inputs.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    plugged = {name for node in copy.graph.node if is_plugin(node) for name in node.output}
    declared = {value.name: value.type for value in copy.graph.value_info if value.name in plugged}
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
        if output.name in declared:
            output.type.CopyFrom(declared[output.name])
    for value in copy.graph.input:
        if inputs and value.name in inputs:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in inputs[value.name]:
                shape.dim.add().dim_value = size
    inferred = shape_inference.infer_shapes(copy, data_prop=True)
    found = {
        tensor.name: TensorInfo(tensor.data_type, tuple(tensor.dims)) for tensor in inferred.graph.initializer
    }
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        found[value.name] = _info(value)
    return found


def load(model: onnx.ModelProto) -> Graph:
    """Return the graph of a valid model; the model is taken over and changed."""
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    name_nodes(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    info = infer(model)
    outputs = [value.name for value in model.graph.output]
    for value in model.graph.output:
        if info[value.name].dims is None:
            known = _info(value)
            rank = known.dims and tuple(d if isinstance(d, int) else None for d in known.dims)
            info[value.name] = TensorInfo(info[value.name].elem or known.elem, rank)
    return Graph(
        model=model,
        inputs=[value.name for value in model.graph.input if value.name not in constants],
        outputs=outputs,
        info=info,
        own_outputs=frozenset(outputs),
        producers={name: node for node in model.graph.node for name in node.output if name},
    )
