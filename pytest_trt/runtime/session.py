"""One engine with one context, buffers and a stream: arrays in, arrays out, everything checked."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import ExecutionError, InputError, RuntimeMissingError, UsageError
from pytest_trt.records import LayerInfo, LogLine
from pytest_trt.runtime.allocator import OutputAllocator
from pytest_trt.runtime.binding import TensorInfo, check_inputs, tensor_infos
from pytest_trt.runtime.inspect import engine_layers
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.memory import Array, Buffer, Memory, Stream
from pytest_trt.runtime.plan import Plan

POISON = 0xFF  # All bits set is a NaN in every IEEE type and -1 in every integer type.
CANARY = 0xA5
CANARY_BYTES = 64


def load_engine(rt: Runtime, plan: Plan | bytes) -> Any:
    """Return the raw engine of a plan.

    Raises
    ------
    RuntimeMissingError
        This runtime only builds.
    ExecutionError
        TensorRT did not load the plan (another version or GPU, cut or damaged); `why` holds its words.
    """
    if not rt.can_execute:
        raise RuntimeMissingError(
            f"{rt.title} only builds here",
            why="no usable GPU to load an engine on",
            mend="--trt-runtime=emulator, or a machine with a GPU that it executes on",
        )
    data = plan.data if isinstance(plan, Plan) else plan
    with rt.logger.collect() as lines, rt.active():
        runtime = rt.trt.Runtime(rt.logger.raw)
        engine = None if runtime is None else runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise _failed(rt, f"{rt.title} did not load the plan of {len(data)} bytes", lines)
    return engine


def _failed(rt: Runtime, what: str, lines: list[LogLine]) -> ExecutionError:
    return ExecutionError(what, why=errors_in(lines) or (f"{rt.title} logged no error",))


class Session:
    """An engine, a context of its own, buffers and a stream.

    Parameters
    ----------
    rt : Runtime
        Who executes.
    plan_or_engine : Plan, bytes or ICudaEngine
        What to run. Several sessions on one engine are several contexts.
    profile_index : int
        Optimization profile of the context.

    Attributes
    ----------
    engine, context : ICudaEngine, IExecutionContext
        The raw objects.
    stream : Stream
        Its stream.
    inputs, outputs : dict of str to TensorInfo
        dtype, shape (-1 where dynamic), and for inputs the profile.

    Raises
    ------
    ExecutionError, RuntimeMissingError
        As `load_engine`; or the context was not made.
    InputError
        The engine has an input or output of a type that numpy lacks.
    """

    def __init__(self, rt: Runtime, plan_or_engine: Plan | bytes | Any, *, profile_index: int = 0) -> None:
        self.rt = rt
        self._busy = threading.Lock()
        self._owner = 0
        self._buffers: dict[str, Buffer] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, OutputAllocator] = {}
        self._host: dict[str, Array] = {}
        self._closed = False
        self.profile_index = profile_index
        is_plan = isinstance(plan_or_engine, (Plan, bytes, bytearray, memoryview))
        self.engine: Any = load_engine(rt, plan_or_engine) if is_plan else plan_or_engine
        if not rt.can_execute or rt.memory is None:
            raise RuntimeMissingError(f"{rt.title} only builds here", mend="--trt-runtime=emulator")
        self.memory: Memory = rt.memory
        infos = tensor_infos(rt.trt, self.engine, profile_index)
        self.inputs: dict[str, TensorInfo] = {info.name: info for info in infos if info.is_input}
        self.outputs: dict[str, TensorInfo] = {info.name: info for info in infos if not info.is_input}
        self.stream: Stream = self.memory.create_stream()
        self.context: Any = None
        try:
            self.context = self._make_context()
        except BaseException:
            self.close()
            raise

    def _make_context(self) -> Any:
        with self.rt.logger.collect() as lines, self.memory.active():
            context = self.engine.create_execution_context()
            if context is None:
                raise _failed(self.rt, "the engine made no execution context", lines)
            # The first context of an engine has profile 0 by itself; a later one has none (-1) up to 8.6.
            if int(context.active_optimization_profile) != self.profile_index:
                self._check(
                    context.set_optimization_profile_async(self.profile_index, self.stream.handle),
                    f"the context did not take optimization profile {self.profile_index}",
                    lines,
                )
                self.stream.synchronize()
        return context

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Layers of the engine as its inspector tells them."""
        with self.memory.active():
            return engine_layers(self.rt.trt, self.engine)

    def run(
        self, inputs: Mapping[str, npt.ArrayLike], *, poison: int = POISON, synchronous: bool = False
    ) -> dict[str, Array]:
        """Return the outputs for one set of inputs, as arrays of their own.

        Parameters
        ----------
        inputs : mapping of str to array-like
        poison : int
            The byte that fills the outputs before the run.
        synchronous : bool
            Run with `execute_v2` instead of `execute_async_v3`.

        Raises
        ------
        InputError
            A name, shape or dtype is wrong, or an input is missing.
        ProfileError
            A shape lies outside the optimization profile.
        ExecutionError
            TensorRT reported a failure, or wrote behind the end of an output.
        UsageError
            Another thread is using this context, or the session is closed; or a synchronous run of an engine whose output
            shapes depend on values.
        """
        with self._alone():
            if self._closed:
                raise UsageError("this session is closed", mend="make a new one")
            arrays = check_inputs(self.inputs, inputs)
            with self.rt.logger.collect() as lines, self.memory.active():
                self._give_inputs(arrays, lines)
                shapes = self._output_shapes(lines)
                self._give_outputs(shapes, poison, lines)
                if synchronous:
                    self._run_now(shapes, lines)
                else:
                    self._check(
                        self.context.execute_async_v3(self.stream.handle),
                        "TensorRT did not enqueue the engine (execute_async_v3 returned False)",
                        lines,
                    )
                outputs = self._take_outputs(shapes)
                failed = errors_in(lines)
                if failed:
                    raise ExecutionError("TensorRT logged an error while the engine ran", why=failed)
            return outputs

    def _run_now(self, shapes: Mapping[str, tuple[int, ...]], lines: list[LogLine]) -> None:
        open_ended = [name for name, shape in shapes.items() if -1 in shape]
        if open_ended:
            raise UsageError(
                f"execute_v2 cannot run an engine whose output {open_ended[0]!r} has a shape that depends on values",
                mend="run it with execute_async_v3",
            )
        self.stream.synchronize()  # execute_v2 knows nothing of the stream that the inputs come on
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self._check(
            self.context.execute_v2([self._addresses[name] for name in names]),
            "TensorRT did not run the engine (execute_v2 returned False)",
            lines,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread: one context must not be used by two at once."""
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                f"thread {threading.get_ident()} uses a context that thread {self._owner} is using",
                why="a context holds the state of one run; TensorRT's answer would be undefined",
                mend="one session a thread, on one shared engine",
            )
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = 0
            self._busy.release()

    def _check(self, ok: Any, what: str, lines: list[LogLine]) -> None:
        if ok is False or ok is None:
            raise _failed(self.rt, what, lines)

    def _buffer(self, name: str, nbytes: int) -> Buffer:
        held = self._buffers.get(name)
        if held is not None and held.nbytes >= nbytes:
            return held
        if held is not None:
            self.memory.free(self._buffers.pop(name))
        made = self._buffers[name] = self.memory.alloc(nbytes)
        return made

    def _give_inputs(self, arrays: Mapping[str, Array], lines: list[LogLine]) -> None:
        for name, array in arrays.items():
            info = self.inputs[name]
            self._check(
                self.context.set_input_shape(name, array.shape),
                f"the context did not take shape {array.shape} for input {name!r}",
                lines,
            )
            if info.on_host:
                self._host[name] = array.copy()
                address = self._host[name].ctypes.data
            else:
                array = info.to_engine(array)
                buffer = self._buffer(name, array.nbytes)
                self.memory.upload(buffer, array, self.stream)
                address = buffer.address
            self._address(name, address, lines)

    def _address(self, name: str, address: int, lines: list[LogLine]) -> None:
        self._check(
            self.context.set_tensor_address(name, address),
            f"the context did not take an address for {name!r}",
            lines,
        )
        self._addresses[name] = address

    def _output_shapes(self, lines: list[LogLine]) -> dict[str, tuple[int, ...]]:
        lacking = list(self.context.infer_shapes())
        if lacking:
            raise _failed(self.rt, f"shapes or values are missing for {', '.join(map(repr, lacking))}", lines)
        return {name: tuple(int(n) for n in self.context.get_tensor_shape(name)) for name in self.outputs}

    def _give_outputs(self, shapes: Mapping[str, tuple[int, ...]], poison: int, lines: list[LogLine]) -> None:
        for name, shape in shapes.items():
            info = self.outputs[name]
            if info.on_host:
                raise InputError(f"output {name!r} lives in host memory, which is not supported")
            if -1 in shape:
                allocator = self._allocators.get(name)
                if allocator is None:
                    allocator = self._allocators[name] = OutputAllocator(
                        self.rt.trt, self.memory, self.stream
                    )
                    self._check(
                        self.context.set_output_allocator(name, allocator.raw),
                        f"the context did not take an output allocator for {name!r}",
                        lines,
                    )
                allocator.reset()
                continue
            nbytes = info.nbytes(shape)
            buffer = self._buffer(name, nbytes + CANARY_BYTES)
            self.memory.poison(buffer, poison, self.stream, 0, nbytes)
            self.memory.poison(buffer, CANARY, self.stream, nbytes, nbytes + CANARY_BYTES)
            self._address(name, buffer.address, lines)

    def _take_outputs(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        outputs: dict[str, Array] = {}
        for name, shape in shapes.items():
            info = self.outputs[name]
            if -1 in shape:
                self.stream.synchronize()
                outputs[name] = info.from_engine(self._allocators[name].take(name, info.stored))
                continue
            nbytes = info.nbytes(shape)
            whole = self.memory.download(self._buffers[name], (nbytes + CANARY_BYTES,), np.uint8, self.stream)
            touched = np.flatnonzero(whole[nbytes:] != CANARY)
            if touched.size:
                raise ExecutionError(
                    f"the engine wrote behind the end of output {name!r}",
                    why=f"{touched.size} of {CANARY_BYTES} guard bytes changed, the first at byte "
                    f"{nbytes + int(touched[0])} of {nbytes}",
                )
            outputs[name] = info.from_engine(whole[:nbytes].view(info.stored).reshape(shape))
        return outputs

    def close(self) -> None:
        """Let go of context, engine, buffers and stream in the order that TensorRT needs."""
        if self._closed:
            return
        self._closed = True
        with self.memory.active():
            with suppress(ExecutionError):  # What was queued and failed has been told by `run`.
                self.stream.synchronize()
            self.context = None
            self.engine = None
            for allocator in self._allocators.values():
                allocator.close()
            for buffer in self._buffers.values():
                self.memory.free(buffer)
            self._allocators.clear()
            self._buffers.clear()
            self._host.clear()
            self.memory.destroy_stream(self.stream)
            del self.stream

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
