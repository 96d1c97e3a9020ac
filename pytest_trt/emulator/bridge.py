"""Sessions of ONNX Runtime that each have a CUDA stream of their own, and the events that tie it to the caller's stream.

An execution context takes a lane, which is a session and its stream, and gives it back when it ends: two contexts never run
in one session at the same time, and a new stream of the caller's costs nothing. A run waits, on the device, for what
the caller had enqueued on his stream, and what he enqueues there later waits for the run. The host waits for nothing, but where
ONNX Runtime reads an input on the CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from pytest_trt.errors import ExecutionError

if TYPE_CHECKING:
    from pytest_trt.emulator.launch import Launch
    from pytest_trt.emulator.program import Program

# Lanes of one engine that no context holds are kept up to this number: each has some 70 MB of the GPU.
IDLE_KEPT = 8
_SPECIAL_STREAMS = 3  # 0 the default stream, CU_STREAM_LEGACY 1, CU_STREAM_PER_THREAD 2
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: the default stream is not waited for
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_NOT_READY = 600  # CUDA_ERROR_NOT_READY
_HANDLE_ALIGNMENT = 8  # handles of the driver are pointers


class Driver:
    """The functions of CUDA's driver library that take a stream or an event by its handle, which PyCUDA does not.

    Each wants a context that is current. Names and constants are those of the CUDA driver API ("Stream Management", "Event
    Management").

    Parameters
    ----------
    quick : library
        For calls that only enqueue or ask: they keep the interpreter's lock, which costs more than they do.
    slow : library
        For calls that wait.
    """

    def __init__(self, quick: Any, slow: Any) -> None:
        handle = ctypes.c_void_p
        self._record = _function(quick, "cuEventRecord", handle, handle)
        self._wait = _function(quick, "cuStreamWaitEvent", handle, handle, ctypes.c_uint)
        self._capturing = _function(quick, "cuStreamIsCapturing", handle, handle)
        self._flags = _function(quick, "cuStreamGetFlags", handle, handle)
        self._query = _function(quick, "cuEventQuery", handle)
        self._synchronize = _function(slow, "cuStreamSynchronize", handle)
        self._make_stream = _function(slow, "cuStreamCreate", handle, ctypes.c_uint)
        self._make_event = _function(slow, "cuEventCreate", handle, ctypes.c_uint)
        self._end_stream = _function(slow, "cuStreamDestroy_v2", handle)
        self._end_event = _function(slow, "cuEventDestroy_v2", handle)
        self._shows_pointers = True  # until a handle of the driver's own is none

    def create_stream(self) -> int:
        """Return a new stream that the default stream does not wait for."""
        made = ctypes.c_void_p()
        _demand(self._make_stream(ctypes.addressof(made), _NON_BLOCKING), "cuStreamCreate")
        return self._noted(made.value or 0)

    def create_event(self) -> int:
        """Return a new event without timing."""
        made = ctypes.c_void_p()
        _demand(self._make_event(ctypes.addressof(made), _NO_TIMING), "cuEventCreate")
        return self._noted(made.value or 0)

    def _noted(self, handle: int) -> int:
        self._shows_pointers = self._shows_pointers and _is_pointer(handle)
        return handle

    def _is_plausible(self, handle: int) -> bool:
        """Return whether a handle may be shown to CUDA, which follows it as a pointer and crashes where it is none."""
        return handle > 0 and (not self._shows_pointers or _is_pointer(handle))

    def destroy_stream(self, stream: int) -> None:
        """Destroy a stream."""
        self._end_stream(stream)

    def destroy_event(self, event: int) -> None:
        """Destroy an event."""
        self._end_event(event)

    def record(self, event: int, stream: int) -> None:
        """Let an event fire when the work of a stream so far is done."""
        _demand(self._record(event, stream), "cuEventRecord")

    def wait(self, stream: int, event: int) -> None:
        """Let a stream wait for an event as it was recorded last."""
        _demand(self._wait(stream, event, 0), "cuStreamWaitEvent")

    def synchronize(self, stream: int) -> None:
        """Return when the work of a stream so far is done."""
        _demand(self._synchronize(stream), "cuStreamSynchronize")

    def is_capturing(self, stream: int) -> bool:
        """Return whether a stream is captured, or the default stream may not be used since another one is."""
        status = ctypes.c_int()
        return bool(self._capturing(stream, ctypes.addressof(status))) or status.value != 0

    def is_stream(self, handle: int) -> bool:
        """Return whether a handle is that of a stream."""
        if 0 <= handle < _SPECIAL_STREAMS:
            return True
        flags = ctypes.c_uint()
        return self._is_plausible(handle) and not self._flags(handle, ctypes.addressof(flags))

    def is_event(self, handle: int) -> bool:
        """Return whether a handle is that of an event."""
        return self._is_plausible(handle) and self._query(handle) in (0, _NOT_READY)


def load_library() -> Driver:
    """Return the functions of the driver library of this machine.

    Raises
    ------
    OSError
        There is none.
    """
    name = "libcuda.so.1"
    return Driver(ctypes.PyDLL(name), ctypes.CDLL(name))


def _function(library: Any, name: str, *kinds: Any) -> Callable[..., int]:
    found = getattr(library, name)
    found.argtypes, found.restype = kinds, ctypes.c_int
    return found  # type: ignore[no-any-return]


def _demand(answer: int, call: str) -> None:
    if answer:
        raise ExecutionError(f"{call} failed with CUDA error {answer}")


def _is_pointer(handle: int) -> bool:
    """Return whether there is memory of this process at an address: the kernel refuses to read what is not (EFAULT)."""
    if handle <= 0 or handle % _HANDLE_ALIGNMENT:
        return False
    library = ctypes.CDLL(None)
    library.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
    library.write.restype = ctypes.c_ssize_t
    ends = os.pipe()
    try:
        return int(library.write(ends[1], handle, _HANDLE_ALIGNMENT)) == _HANDLE_ALIGNMENT
    finally:
        for end in ends:
            os.close(end)


def _copies_when_bound(session: Any) -> bool:
    """Return whether ONNX Runtime reads an input when it is bound, and not when it runs.

    It does where the first node that takes the input is one that its CUDA provider leaves to the CPU, such as a ConvTranspose
    whose pads differ: `IOBinding.bind_input` copies it there. Versions before 1.23 do not tell, and are taken to.
    """
    places = getattr(session, "get_input_memory_infos", None)
    if places is None:
        return True
    names = [str(place.name).lower() for place in places()]
    return any("cpu" in name or "pinned" in name for name in names)


class Lane:
    """A session with a stream and two events; for one context at a time.

    Parameters
    ----------
    driver : Driver
    current : callable
        Gives a block in which the GPU's context is current.
    make : callable
        Makes a session on a stream.
    ordinal : int
        Of the GPU.
    """

    def __init__(
        self,
        driver: Driver,
        current: Callable[[], AbstractContextManager[Any]],
        make: Callable[[int], Any],
        ordinal: int,
    ) -> None:
        self._driver, self._current, self._ordinal = driver, current, ordinal
        self.stream = 0
        self._events: list[int] = []
        self._session: Any = None
        self._binding: Any = None
        self._bound: weakref.ref[Launch] | None = None  # weak, since a launch holds the seat that holds this
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        with current():
            self.stream = driver.create_stream()
            self._events = [driver.create_event() for _ in range(2)]
            self._session = make(self.stream)
        self._copies_when_bound = _copies_when_bound(self._session)

    def run(self, launch: Launch, addresses: Mapping[str, int], handle: int) -> bool:
        """Enqueue a run between what is on a stream and what comes there later; False if ONNX Runtime cannot do it.

        The GPU's context is current. A run that could not be enqueued has left no work behind.

        Raises
        ------
        ExecutionError
            CUDA refuses, for instance a stream that is destroyed.
        """
        driver, (before, after) = self._driver, self._events
        if self._copies_when_bound:
            driver.synchronize(handle)
            self.forget()
        driver.record(before, handle)
        driver.wait(self.stream, before)
        try:
            self._session.run_with_iobinding(self._bind(launch, addresses), self._options)
        except Exception:  # ONNX Runtime's errors have no common class
            self.forget()
            driver.synchronize(self.stream)
            return False
        if launch.event:
            driver.record(launch.event, self.stream)
        driver.record(after, self.stream)
        driver.wait(handle, after)
        return True

    def _bind(self, launch: Launch, addresses: Mapping[str, int]) -> Any:
        """Return the buffers of a run as ONNX Runtime wants them; those of the last run where they are the same."""
        is_own = addresses is launch.addresses
        if is_own and self._bound is not None and self._bound() is launch:
            return self._binding
        self.forget()
        binding = self._session.io_binding()
        ports = launch.core.ports
        for name, (address, shape) in launch.inputs.items():
            binding.bind_input(name, "cuda", self._ordinal, ports[name].kind.type, list(shape), address)
        for name, shape in launch.outputs.items():
            kind = ports[name].kind.type
            binding.bind_output(name, "cuda", self._ordinal, kind, list(shape), addresses[name])
        self._binding, self._bound = binding, weakref.ref(launch) if is_own else None
        return binding

    def forget(self) -> None:
        """Let go of the run before."""
        self._binding = self._bound = None

    def close(self) -> None:
        """Wait for the stream, and give everything back."""
        if not self.stream:
            return
        stream, self.stream = self.stream, 0
        with self._current():
            with suppress(ExecutionError):
                self._driver.synchronize(stream)
            self.forget()
            self._session = None
            for event in self._events:
                self._driver.destroy_event(event)
            self._driver.destroy_stream(stream)

    def __del__(self) -> None:
        with suppress(Exception):
            if not sys.is_finalizing():  # CUDA's context may be gone by then, and frees all by itself
                self.close()


class Lanes:
    """The lanes of one program that no context holds.

    Parameters
    ----------
    make : callable
        Makes one more.
    """

    def __init__(self, make: Callable[[], Lane]) -> None:
        self._make = make
        self._idle: deque[Lane] = (
            deque()
        )  # without a lock: the end of a context may come in the middle of anything

    def take(self) -> Lane:
        """Return a lane that nobody else has."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give_back(self, lane: Lane) -> None:
        """Keep a lane for the next context; too many are closed."""
        lane.forget()
        self._idle.append(lane)
        while len(self._idle) > IDLE_KEPT:
            with suppress(IndexError):
                self._idle.popleft().close()


class Seat:
    """A lane for as long as this object lives: what a context keeps.

    Parameters
    ----------
    program : Program
        That the lane is of.
    lanes : Lanes
        Where it is taken from and goes back to.
    """

    def __init__(self, program: Program, lanes: Lanes) -> None:
        self.program = program
        self.lane = lanes.take()
        weakref.finalize(self, lanes.give_back, self.lane).atexit = False
