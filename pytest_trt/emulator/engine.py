"""Engines, and the small configurations that go with them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.bound import Bound, Recorded
from pytest_trt.emulator.context import ExecutionContext
from pytest_trt.emulator.core import Core, Port
from pytest_trt.emulator.enums import ITEM_BYTES
from pytest_trt.emulator.inspector import Inspector
from pytest_trt.emulator.plugins_life import Attached, PluginFailure
from pytest_trt.emulator.plugins_life import serialize as serialize_plugin
from pytest_trt.emulator.reporting import Reporter


class Engine(Recorded):
    """A deserialized engine."""

    _core: Core
    _reporter: Reporter

    def _setup(self, core: Core, reporter: Reporter, runtime: Any = None) -> None:
        self._core = core
        self._reporter = reporter
        self._runtime = runtime
        self._contexts = itertools.count(1)
        self._names = [*core.graph.inputs, *core.graph.outputs]

    def _port(self, name: str, where: str) -> Port | None:
        port = self._core.ports.get(name)
        if port is None:
            self._reporter.error(
                "INVALID_ARGUMENT", f"ICudaEngine::{where}", f"Given invalid tensor name: {name}"
            )
        return port

    @property
    def name(self) -> str:
        """The name of the network."""
        return str(self._core.settings["name"])

    @property
    def num_io_tensors(self) -> int:
        """How many inputs and outputs."""
        return len(self._names)

    @property
    def num_layers(self) -> int:
        """How many layers."""
        return len(self._core.settings["layers"])

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles; at least one."""
        return len(self._core.profiles)

    @property
    def refittable(self) -> bool:
        """Whether weights can be changed."""
        return bool(self._core.settings["refit"])

    @property
    def has_implicit_batch_dimension(self) -> bool:
        """False: the batch is explicit."""
        return False

    @property
    def max_batch_size(self) -> int:
        """1: the batch is explicit."""
        return 1

    @property
    def num_aux_streams(self) -> int:
        """0: the emulator uses the stream that it is given."""
        return 0

    @property
    def tactic_sources(self) -> int:
        """The tactic sources of the build, one bit each."""
        return int(self._core.settings["tactics"])

    @property
    def profiling_verbosity(self) -> Any:
        """How much the inspector tells."""
        return self._host.enum("ProfilingVerbosity")._table[self._core.settings["verbosity"]]

    @property
    def engine_capability(self) -> Any:
        """Always STANDARD."""
        return self._host.enum("EngineCapability")._table["STANDARD"]

    @property
    def hardware_compatibility_level(self) -> Any:
        """Which other GPUs the engine runs on."""
        level = "AMPERE_PLUS" if self._core.plan.ampere_plus else "NONE"
        return self._host.enum("HardwareCompatibilityLevel")._table[level]

    @property
    def device_memory_size(self) -> int:
        """Device memory that a context needs, bytes."""
        return self._core.memory_bytes()

    @property
    def device_memory_size_v2(self) -> int:
        """Device memory that a context needs, bytes."""
        return self._core.memory_bytes()

    def get_device_memory_size_for_profile(self, profile_index: int) -> int:
        """Return the device memory that a context of this profile needs, bytes."""
        return self._core.memory_bytes()

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        """Return the device memory that a context of this profile needs, bytes."""
        return self._core.memory_bytes()

    @property
    def streamable_weights_size(self) -> int:
        """0: weights are not streamed."""
        return 0

    @property
    def weight_streaming_scratch_memory_size(self) -> int:
        """0: weights are not streamed."""
        return 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._names.index(index)
        return self.get_tensor_name(index)

    def __len__(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        """Return the name of an input or output; inputs come first."""
        if not 0 <= index < len(self._names):
            self._reporter.error(
                "INVALID_ARGUMENT", "ICudaEngine::getIOTensorName", f"Invalid index: {index}"
            )
            return ""
        return self._names[index]

    def get_tensor_mode(self, name: str) -> Any:
        """Return `TensorIOMode`; NONE for an unknown name."""
        port = self._core.ports.get(name)
        mode = "NONE" if port is None else "INPUT" if port.is_input else "OUTPUT"
        return self._host.enum("TensorIOMode")._table[mode]

    def get_tensor_dtype(self, name: str) -> Any:
        """Return `DataType`; FLOAT with a logged error for an unknown name."""
        port = self._port(name, "getTensorDataType")
        return self._host.data_type(port.elem if port else dtypes.FLOAT)

    def get_tensor_shape(self, name: str) -> Any:
        """Return the shape, -1 for a dynamic dimension."""
        port = self._port(name, "getTensorShape")
        return self._host.dims(port.shape if port else ())

    def get_tensor_location(self, name: str) -> Any:
        """Return DEVICE."""
        self._port(name, "getTensorLocation")
        return self._host.enum("TensorLocation")._table["DEVICE"]

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        """Return LINEAR."""
        self._port(name, "getTensorFormat")
        return self._host.enum("TensorFormat")._table["LINEAR"]

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        """Return the format in words."""
        port = self._port(name, "getTensorFormatDesc")
        kind = dtypes.short_of(port.elem).upper() if port else ""
        return f"Row major linear {kind} format (kLINEAR)" if port else ""

    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        """Return the bytes of an element; -1 for a linear format, as the bindings do for unvectorised tensors."""
        port = self._port(name, "getTensorBytesPerComponent")
        return int(ITEM_BYTES[dtypes.member_of(port.elem)] or 0) if port else -1

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        """Return 1: tensors are not vectorised."""
        return 1 if self._port(name, "getTensorComponentsPerElement") else -1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        """Return -1: tensors are not vectorised."""
        self._port(name, "getTensorVectorizedDim")
        return -1

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        """Return [min, opt, max] of an input under a profile; empty with a logged error if there is none."""
        port = self._port(name, "getProfileShape")
        if port is None or not port.is_input or not 0 <= profile_index < len(self._core.profiles):
            if port is not None:
                self._reporter.error(
                    "INVALID_ARGUMENT",
                    "ICudaEngine::getProfileShape",
                    f"{name} has no shape in profile {profile_index}",
                )
            return []
        return [self._host.dims(shape) for shape in self._core.profiles[profile_index][name]]

    def get_tensor_profile_values(self, *args: Any, **kwargs: Any) -> list[list[int]]:
        """Return an empty list: no input of the emulator is a shape tensor."""
        return []

    def get_aliased_input_tensor(self, name: str) -> str:
        """Return an empty text: no output shares the memory of an input."""
        self._port(name, "getAliasedInputTensor")
        return ""

    def is_shape_inference_io(self, name: str) -> bool:
        """Return False: no input or output is a shape tensor."""
        self._port(name, "isShapeInferenceIO")
        return False

    def is_debug_tensor(self, name: str) -> bool:
        """Return whether a tensor was marked for debugging."""
        return name in self._core.debug_names

    def serialize(self) -> Any:
        """Return the plan as host memory; a refitted engine gives a plan with the new weights."""
        core = self._core
        plan = replace(core.plan, model=core.graph.model.SerializeToString())
        if core.plugins:
            recipes = {
                name: {**recipe, "fields": serialize_plugin(core.plugins[name])}
                for name, recipe in core.recipes.items()
            }
            plan = replace(plan, settings={**plan.settings, "plugins": recipes})
        return self._host.memory(plan.pack())

    def create_serialization_config(self) -> Any:
        """Return a serialization configuration with the defaults."""
        return self._host.new(SerializationConfig)

    def serialize_with_config(self, arg0: Any) -> Any:
        """Return the plan as host memory; the flags change nothing."""
        return self.serialize()

    def create_runtime_config(self) -> Any:
        """Return a runtime configuration with the defaults."""
        return self._host.new(RuntimeConfig)

    def create_engine_inspector(self) -> Any:
        """Return an inspector of this engine."""
        return self._host.new(Inspector, self)

    def create_execution_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return a context; its memory is the caller's task with strategy USER_MANAGED."""
        given = args[0] if args else next(iter(kwargs.values()), None)
        strategy = "STATIC"
        config = None
        if given is not None and hasattr(given, "name"):
            strategy = given.name
        elif given is not None:
            config = given
            strategy = config._strategy.name
        elif hasattr(type(self), "create_runtime_config"):
            config = self.create_runtime_config()
        return self._make_context(strategy, config)

    def create_execution_context_without_device_memory(self) -> Any:
        """Return a context whose memory the caller must set."""
        return self._make_context("USER_MANAGED", None)

    def _make_context(self, strategy: str, config: Any) -> Any:
        core, number = self._core, next(self._contexts)
        reporter = self._reporter.child()
        facts = {"engine_id": core.number, "context_id": number}
        try:
            attached = Attached(self._host, core.plugins, core.recipes, reporter.recorder, facts)
        except PluginFailure as failure:
            reporter.error("FAILED_INITIALIZATION", "ICudaEngine::createExecutionContext", str(failure))
            return None
        context = self._host.new(ExecutionContext, self, core, number, reporter, strategy, config)
        context._plugins = attached
        attached.bind(context)
        return context


class RuntimeConfig(Bound):
    """How a context is to be made."""

    _strategy: Any

    def _setup(self) -> None:
        self._strategy = self._host.enum("ExecutionContextAllocationStrategy")._table["STATIC"]
        self._values: dict[str, Any] = {}

    def set_execution_context_allocation_strategy(self, strategy: Any = None) -> None:
        """Choose who allocates the memory of a context."""
        self._strategy = strategy or self._host.enum("ExecutionContextAllocationStrategy")._table["STATIC"]

    def get_execution_context_allocation_strategy(self) -> Any:
        """Return who allocates the memory of a context."""
        return self._strategy

    @property
    def cuda_graph_strategy(self) -> Any:
        """No effect here."""
        return self._values.get("graph", self._host.enum("CudaGraphStrategy")._table["DISABLED"])

    @cuda_graph_strategy.setter
    def cuda_graph_strategy(self, value: Any) -> None:
        self._values["graph"] = value

    @property
    def dynamic_shapes_kernel_specialization_strategy(self) -> Any:
        """No effect here."""
        table = self._host.enum("DynamicShapesKernelSpecializationStrategy")._table
        return self._values.get("kernels", table["LAZY"])

    @dynamic_shapes_kernel_specialization_strategy.setter
    def dynamic_shapes_kernel_specialization_strategy(self, value: Any) -> None:
        self._values["kernels"] = value


class SerializationConfig(Bound):
    """What goes into a plan; the emulator always writes everything."""

    _bits: int

    def _setup(self) -> None:
        self._bits = 0

    @property
    def flags(self) -> int:
        """Serialization flags, one bit each."""
        return self._bits

    @flags.setter
    def flags(self, value: int) -> None:
        self._bits = value

    def set_flag(self, flag: Any) -> bool:
        """Turn a flag on."""
        self._bits |= 1 << int(flag)
        return True

    def clear_flag(self, flag: Any) -> bool:
        """Turn a flag off."""
        self._bits &= ~(1 << int(flag))
        return True

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is on."""
        return bool(self._bits & (1 << int(flag)))
