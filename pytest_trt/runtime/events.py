"""Events that TensorRT is given by their handle, and that tell device time: of the emulated device, or of CUDA."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pytest_trt.errors import ExecutionError, RuntimeMissingError
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Stream

_NOT_READY = 600  # CUDA_ERROR_NOT_READY (CUDA Driver API, CUresult)


class Event(Protocol):
    """Something that fires once the work before it is done. Its calls want the device current: `memory.active()`."""

    handle: int

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""

    def has_fired(self) -> bool:
        """Return whether it has; False for one of the emulated device that was never recorded, True with CUDA."""

    def synchronize(self) -> None:
        """Wait until it has fired."""

    def seconds_since(self, earlier: Any) -> float:
        """Return the device time between another event of this kind and this one; both were recorded and have fired."""

    def close(self) -> None:
        """Destroy it."""


class _HostEvent:
    """An event of the emulated device on the CPU."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams
        self.handle: int = streams.create_event()

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""
        self._streams.record_event(self.handle, stream.handle)

    def has_fired(self) -> bool:
        """Return whether it has."""
        return bool(self._streams.has_fired(self.handle))

    def synchronize(self) -> None:
        """Do the work before it."""
        self._streams.wait_for(self.handle)

    def seconds_since(self, earlier: Any) -> float:
        """Return the time between two events."""
        return float(self._streams.seconds_between(earlier.handle, self.handle))

    def close(self) -> None:
        """Destroy it."""
        self._streams.destroy_event(self.handle)


class _CudaEvent:
    """An event of CUDA's driver; PyCUDA's do not tell their handle."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        made = ctypes.c_void_p()
        _demand(driver.cuEventCreate(ctypes.byref(made), 0), "cuEventCreate")
        self.handle: int = made.value or 0
        self._event = ctypes.c_void_p(self.handle)

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""
        _demand(self._driver.cuEventRecord(self._event, ctypes.c_void_p(stream.handle)), "cuEventRecord")

    def has_fired(self) -> bool:
        """Return whether it has."""
        answer = int(self._driver.cuEventQuery(self._event))
        if answer != _NOT_READY:
            _demand(answer, "cuEventQuery")
        return answer != _NOT_READY

    def synchronize(self) -> None:
        """Wait until it has fired."""
        _demand(self._driver.cuEventSynchronize(self._event), "cuEventSynchronize")

    def seconds_since(self, earlier: Any) -> float:
        """Return the time between two events, to half a microsecond (CUDA Driver API, cuEventElapsedTime)."""
        milliseconds = ctypes.c_float()
        answer = self._driver.cuEventElapsedTime(
            ctypes.byref(milliseconds), ctypes.c_void_p(earlier.handle), self._event
        )
        _demand(answer, "cuEventElapsedTime")
        return float(milliseconds.value) / 1e3

    def close(self) -> None:
        """Destroy it."""
        self._driver.cuEventDestroy_v2(self._event)


def _demand(answer: int, call: str) -> None:
    if answer:
        raise ExecutionError(f"{call} failed with CUDA error {answer}")


@functools.cache
def _load_driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise RuntimeMissingError("CUDA's driver library does not load", why=str(error)) from error


def open_event(rt: Runtime) -> Event:
    """Return a new event of the device that a runtime executes on, with timing; `close` it with the device current.

    Raises
    ------
    RuntimeMissingError
        The driver library does not load, or the runtime only builds.
    """
    memory = rt.memory
    if memory is None:
        raise RuntimeMissingError(f"{rt.title} only builds here", mend="--trt-runtime=emulator")
    streams = getattr(rt.trt, "emulated_streams", None) if rt.emulated else None
    with memory.active():
        return _CudaEvent(_load_driver()) if streams is None else _HostEvent(streams)


@contextmanager
def event_on(rt: Runtime) -> Iterator[Event]:
    """Give an event of the device that a runtime executes on, for the length of the block; nothing is recorded on it.

    Raises
    ------
    RuntimeMissingError
        As `open_event`.
    """
    event = open_event(rt)
    try:
        yield event
    finally:
        memory = rt.memory
        assert memory is not None
        with memory.active():
            event.close()
