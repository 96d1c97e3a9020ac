"""Execution contexts: enqueueing and running; strict where TensorRT is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.context_state import ContextState
from pytest_trt.emulator.launch import Launch, Result
from pytest_trt.emulator.plugins_life import Attached, PluginFailure
from pytest_trt.emulator.reporting import shielded
from pytest_trt.errors import ExecutionError


class ExecutionContext(ContextState):
    """A context of an engine; for one thread at a time."""

    _plugins: Attached

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue a run; False with a logged error if it cannot be run. Nothing is done before the stream is."""
        where, device = "enqueueV3", self._host.device
        again = self._again
        if again is not None and again.stream == stream_handle and self._can_repeat(again):
            return self._enqueue(again, again.addresses)
        if not device.is_stream(stream_handle):
            return self._error(
                "INVALID_ARGUMENT", where, f"{stream_handle:#x} is not a stream of this device"
            )
        ready = self._ready(where, self._addresses, stream_handle)
        if ready is None:
            self._time_failure()
            return False
        launch, asked = ready
        if stream_handle == 0:
            self._reporter.log(
                "WARNING",
                "Using default stream in enqueueV3() may lead to performance issues due to extra waiting",
            )
        if asked.captures and (launch.must_wait or not self._runs or not device.can_capture):
            return self._error(
                "FAILED_EXECUTION", where, "Cuda Runtime (operation not permitted when stream is capturing)"
            )
        if asked.captures and not asked.records:
            return True
        self._log_layers(asked)
        self._watch_inputs(launch, asked)
        if asked.waits:
            device.drain(stream_handle)
        if launch.must_wait:
            device.drain(stream_handle)
            result = self._compute(launch, stream_handle)
            if result is None:
                return self._error("FAILED_EXECUTION", where, "the enqueue failed")
            addresses = self._allocate(launch, result, stream_handle)
            if addresses is None:
                return self._error("FAILED_ALLOCATION", where, "an output allocator gave no memory")
            device.submit(stream_handle, partial(launch.publish, result, addresses))
        else:
            addresses = self._allocate(launch, None, stream_handle)
            if addresses is None:
                return self._error("FAILED_ALLOCATION", where, "an output allocator gave no memory")
            if self._host.faults:
                told = self._facts() | {"thread_id": threading.get_ident(), "stream": stream_handle}
                device.submit(stream_handle, partial(self._work, launch, addresses, told))
                self._runs += 1
            else:
                if not (self._allocators or self._consumed or stream_handle == 0):
                    self._again = launch
                    addresses = launch.addresses
                if not self._enqueue(launch, addresses):
                    return False
        if asked.waits:
            device.drain(stream_handle)
        return True

    def _can_repeat(self, launch: Launch) -> bool:
        """Return whether a run can be enqueued once more as it is: nothing was set since, and nothing watches it."""
        device = self._host.device
        return (
            launch.is_modelled == self._host.clock.is_modelled
            and device.is_stream(launch.stream)
            and not device.is_capturing(launch.stream)
        )

    def _enqueue(self, launch: Launch, addresses: Mapping[str, int]) -> bool:
        """Enqueue a run that nobody watches; False with a logged error where the device refuses."""
        device = self._host.device
        try:
            if not device.start(launch, addresses, launch.stream):
                device.submit(launch.stream, launch.work(addresses))
        except ExecutionError as error:
            self._again = None
            return self._error("FAILED_EXECUTION", "enqueueV3", f"Cuda Runtime ({error})")
        self._runs += 1
        return True

    def execute_v2(self, bindings: Any) -> bool:
        """Run now, with one address for each input and output in the engine's order."""
        names = self._engine._names
        if len(bindings) != len(names):
            return self._error(
                "INVALID_ARGUMENT", "executeV2", f"{len(bindings)} bindings, the engine has {len(names)}"
            )
        addresses = dict(zip(names, (int(b) for b in bindings), strict=True))
        ready = self._ready("executeV2", addresses, None)
        if ready is None:
            return False
        launch, asked = ready
        self._log_layers(asked)
        self._watch_inputs(launch, asked)
        result = self._compute(launch, 0)
        if result is None:
            return self._error("FAILED_EXECUTION", "executeV2", "the run failed")
        launch.publish(result, launch.addresses)
        return True

    def _work(self, launch: Launch, addresses: Mapping[str, int], facts: Mapping[str, Any]) -> None:
        """Do a run that was enqueued, where faults have to see each node of it."""
        result = launch.compute_observed(self._host.faults, facts, False)
        answered = self._visit_execute(launch, result, facts)
        self._previous = {name: np.array(array) for name, array in result.outputs.items()}
        if not answered:
            raise ExecutionError("the run failed")
        launch.publish(result, addresses)

    def _ask(self, missing: list[str], stream: int | None) -> Any:
        """Return what an enqueue will do, after every fault has seen it; None if one refuses it."""
        fields = {
            "synchronous": stream is None,
            "missing": missing,
            "waits": False,
            "debug_sync": self.debug_sync,
            "logs_layers": stream is None and self.debug_sync,
            "event_fires": "read",
            "captures": stream is not None and self._host.device.is_capturing(stream),
            "records": True,
        }
        if not self._host.faults:
            return SimpleNamespace(**fields)
        site, answers = self._host.faults.visit(
            "enqueue",
            str(self._core.settings["precision"]),
            stream=stream or 0,
            thread_id=threading.get_ident(),
            **fields,
            **self._facts(),
        )
        return None if any(answer is False for answer in answers) else site

    def _log_layers(self, asked: Any) -> None:
        if asked.logs_layers:
            for row in self._core.settings["layers"]:
                self._reporter.log("VERBOSE", f"Executing layer {row['name']}")

    def _watch_inputs(self, launch: Launch, asked: Any) -> None:
        """Let the event that was set fire once the inputs have been read."""
        if not self._consumed:
            return
        device, event = self._host.device, self._consumed
        device.reset_event(event)
        if asked.event_fires == "enqueue":
            device.fire(event)
        elif asked.event_fires == "read":
            launch.consumed, launch.event = partial(device.fire, event), event

    def _ready(
        self, where: str, addresses: Mapping[str, int], stream: int | None
    ) -> tuple[Launch, Any] | None:
        """Return what is to be run, and what the enqueue will do; None with a logged error where it cannot be."""
        if self._profile < 0:
            self._error("INVALID_STATE", where, "No optimization profile has been chosen for this context")
            return None
        missing = self._missing_shapes()
        if missing:
            self._error(
                "INVALID_STATE", where, f"Dynamic input shapes are not specified: {', '.join(missing)}"
            )
            return None
        needed = self._core.memory_bytes()
        if self._strategy == "USER_MANAGED" and (not self._user_memory[0] or self._user_memory[1] < needed):
            self._error(
                "INVALID_STATE", where, f"The context has no device memory: {needed} bytes are needed"
            )
            return None
        lacking = [
            name for name in self._core.ports if not addresses.get(name) and name not in self._allocators
        ]
        asked = self._ask(list(lacking), stream)
        if asked is None:
            self._error("FAILED_EXECUTION", where, "the enqueue failed")
            return None
        for name in asked.missing:
            self._error(
                "INVALID_ARGUMENT",
                where,
                f"Neither address or allocator is set for {'input' if self._core.ports[name].is_input else 'output'}"
                f" tensor {name}. Call setTensorAddress before enqueue.",
            )
            return None
        shapes = self._output_shapes()
        open_ended = [name for name, shape in shapes.items() if -1 in shape]
        for name in open_ended:
            if name not in self._allocators:
                self._error(
                    "INVALID_STATE", where, f"The shape of {name} depends on data: set an output allocator"
                )
                return None
        known = dict(addresses)
        for name in lacking:  # a fault let them pass: they get memory that nobody knows of
            size = int(np.prod((shapes | self._shapes)[name], dtype=np.int64))
            known[name] = self._host.device.allocate(size * self._core.ports[name].kind.itemsize)
        return (
            Launch(
                core=self._core,
                device=self._host.device,
                inputs={port.name: (known[port.name], self._shapes[port.name]) for port in self._core.inputs},
                outputs=shapes,
                addresses=known,
                stream=stream or 0,
                is_modelled=self._host.clock.is_modelled,
                held=self._held,
                must_wait=bool(
                    open_ended
                    or self.profiler is not None
                    or self._is_listening()
                    or self._core.plugins  # their enqueue is called now, and may fail
                ),
            ),
            asked,
        )

    def _is_listening(self) -> bool:
        """Return whether somebody is to see debug tensors; faults may show those that are off."""
        if self._listener is None:
            return False
        states = self._debug_states()
        return any(states.values()) or bool(states and self._host.faults)

    def _allocate(self, launch: Launch, result: Result | None, stream: int) -> dict[str, int] | None:
        """Ask the allocators for memory and tell them the shapes."""
        addresses = dict(launch.addresses)
        for name, allocator in self._allocators.items():
            port = self._core.ports[name]
            shape = result.outputs[name].shape if result is not None else launch.outputs[name]
            size = int(np.prod(shape, dtype=np.int64)) * port.kind.itemsize
            current = addresses.get(name, 0)
            give: Callable[..., Any] | None = getattr(allocator, "reallocate_output_async", None)
            if give is not None and self._host.major >= 10:
                address = shielded(give, name, current, size, 256, stream)
            else:
                address = shielded(allocator.reallocate_output, name, current, size, 256)
            if not address and size:
                return None
            addresses[name] = int(address or 0)
            shielded(allocator.notify_shape, name, self._host.dims(shape))
        return addresses

    def _compute(self, launch: Launch, stream: int) -> Result | None:
        """Run now, as the stream would; None if a plugin or a fault says that the enqueue failed."""
        if self._core.plugins:
            launch.foreign = partial(self._plugins.run, stream=stream)
        try:
            return self._computed(launch, stream)
        except PluginFailure as failure:
            self._error("FAILED_EXECUTION", "enqueueV3", str(failure))
            return None

    def _computed(self, launch: Launch, stream: int) -> Result | None:
        timing = self.profiler is not None
        listening = self._is_listening()
        if not self._host.faults and not timing and not listening:
            self._runs += 1
            return launch.compute()
        facts = self._facts() | {"thread_id": threading.get_ident(), "stream": stream}
        result = launch.compute_observed(self._host.faults, facts, timing)
        if listening:
            self._show(result, facts)
        if self._host.faults:
            if not self._visit_execute(launch, result, facts):
                self._runs += 1
                return None
        if timing:
            self._pending = result.layer_times(self._core.settings["layers"])
            self._profiled()
        self._previous = {name: np.array(array) for name, array in result.outputs.items()}
        self._runs += 1
        return result

    def _time_failure(self) -> None:
        """Let faults report times of a run that was not enqueued; without one there is nothing to report."""
        if self.profiler is None or not self._host.faults or self._profile < 0:
            return
        for row in self._core.settings["layers"]:
            told = {"node_name": row["name"], "op_type": row["op"], "failed": True}
            seconds = self._host.faults.timed(row["working"], 0.0, **told, **self._facts())
            if seconds:
                self._pending.append((row["name"], 1e3 * seconds))
        if self._pending and self.enqueue_emits_profile:
            self._emit()

    def _facts(self) -> dict[str, Any]:
        table = self._core.profiles[self._profile]
        first = next(iter(self._shapes.values()), ())
        return {
            "batch": first[0] if first else 1,
            "profile": {name: tuple(tuple(shape) for shape in shapes) for name, shapes in table.items()},
            "engine_id": self._core.number,
            "context_id": self._number,
            "run_index": self._runs,
        }

    def _visit_execute(self, launch: Launch, result: Result, facts: Mapping[str, Any]) -> bool:
        site, answers = self._host.faults.visit(
            "execute",
            str(self._core.settings["precision"]),
            inputs=result.inputs,
            outputs=result.outputs,
            previous_outputs=self._previous,
            marked_outputs=self._core.marked,
            **facts,
        )
        result.outputs = {
            name: np.asanyarray(site.outputs[name], array.dtype).reshape(array.shape)
            for name, array in result.outputs.items()
        }
        return not any(answer is False for answer in answers)

    def _show(self, result: Result, facts: Mapping[str, Any]) -> None:
        """Call the listener for each debug tensor that is on."""
        stored = {
            name: result.debug_stored(name, self._debug_elem(name))
            for name in self._debug_states()
            if name in result.debug
        }
        for name, on in self._debug_states().items():
            if name not in stored:
                continue
            shown, calls = stored[name], int(on)
            if self._host.faults:
                precision = str(self._core.settings["precision"])
                fields = {"name": name, "is_on": on, "values": shown, "others": stored, "calls": calls}
                site, _ = self._host.faults.visit("debug", precision, **fields, **facts)
                shown, calls = np.asarray(site.values, shown.dtype).reshape(shown.shape), int(site.calls)
            for _ in range(calls):
                self._call_listener(name, shown, int(facts["stream"]))

    def _debug_elem(self, name: str) -> int:
        """Return the type that a debug tensor is shown in: its own where it was marked by name, else as it is carried."""
        if name in self._core.settings["debug"]:
            return self._core.graph.tensor(name).elem
        return self._core.stepping.elem(name)

    def _call_listener(self, name: str, shown: NDArray[Any], stream: int) -> None:
        device = self._host.device
        address = device.allocate(max(1, shown.nbytes))
        device.write(address, np.ascontiguousarray(shown))
        shielded(
            self._listener.process_debug_tensor,
            address,
            self._host.enum("TensorLocation")._table["DEVICE"],
            self._host.data_type(self._debug_elem(name)),
            self._host.dims(shown.shape),
            name,
            stream,
        )
