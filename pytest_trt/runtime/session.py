"""One engine with one context, buffers and a stream: arrays in, arrays out, everything checked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from pytest_trt.runtime.memory import ALIGNMENT, Array, Buffer, Memory, Stream
from pytest_trt.runtime.plan import Plan

POISON = 0xFF  # All bits set is a NaN in every IEEE type and -1 in every integer type.
CANARY = 0xA5
CANARY_BYTES = 64
FRONT_BYTES = ALIGNMENT  # guard bytes before an output; its address stays aligned
_FRONT, _BACK = bytes([CANARY]) * FRONT_BYTES, bytes([CANARY]) * CANARY_BYTES
_NOT_ENQUEUED = "TensorRT did not enqueue the engine (execute_async_v3 returned False)"


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
    with rt.logger.call() as lines, rt.active():
        runtime = rt.trt.Runtime(rt.logger.raw)
        engine = None if runtime is None else runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise _failed(rt, f"{rt.title} did not load the plan of {len(data)} bytes", lines)
    return engine


def _failed(rt: Runtime, what: str, lines: list[LogLine]) -> ExecutionError:
    words = errors_in(lines) or (f"{rt.title} logged no error",)
    return ExecutionError(what, why=words) if rt.memory is None else rt.memory.failure(what, words)


class _Alone:
    """A block that one thread at a time may be in: one context must not be used by two at once."""

    __slots__ = ("_busy", "_owner")

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._owner = 0

    def __enter__(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                f"thread {threading.get_ident()} uses a context that thread {self._owner} is using",
                why="a context holds the state of one run; TensorRT's answer would be undefined",
                mend="one session a thread, on one shared engine",
            )
        self._owner = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        self._owner = 0
        self._busy.release()


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
        self._alone = _Alone()
        self._buffers: dict[str, Buffer] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, OutputAllocator] = {}
        self._guarded: dict[
            str, int
        ] = {}  # bytes between the guards of an output that were seen unharmed last
        self._host: dict[str, Array] = {}
        # The shapes of inputs and outputs that the context has, with all addresses, from the last run; None where somebody else
        # may have changed them, or where they have to be given for each run.
        self._settled: tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]] | None = None
        self._is_handed_out = False
        self._closed = self._running = False
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
        self._context: Any = None
        try:
            self._context = self._make_context()
        except BaseException:
            self.close()
            raise

    @property
    def context(self) -> Any:
        """The raw IExecutionContext; from now on every run gives it all shapes and addresses anew."""
        self._is_handed_out, self._settled = True, None
        return self._context

    @context.setter
    def context(self, context: Any) -> None:
        self._is_handed_out, self._settled = True, None
        self._context = context

    def _make_context(self) -> Any:
        with self.rt.logger.call() as lines, self.memory.active():
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
                self.memory.settle(self.stream)
        return context

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Layers of the engine as its inspector tells them."""
        with self.memory.active():
            return engine_layers(self.rt.trt, self.engine)

    def run(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        poison: int = POISON,
        synchronous: bool = False,
        stream: Stream | None = None,
    ) -> dict[str, Array]:
        """Return the outputs for one set of inputs, as arrays of their own.

        Parameters
        ----------
        inputs : mapping of str to array-like
        poison : int
            The byte that fills the outputs before the run.
        synchronous : bool
            Run with `execute_v2` instead of `execute_async_v3`.
        stream : Stream, optional
            Where copies and run are enqueued; default: the session's own.

        Raises
        ------
        InputError
            A name, shape or dtype is wrong, or an input is missing.
        ProfileError
            A shape lies outside the optimization profile.
        ExecutionError
            TensorRT reported a failure, or wrote before or behind an output.
        UsageError
            Another thread is using this context, the session is closed, or outputs of a run before have not been taken; or a
            synchronous run, or one on another stream, of an engine whose output shapes depend on values.
        """
        with self._alone, self.rt.logger.call() as lines, self.memory.active():
            shapes = self._start(inputs, poison, synchronous, stream, lines)
            return self._finish(shapes, stream or self.stream, lines)

    def enqueue(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        poison: int = POISON,
        stream: Stream | None = None,
    ) -> Callable[[], dict[str, Array]]:
        """Return what waits for a run and gives its outputs; the run is enqueued, and nobody has waited for it yet.

        Parameters and errors are those of `run`. The outputs are to be taken before the session runs again.
        """
        with self._alone, self.rt.logger.call() as lines, self.memory.active():
            shapes = self._start(inputs, poison, False, stream, lines)
            used = stream or self.stream
            self._running = True

        def take() -> dict[str, Array]:
            self._running = False
            with self._alone, self.rt.logger.call() as later, self.memory.active():
                return self._finish(shapes, used, later)

        return take

    def launch(self, runs: int = 1) -> None:
        """Enqueue again, on the session's stream, with the inputs, buffers and addresses of the last run; for timing.

        Nothing is copied, poisoned or waited for: that is left to the caller. Each return code is checked.

        Raises
        ------
        UsageError
            There has been no run, or another thread uses the session.
        ExecutionError
            TensorRT did not enqueue the engine.
        """
        if not self._addresses or self._closed:
            raise UsageError("there is nothing to launch again", mend="run the session once before")
        enqueue, handle = self._context.execute_async_v3, self.stream.handle
        with self._alone, self.rt.logger.call() as lines, self.memory.active():
            for _ in range(runs):
                if not enqueue(handle):
                    raise _failed(self.rt, _NOT_ENQUEUED, lines)

    def overwrite_inputs(self, inputs: Mapping[str, npt.ArrayLike]) -> None:
        """Queue a copy into the input buffers of the last run, on the session's stream and behind what is there.

        Raises
        ------
        InputError
            An input is missing, or there has been no run with inputs as large.
        """
        with self._alone, self.memory.active():
            self._copy_inputs(check_inputs(self.inputs, inputs))

    def read_inputs(self) -> dict[str, Array]:
        """Return what lies in the input buffers of the last run, as bytes; inputs in host memory are not among them."""
        with self._alone, self.memory.active():
            return {
                name: self.memory.download(
                    self._buffers[name], (self._buffers[name].nbytes,), np.uint8, self.stream
                )
                for name in self.inputs
                if name in self._buffers
            }

    def replay(
        self, launch: Callable[[], None], inputs: Mapping[str, npt.ArrayLike], *, poison: int = POISON
    ) -> dict[str, Array]:
        """Return the outputs of a run that something else than the context starts, such as a captured CUDA graph.

        Parameters
        ----------
        launch : callable
            Starts the run on the session's stream, on the buffers of the session's last run.
        inputs : mapping of str to array-like
            Of the shapes of that run.
        poison : int
            The byte that fills the outputs before.
        """
        with self._alone, self.rt.logger.call() as lines, self.memory.active():
            self._copy_inputs(check_inputs(self.inputs, inputs))
            shapes = self._output_shapes(lines)
            self._give_outputs(shapes, poison, self.stream, lines)
            launch()
            return self._finish(shapes, self.stream, lines)

    def _copy_inputs(self, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            stored = self.inputs[name].to_engine(array)
            held = self._buffers.get(name)
            if held is None or held.nbytes < stored.nbytes:
                raise InputError(
                    f"there is no buffer of {stored.nbytes} bytes for input {name!r}",
                    mend="run the session once before",
                )
            self.memory.upload(held, stored, self.stream)

    def _start(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        poison: int,
        synchronous: bool,
        stream: Stream | None,
        lines: list[LogLine],
    ) -> dict[str, tuple[int, ...]]:
        """Give inputs and outputs and enqueue; return the shapes of the outputs."""
        if self._closed:
            raise UsageError("this session is closed", mend="make a new one")
        if self._running:
            raise UsageError(
                "the outputs of the run before have not been taken",
                why="this run would overwrite its buffers",
                mend="call what `enqueue` returned, or use one session for each run",
            )
        stream = stream or self.stream
        arrays = check_inputs(self.inputs, inputs)
        given = {name: array.shape for name, array in arrays.items()}
        settled, self._settled = self._settled, None
        if settled is not None and settled[0] == given:
            shapes = settled[1]
            for name, array in arrays.items():
                self.memory.upload(self._buffers[name], self.inputs[name].to_engine(array), stream)
            for name, shape in shapes.items():
                self._poison(name, self.outputs[name].nbytes(shape), poison, stream)
        else:
            self._give_inputs(arrays, stream, lines)
            shapes = self._output_shapes(lines)
            self._give_outputs(shapes, poison, stream, lines)
        if not (self._is_handed_out or self._host or self._allocators):
            self._settled = given, shapes
        if synchronous:
            self._run_now(shapes, stream, lines)
        else:
            self._check(self._context.execute_async_v3(stream.handle), _NOT_ENQUEUED, lines)
        return shapes

    def _finish(
        self, shapes: Mapping[str, tuple[int, ...]], stream: Stream, lines: list[LogLine]
    ) -> dict[str, Array]:
        outputs = self._take_outputs(shapes, stream)
        failed = errors_in(lines) if lines else ()
        if failed:
            raise self.memory.failure("TensorRT logged an error while the engine ran", failed)
        return outputs

    def _run_now(self, shapes: Mapping[str, tuple[int, ...]], stream: Stream, lines: list[LogLine]) -> None:
        open_ended = [name for name, shape in shapes.items() if -1 in shape]
        if open_ended:
            raise UsageError(
                f"execute_v2 cannot run an engine whose output {open_ended[0]!r} has a shape that depends on values",
                mend="run it with execute_async_v3",
            )
        self.memory.settle(stream)  # execute_v2 knows nothing of the stream that the inputs come on
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self._check(
            self._context.execute_v2([self._addresses[name] for name in names]),
            "TensorRT did not run the engine (execute_v2 returned False)",
            lines,
        )

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

    def _give_inputs(self, arrays: Mapping[str, Array], stream: Stream, lines: list[LogLine]) -> None:
        for name, array in arrays.items():
            info = self.inputs[name]
            self._check(
                self._context.set_input_shape(name, array.shape),
                f"the context did not take shape {array.shape} for input {name!r}",
                lines,
            )
            if info.on_host:
                self._host[name] = array.copy()
                address = self._host[name].ctypes.data
            else:
                array = info.to_engine(array)
                buffer = self._buffer(name, array.nbytes)
                self.memory.upload(buffer, array, stream)
                address = buffer.address
            self._address(name, address, lines)

    def _address(self, name: str, address: int, lines: list[LogLine]) -> None:
        self._check(
            self._context.set_tensor_address(name, address),
            f"the context did not take an address for {name!r}",
            lines,
        )
        self._addresses[name] = address

    def _output_shapes(self, lines: list[LogLine]) -> dict[str, tuple[int, ...]]:
        lacking = list(self._context.infer_shapes())
        if lacking:
            raise _failed(self.rt, f"shapes or values are missing for {', '.join(map(repr, lacking))}", lines)
        return {name: tuple(int(n) for n in self._context.get_tensor_shape(name)) for name in self.outputs}

    def _give_outputs(
        self, shapes: Mapping[str, tuple[int, ...]], poison: int, stream: Stream, lines: list[LogLine]
    ) -> None:
        for name, shape in shapes.items():
            info = self.outputs[name]
            if info.on_host:
                raise InputError(f"output {name!r} lives in host memory, which is not supported")
            if -1 in shape:
                if stream is not self.stream:
                    raise UsageError(
                        f"output {name!r}, whose shape depends on values, comes on the session's own stream only"
                    )
                allocator = self._allocators.get(name)
                if allocator is None:
                    allocator = self._allocators[name] = OutputAllocator(
                        self.rt.trt, self.memory, self.stream
                    )
                    self._check(
                        self._context.set_output_allocator(name, allocator.raw),
                        f"the context did not take an output allocator for {name!r}",
                        lines,
                    )
                allocator.reset()
                continue
            self._address(name, self._poison(name, info.nbytes(shape), poison, stream), lines)

    def _poison(self, name: str, nbytes: int, poison: int, stream: Stream) -> int:
        """Fill the memory of an output, lay guards around it, and return its address."""
        end = FRONT_BYTES + nbytes
        buffer = self._buffer(name, end + CANARY_BYTES)
        # Guards stay from run to run: what was read unharmed needs no second writing, and a write between two runs
        # shows too. They are laid again where the output has another size, and after a run that was not read to its end.
        if self._guarded.pop(name, None) != nbytes:
            self.memory.poison(buffer, CANARY, stream, 0, FRONT_BYTES)
            self.memory.poison(buffer, CANARY, stream, end, end + CANARY_BYTES)
        self.memory.poison(buffer, poison, stream, FRONT_BYTES, end)
        return buffer.address + FRONT_BYTES

    def _take_outputs(self, shapes: Mapping[str, tuple[int, ...]], stream: Stream) -> dict[str, Array]:
        sizes = {name: self.outputs[name].nbytes(shape) for name, shape in shapes.items() if -1 not in shape}
        pieces = [
            (self._buffers[name], FRONT_BYTES + nbytes + CANARY_BYTES) for name, nbytes in sizes.items()
        ]
        taken: dict[str, Array] = {}
        with self.memory.read(pieces, stream) as arrays:
            for (name, nbytes), whole in zip(sizes.items(), arrays, strict=True):
                _check_guards(name, whole, nbytes)
                self._guarded[name] = nbytes
                info = self.outputs[name]
                # A copy of its own: the memory is read into again, and views of wider types must be aligned.
                body = whole[FRONT_BYTES : FRONT_BYTES + nbytes].copy()
                taken[name] = info.from_engine(body.view(info.stored).reshape(shapes[name]))
        return {
            name: taken[name]
            if name in taken
            else self.outputs[name].from_engine(self._allocators[name].take(name, self.outputs[name].stored))
            for name in shapes
        }

    def close(self) -> None:
        """Let go of context, engine, buffers and stream in the order that TensorRT needs; on a lost device too."""
        if self._closed:
            return
        self._closed = True
        with self.memory.active():
            with suppress(ExecutionError):  # What was queued and failed has been told by `run`.
                self.memory.settle(self.stream)
            self._context = None
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


def _check_guards(name: str, whole: Array, nbytes: int) -> None:
    """Raise `ExecutionError` where the bytes around an output have changed."""
    end = FRONT_BYTES + nbytes
    if whole[:FRONT_BYTES].tobytes() == _FRONT and whole[end : end + CANARY_BYTES].tobytes() == _BACK:
        return
    for guard, words, start in (
        (whole[:FRONT_BYTES], "before the start", -FRONT_BYTES),
        (whole[end:], "behind the end", nbytes),
    ):
        touched = np.flatnonzero(guard != CANARY)
        if touched.size:
            raise ExecutionError(
                f"the engine wrote {words} of output {name!r}",
                why=f"{touched.size} of {guard.size} guard bytes changed, the first at byte "
                f"{start + int(touched[0])} of {nbytes}",
            )
