"""Events that TensorRT is given by their handle: of the emulated device, or of CUDA."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pytest_trt.errors import ExecutionError, RuntimeMissingError
from pytest_trt.runtime.load import Runtime

_NOT_READY = 600  # CUDA_ERROR_NOT_READY (CUDA Driver API, CUresult)
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class Event(Protocol):
    """Something that fires once the work before it is done."""

    handle: int

    def has_fired(self) -> bool:
        """Return whether it has."""


class _HostEvent:
    """An event of the emulated device on the CPU."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams
        self.handle: int = streams.create_event()

    def has_fired(self) -> bool:
        """Return whether it has."""
        return bool(self._streams.has_fired(self.handle))

    def close(self) -> None:
        """Destroy it."""
        self._streams.destroy_event(self.handle)


class _CudaEvent:
    """An event of CUDA's driver; PyCUDA's do not tell their handle."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        made = ctypes.c_void_p()
        _demand(driver.cuEventCreate(ctypes.byref(made), _NO_TIMING), "cuEventCreate")
        self.handle: int = made.value or 0

    def has_fired(self) -> bool:
        """Return whether it has."""
        answer = int(self._driver.cuEventQuery(ctypes.c_void_p(self.handle)))
        if answer != _NOT_READY:
            _demand(answer, "cuEventQuery")
        return answer != _NOT_READY

    def close(self) -> None:
        """Destroy it."""
        self._driver.cuEventDestroy_v2(ctypes.c_void_p(self.handle))


def _demand(answer: int, call: str) -> None:
    if answer:
        raise ExecutionError(f"{call} failed with CUDA error {answer}")


@functools.cache
def _load_driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise RuntimeMissingError("CUDA's driver library does not load", why=str(error)) from error


@contextmanager
def event_on(rt: Runtime) -> Iterator[Event]:
    """Give an event of the device that a runtime executes on, for the length of the block; nothing is recorded on it.

    Raises
    ------
    RuntimeMissingError
        The driver library does not load.
    """
    memory = rt.memory
    if memory is None:
        raise RuntimeMissingError(f"{rt.title} only builds here", mend="--trt-runtime=emulator")
    streams = getattr(rt.trt, "emulated_streams", None) if rt.emulated else None
    with memory.active():
        event = _CudaEvent(_load_driver()) if streams is None else _HostEvent(streams)
    try:
        yield event
    finally:
        with memory.active():
            event.close()
