"""What an execution context is told before it runs: profile, shapes, addresses, memory, listeners."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.bound import Recorded
from pytest_trt.emulator.core import Core, fits
from pytest_trt.emulator.reporting import Reporter, shielded

if TYPE_CHECKING:
    from pytest_trt.emulator.engine import Engine
    from pytest_trt.emulator.launch import Launch


def _release(users: dict[int, int], number: int) -> None:
    users.pop(number, None)


class ContextState(Recorded):
    """A context of an engine as far as it is set up: profile, shapes, addresses, callbacks."""

    _engine: Engine
    _core: Core
    _reporter: Reporter

    def _setup(
        self, engine: Engine, core: Core, number: int, reporter: Reporter, strategy: str, config: Any
    ) -> None:
        self._engine = engine
        self._core = core
        self._number = number
        self._reporter = reporter
        self._strategy = strategy
        self._config = config
        self._label = f"Unnamed Execution Context {number - 1}"
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._values: dict[str, Any] = {"enqueue_emits_profile": True}
        self._user_memory: tuple[int, int] = (0, 0)
        self._listener: Any = None
        marked = list(core.settings["debug"])
        self._debug: dict[str, bool] = dict.fromkeys(marked, False)
        self._unfused = [name for name in core.debug_names if name not in marked]
        self._shows_unfused = False
        self._consumed = 0
        self._pending: list[tuple[str, float]] = []
        self._previous: dict[str, NDArray[Any]] = {}
        self._runs = 0
        self._held: dict[str, Any] = {}  # what the device keeps for this context
        self._again: Launch | None = None  # the last run, as long as another one would be the same
        self._profile = -1
        if core.settings["sharing"] or not self._needs_profile() or 0 not in core.users.values():
            self._take_profile(0)
        weakref.finalize(self, _release, core.users, number)

    def _needs_profile(self) -> bool:
        return any(-1 in port.shape for port in self._core.inputs)

    def _take_profile(self, index: int) -> None:
        self._again = None
        self._profile = index
        self._core.users[self._number] = index
        self._shapes = {port.name: port.shape for port in self._core.inputs if -1 not in port.shape}

    def _error(self, code: str, where: str, text: str) -> bool:
        self._reporter.error(code, f"IExecutionContext::{where}", text)
        return False

    @property
    def engine(self) -> Any:
        """The engine."""
        return self._engine

    @property
    def name(self) -> str:
        """The name of the context."""
        return self._label

    @name.setter
    def name(self, value: str) -> None:
        self._label = value

    @property
    def debug_sync(self) -> bool:
        """Whether `execute_v2` logs each layer."""
        return bool(self._values.get("debug_sync", False))

    @debug_sync.setter
    def debug_sync(self, value: bool) -> None:
        self._values["debug_sync"] = bool(value)

    @property
    def nvtx_verbosity(self) -> Any:
        """How much is told to NVTX: nothing."""
        table = self._host.enum("ProfilingVerbosity")._table
        return self._values.get("nvtx", table["LAYER_NAMES_ONLY"])

    @nvtx_verbosity.setter
    def nvtx_verbosity(self, value: Any) -> None:
        self._values["nvtx"] = value

    @property
    def persistent_cache_limit(self) -> int:
        """No effect here, bytes."""
        return int(self._values.get("persistent", 0))

    @persistent_cache_limit.setter
    def persistent_cache_limit(self, value: int) -> None:
        self._values["persistent"] = value

    @property
    def profiler(self) -> Any:
        """The profiler, or None."""
        return self._values.get("profiler")

    @profiler.setter
    def profiler(self, value: Any) -> None:
        self._values["profiler"], self._again = value, None

    @property
    def enqueue_emits_profile(self) -> bool:
        """Whether each enqueue reports to the profiler by itself."""
        return bool(self._values["enqueue_emits_profile"])

    @enqueue_emits_profile.setter
    def enqueue_emits_profile(self, value: bool) -> None:
        self._values["enqueue_emits_profile"] = bool(value)

    def report_to_profiler(self) -> bool:
        """Report the times of the last enqueue; False with a logged error if there is nothing to report.

        Where each enqueue reports by itself it is True and does nothing (TensorRT API, `reportToProfiler`).
        """
        if self.profiler is not None and self.enqueue_emits_profile:
            return True
        if self.profiler is None or not self._pending:
            return self._error("INVALID_STATE", "reportToProfiler", "there is no profile to report")
        self._emit()
        return True

    def _profiled(self) -> None:
        """Report the times of a run, or keep them until they are asked for."""
        is_asked = self.enqueue_emits_profile
        if self._host.faults:
            site = self._host.faults.hear("profile", times=list(self._pending), emits=is_asked)
            self._pending, is_asked = list(site.times), bool(site.emits)
        if is_asked:
            self._emit()

    def _emit(self) -> None:
        for name, milliseconds in self._pending:
            shielded(self.profiler.report_layer_time, name, milliseconds)
        self._pending = []

    # Profiles and shapes.

    @property
    def active_optimization_profile(self) -> int:
        """Index of the profile in use, -1 for none."""
        return self._profile

    @active_optimization_profile.setter
    def active_optimization_profile(self, value: int) -> None:
        if not self._choose_profile(value, "setOptimizationProfile"):
            raise RuntimeError(f"Error in set optimization profile {value}.")

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Use another profile; shapes must be set anew."""
        if not self._host.device.is_stream(stream_handle):
            return self._error(
                "INVALID_ARGUMENT", "setOptimizationProfileAsync", f"{stream_handle:#x} is no stream"
            )
        return self._choose_profile(profile_index, "setOptimizationProfileAsync")

    def _choose_profile(self, index: int, where: str) -> bool:
        if not 0 <= index < len(self._core.profiles):
            return self._error("INVALID_ARGUMENT", where, f"Invalid profile index: {index}")
        others = [used for number, used in self._core.users.items() if number != self._number]
        if not self._core.settings["sharing"] and self._needs_profile() and index in others:
            return self._error(
                "INVALID_STATE", where, f"Profile {index} has been chosen for another IExecutionContext"
            )
        if index != self._profile:
            self._take_profile(index)
        return True

    def _limits(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        table = self._core.profiles[self._profile]
        return tuple(table[name][0]), tuple(table[name][2])

    def set_input_shape(self, name: str, shape: Any) -> bool:
        """Set the shape of an input; False with a logged error outside the profile."""
        port = self._core.ports.get(name)
        if port is None or not port.is_input:
            return self._error("INVALID_ARGUMENT", "setInputShape", f"Given invalid tensor name: {name}")
        if self._profile < 0:
            return self._error("INVALID_STATE", "setInputShape", "No optimization profile has been chosen")
        wanted = tuple(int(size) for size in shape)
        static = len(wanted) == len(port.shape) and all(
            p in (-1, w) for p, w in zip(port.shape, wanted, strict=True)
        )
        if not static:
            return self._error(
                "INVALID_ARGUMENT",
                "setInputShape",
                f"Static dimension mismatch while setting input shape for {name}. Set dimensions are {list(wanted)}."
                f" Expected dimensions are {list(port.shape)}.",
            )
        low, high = self._limits(name)
        if not fits(wanted, low, high):
            return self._error(
                "INVALID_ARGUMENT",
                "setInputShape",
                f"Set dimension of {name} is {list(wanted)}, which does not satisfy any optimization profiles."
                f" Valid range for profile {self._profile}: {list(low)}..{list(high)}.",
            )
        if self._shapes.get(name) != wanted:
            self._shapes[name], self._again = wanted, None
        return True

    @property
    def all_binding_shapes_specified(self) -> bool:
        """Whether every input has a shape."""
        return not self._missing_shapes()

    @property
    def all_shape_inputs_specified(self) -> bool:
        """True: there are no shape inputs."""
        return True

    def _missing_shapes(self) -> list[str]:
        return [port.name for port in self._core.inputs if port.name not in self._shapes]

    def infer_shapes(self) -> list[str]:
        """Return the inputs whose shape is missing; empty if all output shapes are known."""
        return self._missing_shapes()

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        if self._missing_shapes():
            return {port.name: port.shape for port in self._core.outputs}
        return self._core.output_shapes(self._shapes)

    def get_tensor_shape(self, name: str) -> Any:
        """Return the shape for the shapes set, -1 where it is not known yet."""
        port = self._core.ports.get(name)
        if port is None:
            self._error("INVALID_ARGUMENT", "getTensorShape", f"Given invalid tensor name: {name}")
            return self._host.dims(())
        if port.is_input:
            return self._host.dims(self._shapes.get(name, port.shape))
        return self._host.dims(self._output_shapes()[name])

    def get_tensor_strides(self, name: str) -> Any:
        """Return the strides of a tensor, in elements."""
        shape = list(self.get_tensor_shape(name))
        strides, step = [], 1
        for size in reversed(shape):
            strides.append(step if step >= 0 else -1)
            step = step * size if size >= 0 and step >= 0 else -1
        return self._host.dims(tuple(reversed(strides)))

    def get_max_output_size(self, name: str) -> int:
        """Return an upper bound of an output's size, bytes, over the profile; -1 if it follows from values."""
        port = self._core.ports.get(name)
        if port is None or port.is_input:
            self._error("INVALID_ARGUMENT", "getMaxOutputSize", f"Given invalid tensor name: {name}")
            return -1
        shapes = self._shapes
        if self._missing_shapes():
            shapes = {p.name: self._limits(p.name)[1] for p in self._core.inputs}
        shape = self._core.output_shapes(shapes)[name]
        return -1 if -1 in shape else int(np.prod(shape, dtype=np.int64)) * port.kind.itemsize

    # Addresses.

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Set where an input or output lies; False with a logged error for an unknown name."""
        if name not in self._core.ports:
            return self._error("INVALID_ARGUMENT", "setTensorAddress", f"Given invalid tensor name: {name}")
        if self._addresses.get(name) != int(memory):
            self._addresses[name], self._again = int(memory), None
        return True

    def get_tensor_address(self, name: str) -> int:
        """Return the address set, 0 for none."""
        if name not in self._core.ports:
            self._error("INVALID_ARGUMENT", "getTensorAddress", f"Given invalid tensor name: {name}")
        return self._addresses.get(name, 0)

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        """Let an allocator give the memory of an output; None takes it away."""
        port = self._core.ports.get(name)
        if port is None or port.is_input:
            return self._error("INVALID_ARGUMENT", "setOutputAllocator", f"Given invalid tensor name: {name}")
        self._again = None
        if output_allocator is None:
            self._allocators.pop(name, None)
        else:
            self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> Any:
        """Return the allocator of an output, or None."""
        return self._allocators.get(name)

    @property
    def device_memory(self) -> int:
        """Address of the memory of the context."""
        return self._user_memory[0]

    @device_memory.setter
    def device_memory(self, value: int) -> None:
        self._user_memory, self._again = (int(value), self._core.memory_bytes()), None

    def set_device_memory(self, memory: int, size: int) -> None:
        """Give the context its memory; too little is refused with a logged error."""
        if size < self._core.memory_bytes():
            self._error("INVALID_ARGUMENT", "setDeviceMemoryV2", f"{size} bytes are too few")
            return
        self._user_memory, self._again = (int(memory), size), None

    def set_input_consumed_event(self, event: int) -> bool:
        """Set the event that fires once the inputs have been read; 0 takes it away, one that is unknown is refused."""
        if event and not self._host.device.is_event(int(event)):
            return self._error("INVALID_ARGUMENT", "setInputConsumedEvent", f"{event:#x} is no event")
        self._consumed, self._again = int(event), None
        return True

    def get_input_consumed_event(self) -> int:
        """Return the event that fires once the inputs have been read, 0 for none."""
        return self._consumed

    def update_device_memory_size_for_shapes(self) -> int:
        """Return the memory that the context needs for the shapes set, bytes."""
        return self._core.memory_bytes()

    def get_runtime_config(self) -> Any:
        """Return the configuration that the context was made with."""
        return self._config

    def set_aux_streams(self, aux_streams: Any) -> None:
        """Take auxiliary streams; the emulator uses none."""
        for handle in aux_streams:
            if not self._host.device.is_stream(int(handle)):
                self._error("INVALID_ARGUMENT", "setAuxStreams", f"{handle:#x} is no stream")

    def is_stream_capturable(self, stream: int) -> bool:
        """Return False: the emulator captures no graphs."""
        return False

    # Debug tensors.

    def set_debug_listener(self, listener: Any) -> bool:
        """Set who sees debug tensors."""
        self._listener, self._again = listener, None
        return True

    def get_debug_listener(self) -> Any:
        """Return who sees debug tensors, or None."""
        return self._listener

    def set_tensor_debug_state(self, name: str, flag: bool) -> bool:
        """Turn one debug tensor on or off; False for one that was not marked."""
        if name not in self._debug:
            return self._error("INVALID_ARGUMENT", "setTensorDebugState", f"{name} is not a debug tensor")
        self._debug[name], self._again = bool(flag), None
        return True

    def set_all_tensors_debug_state(self, flag: bool) -> bool:
        """Turn every debug tensor on or off."""
        self._debug, self._again = dict.fromkeys(self._debug, bool(flag)), None
        return True

    def get_debug_state(self, name: str) -> bool:
        """Return whether a debug tensor is on."""
        return self._debug_states().get(name, False)

    @property
    def unfused_tensors_debug_state(self) -> bool:
        """Whether unfused tensors are shown to the listener."""
        return self._shows_unfused

    @unfused_tensors_debug_state.setter
    def unfused_tensors_debug_state(self, value: bool) -> None:
        self._shows_unfused, self._again = bool(value) and bool(self._core.settings["unfused"]), None

    def _debug_states(self) -> dict[str, bool]:
        """Return whether each debug tensor is shown."""
        return {**dict.fromkeys(self._unfused, self._shows_unfused), **self._debug}
