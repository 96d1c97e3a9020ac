"""Execution contexts: enqueueing and running; strict where TensorRT is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from pytest_trt.emulator.context_state import ContextState
from pytest_trt.emulator.launch import Launch, Result
from pytest_trt.emulator.reporting import shielded


class ExecutionContext(ContextState):
    """A context of an engine; for one thread at a time."""

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Enqueue a run; False with a logged error if it cannot be run. Nothing is done before the stream is."""
        where = "enqueueV3"
        if not self._host.device.is_stream(stream_handle):
            return self._error(
                "INVALID_ARGUMENT", where, f"{stream_handle:#x} is not a stream of this device"
            )
        launch = self._ready(where, self._addresses)
        if launch is None:
            self._time_failure()
            return False
        if stream_handle == 0:
            self._reporter.log(
                "WARNING",
                "Using default stream in enqueueV3() may lead to performance issues due to extra waiting",
            )
        if launch.must_wait:
            self._host.device.drain(stream_handle)
            result = self._compute(launch, stream_handle)
            if result is None:
                return self._error("FAILED_EXECUTION", where, "the enqueue failed")
            addresses = self._allocate(launch, result, stream_handle)
            if addresses is None:
                return self._error("FAILED_ALLOCATION", where, "an output allocator gave no memory")
            self._host.device.submit(stream_handle, partial(launch.publish, result, addresses))
            return True
        addresses = self._allocate(launch, None, stream_handle)
        if addresses is None:
            return self._error("FAILED_ALLOCATION", where, "an output allocator gave no memory")
        if not self._host.device.start(launch, addresses, stream_handle):
            self._host.device.submit(stream_handle, launch.work(addresses))
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
        launch = self._ready("executeV2", addresses)
        if launch is None:
            return False
        if self.debug_sync:
            for row in self._core.settings["layers"]:
                self._reporter.log("VERBOSE", f"Executing layer {row['name']}")
        result = self._compute(launch, 0)
        if result is None:
            return self._error("FAILED_EXECUTION", "executeV2", "the run failed")
        launch.publish(result, addresses)
        return True

    def _ready(self, where: str, addresses: Mapping[str, int]) -> Launch | None:
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
        for port in self._core.ports.values():
            if not addresses.get(port.name) and port.name not in self._allocators:
                self._error(
                    "INVALID_ARGUMENT",
                    where,
                    f"Neither address or allocator is set for {'input' if port.is_input else 'output'} tensor"
                    f" {port.name}. Call setTensorAddress before enqueue.",
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
        return Launch(
            core=self._core,
            device=self._host.device,
            inputs={port.name: (addresses[port.name], self._shapes[port.name]) for port in self._core.inputs},
            outputs=shapes,
            addresses=dict(addresses),
            must_wait=bool(
                self._host.faults
                or open_ended
                or self.profiler is not None
                or (self._listener is not None and any(self._debug.values()))
            ),
        )

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
        """Run now, as the stream would; None if a fault says that the enqueue failed."""
        timing = self.profiler is not None
        listening = self._listener is not None and any(self._debug.values())
        if not self._host.faults and not timing and not listening:
            self._runs += 1
            return launch.compute()
        started = time.perf_counter()
        result = launch.compute_observed(self._host.faults, self._facts(), timing)
        if listening:
            self._show(result, stream)
        if self._host.faults:
            result.total_seconds = time.perf_counter() - started
            if not self._visit_execute(launch, result, stream):
                self._runs += 1
                return None
        if timing:
            self._pending = result.layer_times(self._core.settings["layers"])
            if self.enqueue_emits_profile:
                self._emit()
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

    def _visit_execute(self, launch: Launch, result: Result, stream: int) -> bool:
        site, answers = self._host.faults.visit(
            "execute",
            str(self._core.settings["precision"]),
            inputs=result.inputs,
            outputs=result.outputs,
            previous_outputs=self._previous,
            thread_id=threading.get_ident(),
            stream=stream,
            **self._facts(),
        )
        result.outputs = {
            name: np.asanyarray(site.outputs[name], array.dtype).reshape(array.shape)
            for name, array in result.outputs.items()
        }
        return not any(answer is False for answer in answers)

    def _show(self, result: Result, stream: int) -> None:
        device = self._host.device
        for name, on in self._debug.items():
            array = result.debug.get(name)
            if not on or array is None:
                continue
            elem = self._core.stepping.elem(name)
            stored = result.debug_stored(name, elem)
            address = device.allocate(max(1, stored.nbytes))
            device.write(address, np.ascontiguousarray(stored))
            location = self._host.enum("TensorLocation")._table["DEVICE"]
            shielded(
                self._listener.process_debug_tensor,
                address,
                location,
                self._host.data_type(elem),
                self._host.dims(array.shape),
                name,
                stream,
            )
