"""Tensors and layers of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import NodeProto, TensorProto

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.graph import Graph
from pytest_trt.emulator.layer_types import layer_type

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.network import Network


def _data_type(host: Host, elem: int) -> Any:
    """Return the `DataType` of a tensor in a network: int64 is int32 where there is none (8.6's parser casts it)."""
    if elem == TensorProto.INT64 and "INT64" not in host.enum("DataType")._table:
        elem = TensorProto.INT32
    return host.data_type(elem)


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
        return _data_type(self._host, override or self._graph().tensor(self._name).elem)

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
        return kinds[layer_type(self._node.op_type, kinds, self._node.domain)]

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
        return _data_type(self._host, chosen or self._network._parsed().tensor(self._node.output[0]).elem)

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
        return _data_type(self._host, chosen or self._network._parsed().tensor(self._node.output[index]).elem)

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


class PluginV3Layer(Layer):
    """A layer of a plugin."""

    @property
    def plugin(self) -> Any:
        """The plugin: the network's own clone of what was added."""
        return self._network._plugins[self._node.name].plugin


class PluginV2Layer(PluginV3Layer):
    """A layer of a plugin of the older kind."""
