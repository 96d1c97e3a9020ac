"""Events that TensorRT is given by their handle, and that tell device time: of the emulated device, or of CUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.runtime import cuda_errors
from pytest_trt.runtime.driver import load_library
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Memory, Stream

_NOT_READY = 600  # CUDA_ERROR_NOT_READY (CUDA Driver API, CUresult)


class Event(Protocol):
    """Something that fires once the work before it is done. Its calls want the device current: `memory.active()`."""

    handle: int

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""

    def hold(self, stream: Stream) -> None:
        """Let what is queued on a stream from now on wait for it; nobody waits on the host."""

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

    def __init__(self, streams: Any, memory: Memory) -> None:
        self._streams, self._memory = streams, memory
        self.handle: int = streams.create_event()
        memory.ledger.add("events", self)

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""
        self._streams.record_event(self.handle, stream.handle)

    def hold(self, stream: Stream) -> None:
        """Let a stream do the work before the event first: who waits for an emulated stream does its work."""
        self._streams.hold(stream.handle, self.handle)

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
        self._memory.ledger.remove("events", self)
        self._streams.destroy_event(self.handle)


class _CudaEvent:
    """An event of CUDA's driver; PyCUDA's do not tell their handle. `quick` is the driver for calls that only enqueue."""

    def __init__(self, driver: Any, memory: Memory, quick: Any = None) -> None:
        self._driver, self._memory = driver, memory
        self._quick = driver if quick is None else quick
        made = ctypes.c_void_p()
        self._demand(driver.cuEventCreate(ctypes.byref(made), 0), "cuEventCreate")
        self.handle: int = made.value or 0
        self._event = ctypes.c_void_p(self.handle)
        memory.ledger.add("events", self)

    def _demand(self, answer: int, call: str) -> None:
        if answer:
            error = cuda_errors.of_code(answer, self._driver)
            raise self._memory.failure(f"{call} failed", (str(error),))

    def record(self, stream: Stream) -> None:
        """Queue it behind the work of a stream."""
        self._demand(self._quick.cuEventRecord(self._event, ctypes.c_void_p(stream.handle)), "cuEventRecord")

    def hold(self, stream: Stream) -> None:
        """Let a stream wait on the device (CUDA Driver API, cuStreamWaitEvent)."""
        self._demand(
            self._quick.cuStreamWaitEvent(ctypes.c_void_p(stream.handle), self._event, ctypes.c_uint(0)),
            "cuStreamWaitEvent",
        )

    def has_fired(self) -> bool:
        """Return whether it has."""
        answer = int(self._quick.cuEventQuery(self._event))
        if answer != _NOT_READY:
            self._demand(answer, "cuEventQuery")
        return answer != _NOT_READY

    def synchronize(self) -> None:
        """Wait until it has fired."""
        self._demand(self._driver.cuEventSynchronize(self._event), "cuEventSynchronize")

    def seconds_since(self, earlier: Any) -> float:
        """Return the time between two events, to half a microsecond (CUDA Driver API, cuEventElapsedTime)."""
        milliseconds = ctypes.c_float()
        answer = self._driver.cuEventElapsedTime(
            ctypes.byref(milliseconds), ctypes.c_void_p(earlier.handle), self._event
        )
        self._demand(answer, "cuEventElapsedTime")
        return float(milliseconds.value) / 1e3

    def close(self) -> None:
        """Destroy it; that it fails on a lost device has been told by the call that lost it."""
        self._memory.ledger.remove("events", self)
        self._driver.cuEventDestroy_v2(self._event)


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
    if streams is not None:
        return _HostEvent(streams, memory)
    driver, quick = load_library(), load_library(keeps_lock=True)
    with memory.active():
        return _CudaEvent(driver, memory, quick)


def wait(stream: Stream, event: Event) -> None:
    """Let what is queued on a stream from now on wait for an event; returns at once. The device is current."""
    event.hold(stream)


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
