"""Networks as the parser fills them: tensors, layers, inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from onnx import NodeProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.graph import Graph, TensorInfo, infer
from pytest_trt.emulator.reporting import Reporter

T = TypeVar("T")

# ONNX operator to the kind of layer that the parser makes of it.
_LAYER_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv"), "CONVOLUTION"),
    **dict.fromkeys(("ConvTranspose",), "DECONVOLUTION"),
    **dict.fromkeys(("MaxPool", "AveragePool"), "POOLING"),
    **dict.fromkeys(
        (
            "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 "
            "ReduceSumSquare ReduceLogSum ReduceLogSumExp"
        ).split(),
        "REDUCE",
    ),
    **dict.fromkeys(
        "Relu Sigmoid Tanh LeakyRelu Elu Selu HardSigmoid Softplus Softsign Clip ThresholdedRelu Gelu".split(),
        "ACTIVATION",
    ),
    **dict.fromkeys(
        "Add Sub Mul Div Min Max Pow And Or Xor Equal Greater Less Sum Mean Mod".split(), "ELEMENTWISE"
    ),
    **dict.fromkeys(
        "Exp Log Sqrt Reciprocal Abs Neg Sin Cos Tan Floor Ceil Erf Not Sign Round IsInf IsNaN".split(),
        "UNARY",
    ),
    **dict.fromkeys(("MatMul", "Gemm"), "MATRIX_MULTIPLY"),
    **dict.fromkeys(("Softmax", "LogSoftmax"), "SOFTMAX"),
    **dict.fromkeys(("BatchNormalization",), "SCALE"),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization", "GroupNormalization"), "NORMALIZATION"),
    **dict.fromkeys("Reshape Transpose Flatten DepthToSpace SpaceToDepth".split(), "SHUFFLE"),
    "Squeeze": "SQUEEZE",
    "Unsqueeze": "UNSQUEEZE",
    "Concat": "CONCATENATION",
    "Cast": "CAST",
    "CastLike": "CAST",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Constant": "CONSTANT",
    "Shape": "SHAPE",
    "Slice": "SLICE",
    "Split": "SLICE",
    "Pad": "SLICE",
    "Expand": "SLICE",
    "Tile": "SLICE",
    "Gather": "GATHER",
    "GatherElements": "GATHER",
    "GatherND": "GATHER",
    "ScatterND": "SCATTER",
    "ScatterElements": "SCATTER",
    "Resize": "RESIZE",
    "Upsample": "RESIZE",
    "TopK": "TOPK",
    "ArgMax": "TOPK",
    "ArgMin": "TOPK",
    "Where": "SELECT",
    "PRelu": "PARAMETRIC_RELU",
    "NonZero": "NON_ZERO",
    "NonMaxSuppression": "NMS",
    "OneHot": "ONE_HOT",
    "Einsum": "EINSUM",
    "LRN": "LRN",
    "GridSample": "GRID_SAMPLE",
    "ConstantOfShape": "FILL",
    "Range": "FILL",
    "CumSum": "CUMULATIVE",
    "If": "CONDITION",
    "Loop": "RECURRENCE",
    "LSTM": "RECURRENCE",
    "GRU": "RECURRENCE",
    "RNN": "RECURRENCE",
}


def layer_type(op_type: str, members: Mapping[str, Any]) -> str:
    """Return the `LayerType` member name for an ONNX operator, among those that the version has."""
    found = _LAYER_TYPES.get(op_type, "IDENTITY")
    if found in members:
        return found
    return "SHUFFLE" if found in ("SQUEEZE", "UNSQUEEZE") else "IDENTITY"


def _move(table: dict[str, T], old: str, new: str) -> None:
    if old in table:
        table[new] = table.pop(old)


class Tensor(Bound):
    """A tensor of a network."""

    _network: Network
    _name: str

    def _setup(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    def _graph(self) -> Graph:
        return self._network._parsed()

    @property
    def name(self) -> str:
        """The name; of an input or output it may be changed."""
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._network._rename(self._name, value)
        self._name = value

    @property
    def shape(self) -> Any:
        """Dimensions, -1 for a dynamic one; of an input they may be changed."""
        return self._host.dims(self._graph().tensor(self._name).shape)

    @shape.setter
    def shape(self, value: Any) -> None:
        self._network._reshape(self._name, tuple(int(v) for v in value))

    @property
    def dtype(self) -> Any:
        """`DataType`; of an input or output it may be set under weak typing."""
        override = self._network._io_types.get(self._name)
        return self._host.data_type(override or self._graph().tensor(self._name).elem)

    @dtype.setter
    def dtype(self, value: Any) -> None:
        if self._network._is_strong:
            self._network._reporter.error(
                "INVALID_STATE", "ITensor::setType", "setType is not allowed in a strongly typed network"
            )
            return
        try:
            elem = dtypes.elem_of_member(value.name)
        except KeyError:
            self._network._reporter.error(
                "INVALID_ARGUMENT", "ITensor::setType", f"cannot set type {value.name}"
            )
            return
        self._network._io_types[self._name] = elem

    @property
    def allowed_formats(self) -> int:
        """Bit mask of the formats that the engine may use."""
        return self._network._formats.get(self._name, (1 << len(self._host.enum("TensorFormat")._table)) - 1)

    @allowed_formats.setter
    def allowed_formats(self, value: int) -> None:
        self._network._formats[self._name] = value

    @property
    def is_network_input(self) -> bool:
        """True for an input."""
        return self._name in self._graph().inputs

    @property
    def is_network_output(self) -> bool:
        """True for an output."""
        return self._name in self._graph().outputs

    @property
    def is_shape_tensor(self) -> bool:
        """False: the emulator computes shapes on the side."""
        return False

    @property
    def is_execution_tensor(self) -> bool:
        """True for every tensor."""
        return True

    @property
    def location(self) -> Any:
        """Always DEVICE."""
        return self._host.enum("TensorLocation")._table["DEVICE"]

    @property
    def broadcast_across_batch(self) -> bool:
        """False: the batch is explicit."""
        return False

    def get_dimension_name(self, index: int) -> str:
        """Return the name of a symbolic dimension, or an empty text."""
        dims = self._graph().tensor(self._name).dims or ()
        found = dims[index] if 0 <= index < len(dims) else None
        return found if isinstance(found, str) else ""

    @property
    def dynamic_range(self) -> Any:
        """(min, max) if set, else None."""
        return self._network._ranges.get(self._name)

    @dynamic_range.setter
    def dynamic_range(self, value: Any) -> None:
        self._network._ranges[self._name] = (float(value[0]), float(value[1]))

    def set_dynamic_range(self, min: float, max: float) -> bool:
        """Set the range for implicit INT8 quantization; only symmetric ranges are used."""
        if not min < max:
            return False
        self._network._ranges[self._name] = (float(min), float(max))
        return True

    def reset_dynamic_range(self) -> None:
        """Forget the range."""
        self._network._ranges.pop(self._name, None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other._name == self._name and other._network is self._network

    def __hash__(self) -> int:
        return hash((self._name, id(self._network)))


class Layer(Bound):
    """A layer of a network: one ONNX node."""

    _network: Network
    _node: NodeProto

    def _setup(self, network: Network, node: NodeProto) -> None:
        self._network = network
        self._node = node

    @property
    def name(self) -> str:
        """The name."""
        return self._node.name

    @name.setter
    def name(self, value: str) -> None:
        self._network._rename_node(self._node, value)

    @property
    def type(self) -> Any:
        """`LayerType`."""
        kinds = self._host.enum("LayerType")._table
        return kinds[layer_type(self._node.op_type, kinds)]

    @property
    def metadata(self) -> str:
        """What the parser says of the layer's origin, unless set."""
        return self._network._metadata.get(self._node.name, f"[ONNX Layer: {self._node.name}]")

    @metadata.setter
    def metadata(self, value: str) -> None:
        self._network._metadata[self._node.name] = value

    def _tensors(self, names: Any) -> list[str]:
        constants = self._network._constants()
        return [name for name in names if name and name not in constants]

    @property
    def num_inputs(self) -> int:
        """How many inputs, constants aside."""
        return len(self._tensors(self._node.input))

    @property
    def num_outputs(self) -> int:
        """How many outputs."""
        return len(self._tensors(self._node.output))

    def get_input(self, index: int) -> Any:
        """Return an input tensor, or None."""
        names = self._tensors(self._node.input)
        return self._network._tensor(names[index]) if 0 <= index < len(names) else None

    def get_output(self, index: int) -> Any:
        """Return an output tensor, or None."""
        names = self._tensors(self._node.output)
        return self._network._tensor(names[index]) if 0 <= index < len(names) else None

    @property
    def precision(self) -> Any:
        """The type that was set, else that of the first output."""
        chosen = self._network._precisions.get(self._node.name)
        return self._host.data_type(chosen or self._network._parsed().tensor(self._node.output[0]).elem)

    @precision.setter
    def precision(self, value: Any) -> None:
        if self._network._is_strong:
            self._network._reporter.error(
                "INVALID_STATE",
                "ILayer::setPrecision",
                "setPrecision is not allowed in a strongly typed network",
            )
            return
        self._network._precisions[self._node.name] = dtypes.elem_of_member(value.name)

    @property
    def precision_is_set(self) -> bool:
        """Whether a precision was set."""
        return self._node.name in self._network._precisions

    def reset_precision(self) -> None:
        """Forget the precision."""
        self._network._precisions.pop(self._node.name, None)

    def get_output_type(self, index: int) -> Any:
        """Return the type of an output."""
        chosen = self._network._output_types.get((self._node.name, index))
        return self._host.data_type(chosen or self._network._parsed().tensor(self._node.output[index]).elem)

    def set_output_type(self, index: int, dtype: Any) -> None:
        """Constrain the type of an output."""
        if self._network._is_strong:
            self._network._reporter.error(
                "INVALID_STATE",
                "ILayer::setOutputType",
                "setOutputType is not allowed in a strongly typed network",
            )
            return
        self._network._output_types[(self._node.name, index)] = dtypes.elem_of_member(dtype.name)

    def output_type_is_set(self, index: int) -> bool:
        """Return whether the type of an output is constrained."""
        return (self._node.name, index) in self._network._output_types

    def reset_output_type(self, index: int) -> None:
        """Forget the constraint on an output."""
        self._network._output_types.pop((self._node.name, index), None)


