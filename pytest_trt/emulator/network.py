"""Networks as the parser fills them: inputs, outputs, marks."""

from __future__ import annotations

from typing import Any, TypeVar

from onnx import NodeProto, helper

from pytest_trt.emulator import plugins_network
from pytest_trt.emulator.bound import Recorded
from pytest_trt.emulator.graph import Graph, TensorInfo, infer, is_older_plugin
from pytest_trt.emulator.plugins_life import Held, PluginFailure, own
from pytest_trt.emulator.reporting import Reporter
from pytest_trt.emulator.tensors import Layer, PluginV2Layer, PluginV3Layer, Tensor

T = TypeVar("T")


def _move(table: dict[str, T], old: str, new: str) -> None:
    if old in table:
        table[new] = table.pop(old)


class Network(Recorded):
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
        self._plugins: dict[str, Held] = {}  # by layer
        self._recipes: dict[str, plugins_network.Recipe] = {}
        own(self, self._plugins.values())

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
        model = graph.model.graph
        for value in (*model.input, *model.output, *model.value_info):
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
        _move(self._plugins, node.name, new)
        _move(self._recipes, node.name, new)
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
        plugins_network.settle(self, graph)
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
            kind: type[Layer] = Layer
            if nodes[index].name in self._plugins:
                kind = PluginV2Layer if is_older_plugin(nodes[index]) else PluginV3Layer
            return self._host.new(kind, self, nodes[index])
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

    def add_plugin_v3(self, inputs: Any, shape_inputs: Any, plugin: Any) -> Any:
        """Return the layer of a plugin, which is cloned; None with a logged error where it does not say what it gives."""
        return self._add_plugin("V3", inputs, plugin, len(shape_inputs))

    def add_plugin_v2(self, inputs: Any, plugin: Any) -> Any:
        """Return the layer of a plugin of the older kind, which is cloned; None with a logged error as above."""
        return self._add_plugin("V2", inputs, plugin, 0)

    def _add_plugin(self, kind: str, inputs: Any, plugin: Any, shape_inputs: int) -> Any:
        try:
            node = plugins_network.add(self, list(inputs), plugin, kind == "V2", shape_inputs)
        except PluginFailure as failure:
            self._reporter.error("INVALID_ARGUMENT", f"INetworkDefinition::addPlugin{kind}", str(failure))
            return None
        return self._host.new(PluginV2Layer if kind == "V2" else PluginV3Layer, self, node)

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