class Network(Bound):
    """A network definition, filled by `OnnxParser`."""

    _builder: Any
    _reporter: Reporter
    _flags: int
    _is_strong: bool
    _is_implicit: bool
    _graph: Graph | None

    def _setup(self, builder: Any, reporter: Reporter, flags: int, strong: bool, implicit: bool) -> None:
        self._builder = builder
        self._reporter = reporter
        self._flags = flags
        self._is_strong = strong
        self._is_implicit = implicit
        self._graph = None
        self._label = "Unnamed Network 0"
        self._io_types: dict[str, int] = {}
        self._formats: dict[str, int] = {}
        self._ranges: dict[str, tuple[float, float]] = {}
        self._precisions: dict[str, int] = {}
        self._output_types: dict[tuple[str, int], int] = {}
        self._metadata: dict[str, str] = {}
        self._debug: dict[str, bool] = {}
        self._unfused = False
        self._refittable: set[str] = set()

    def _parsed(self) -> Graph:
        if self._graph is None:
            raise RuntimeError("the network has no tensors")
        return self._graph

    def _constants(self) -> set[str]:
        graph = self._parsed()
        return {tensor.name for tensor in graph.model.graph.initializer}

    def _tensor(self, name: str) -> Tensor:
        return self._host.new(Tensor, self, name)

    def _rename(self, old: str, new: str) -> None:
        graph = self._parsed()
        for node in graph.model.graph.node:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    if name == old:
                        names[position] = new
        for value in (*graph.model.graph.input, *graph.model.graph.output):
            if value.name == old:
                value.name = new
        for names in (graph.inputs, graph.outputs):
            names[:] = [new if name == old else name for name in names]
        _move(graph.info, old, new)
        _move(graph.producers, old, new)
        _move(self._io_types, old, new)
        _move(self._formats, old, new)
        _move(self._ranges, old, new)
        _move(self._debug, old, new)
        graph.own_outputs = frozenset(new if name == old else name for name in graph.own_outputs)

    def _rename_node(self, node: NodeProto, new: str) -> None:
        _move(self._precisions, node.name, new)
        _move(self._metadata, node.name, new)
        for key in [key for key in self._output_types if key[0] == node.name]:
            self._output_types[(new, key[1])] = self._output_types.pop(key)
        node.name = new

    def _reshape(self, name: str, shape: tuple[int, ...]) -> None:
        graph = self._parsed()
        if name not in graph.inputs:
            self._reporter.error(
                "INVALID_ARGUMENT", "ITensor::setDimensions", f"{name} is not a network input"
            )
            return
        for value in graph.model.graph.input:
            if value.name == name:
                dims: list[int | str] = [d if d >= 0 else f"{name}_{i}" for i, d in enumerate(shape)]
                elem = value.type.tensor_type.elem_type
                value.CopyFrom(helper.make_tensor_value_info(name, elem, dims))
        kept = {output: graph.info[output] for output in graph.outputs}
        graph.info.clear()
        graph.info.update(infer(graph.model))
        for output, info in kept.items():
            if graph.tensor(output).dims is None:
                graph.info[output] = TensorInfo(info.elem, info.dims and (None,) * len(info.dims))

    @property
    def name(self) -> str:
        """The name of the network."""
        return self._label

    @name.setter
    def name(self, value: str) -> None:
        self._label = value

    @property
    def builder(self) -> Any:
        """The builder that made the network."""
        return self._builder

    @property
    def flags(self) -> int:
        """Creation flags, one bit each."""
        return self._flags

    def get_flag(self, flag: Any) -> bool:
        """Return whether a creation flag is on."""
        return bool(self._flags & (1 << int(flag)))

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """True only in 8.6 without EXPLICIT_BATCH."""
        return self._is_implicit

    @property
    def has_explicit_precision(self) -> bool:
        """False: the flag has been dead since 8.0."""
        return False

    @property
    def error_recorder(self) -> Any:
        """The attached recorder, or None."""
        return self._reporter.recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._reporter.attach(value)

    @property
    def num_inputs(self) -> int:
        """How many inputs."""
        return len(self._graph.inputs) if self._graph else 0

    @property
    def num_outputs(self) -> int:
        """How many outputs."""
        return len(self._graph.outputs) if self._graph else 0

    @property
    def num_layers(self) -> int:
        """How many layers."""
        return len(self._graph.model.graph.node) if self._graph else 0

    def _indexed(self, kind: str, names: list[str], index: int) -> Any:
        if 0 <= index < len(names):
            return self._tensor(names[index])
        self._reporter.error(
            "INVALID_ARGUMENT",
            f"INetworkDefinition::get{kind}",
            f"Parameter check failed, condition: (0) <= (index) && (index) < (getNb{kind}s()). Invalid index: {index}",
        )
        return None

    def get_input(self, index: int) -> Any:
        """Return an input, or None with a logged error."""
        return self._indexed("Input", self._graph.inputs if self._graph else [], index)

    def get_output(self, index: int) -> Any:
        """Return an output, or None with a logged error."""
        return self._indexed("Output", self._graph.outputs if self._graph else [], index)

    def get_layer(self, index: int) -> Any:
        """Return a layer, or None with a logged error."""
        nodes = self._graph.model.graph.node if self._graph else []
        if 0 <= index < len(nodes):
            return self._host.new(Layer, self, nodes[index])
        self._reporter.error(
            "INVALID_ARGUMENT", "INetworkDefinition::getLayer", f"Invalid layer index: {index}"
        )
        return None

    def __len__(self) -> int:
        return self.num_layers

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < self.num_layers:
            raise IndexError(index)
        return self.get_layer(index)

    def mark_output(self, tensor: Any) -> None:
        """Make a tensor an output; an input is refused with a logged error."""
        graph = self._parsed()
        if tensor._name in graph.inputs:
            self._reporter.error(
                "INVALID_CONFIG",
                "INetworkDefinition::markOutput",
                f"Failed attempt to set a tensor {tensor._name} as network-level output."
                " It was previously set as a network-level input",
            )
        elif tensor._name not in graph.outputs:
            graph.outputs.append(tensor._name)

    def unmark_output(self, tensor: Any) -> None:
        """Make a tensor no output any more."""
        if tensor._name in self._parsed().outputs:
            self._parsed().outputs.remove(tensor._name)

    def mark_debug(self, tensor: Any) -> bool:
        """Give a tensor to the debug listener at run time."""
        self._debug[tensor._name] = True
        return True

    def unmark_debug(self, tensor: Any) -> bool:
        """Give a tensor to the listener no more."""
        return self._debug.pop(tensor._name, None) is not None

    def is_debug_tensor(self, tensor: Any) -> bool:
        """Return whether a tensor is marked."""
        return tensor._name in self._debug

    def mark_unfused_tensors_as_debug_tensors(self) -> bool:
        """Mark every tensor between layers."""
        self._unfused = True
        return True

    def unmark_unfused_tensors_as_debug_tensors(self) -> bool:
        """Take `mark_unfused_tensors_as_debug_tensors` back."""
        self._unfused = False
        return True

    def mark_weights_refittable(self, name: str) -> bool:
        """Make one weight refittable, for REFIT_INDIVIDUAL; False for a name that is no weight."""
        if name not in self._constants():
            return False
        self._refittable.add(name)
        return True

    def unmark_weights_refittable(self, name: str) -> bool:
        """Make one weight fixed again."""
        known = name in self._constants()
        self._refittable.discard(name)
        return known

    def are_weights_marked_refittable(self, name: str) -> bool:
        """Return whether a weight was marked."""
        return name in self._refittable
