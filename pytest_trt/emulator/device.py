"""The emulated device on the CPU: addresses are host addresses, streams are queues."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.emulator.clock import Clock
from pytest_trt.emulator.program import cpu_session
from pytest_trt.emulator.streams import Streams

if TYPE_CHECKING:
    from pytest_trt.emulator.launch import Launch


class Device(Protocol):
    """Where an engine computes."""

    name: str
    clock: Clock
    can_capture: bool  # whether what is enqueued can be recorded for a graph

    def session(self, model: ModelProto | bytes) -> ort.InferenceSession:
        """Return a session for a whole engine."""

    def is_stream(self, handle: int) -> bool:
        """Return whether work can be enqueued on this stream."""

    def is_capturing(self, handle: int) -> bool:
        """Return whether a stream records what is enqueued, for a graph."""

    def submit(self, handle: int, work: Callable[[], None]) -> None:
        """Enqueue work on a stream."""

    def drain(self, handle: int) -> None:
        """Wait until all work of a stream is done."""

    def spend(self, handle: int, seconds: float) -> None:
        """Move the modelled time of a stream on, where there is one."""

    def is_event(self, handle: int) -> bool:
        """Return whether the handle is an event that `fire` knows."""

    def reset_event(self, handle: int) -> None:
        """Make an event wait for what is being enqueued."""

    def fire(self, handle: int) -> None:
        """Tell that what an event waits for is done."""

    def start(self, launch: Launch, addresses: Mapping[str, int], handle: int) -> bool:
        """Start a run by the device's own means; False if the caller must submit it as work.

        Raises
        ------
        ExecutionError
            The device refuses.
        """

    def read(self, address: int, kind: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return a copy of device memory."""

    def write(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array to device memory."""

    def allocate(self, size: int) -> int:
        """Return the address of new memory that lives as long as the device."""


class HostDevice:
    """The CPU as device."""

    name = "cpu"
    can_capture = True

    def __init__(self) -> None:
        self.clock = Clock()
        self.streams = Streams(self.clock)
        self._blocks: list[NDArray[np.uint8]] = []

    def session(self, model: ModelProto | bytes) -> ort.InferenceSession:
        """Return a session on the CPU."""
        return cpu_session(model)

    def is_stream(self, handle: int) -> bool:
        """Return whether the handle is a live stream."""
        return self.streams.is_known(handle)

    def is_capturing(self, handle: int) -> bool:
        """Return whether a stream records what is enqueued."""
        return self.streams.is_capturing(handle)

    def submit(self, handle: int, work: Callable[[], None]) -> None:
        """Enqueue work; it is done when the stream is synchronised."""
        self.streams.submit(handle, work)

    def drain(self, handle: int) -> None:
        """Do all work of a stream now."""
        self.streams.synchronize(handle)

    def spend(self, handle: int, seconds: float) -> None:
        """Move the modelled time of a stream on."""
        self.streams.spend(handle, seconds)

    def is_event(self, handle: int) -> bool:
        """Return whether the handle is a live event."""
        return self.streams.is_event(handle)

    def reset_event(self, handle: int) -> None:
        """Make an event wait."""
        self.streams.reset_event(handle)

    def fire(self, handle: int) -> None:
        """Let an event be done."""
        if self.streams.is_event(handle):
            self.streams.fire(handle)

    def start(self, launch: Launch, addresses: Mapping[str, int], handle: int) -> bool:
        """Return False: work on the CPU is submitted."""
        return False

    def read(self, address: int, kind: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return a copy of host memory."""
        return np.array(self._view(address, kind, shape))

    def write(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array to host memory."""
        np.copyto(self._view(address, array.dtype, array.shape), array)

    @staticmethod
    def _view(address: int, kind: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
        count = prod(shape)
        block = (ctypes.c_char * (count * kind.itemsize)).from_address(address)
        view: NDArray[Any] = np.frombuffer(memoryview(block), kind, count).reshape(tuple(shape))
        return view

    def allocate(self, size: int) -> int:
        """Return the address of new zeroed memory, aligned to 256 bytes."""
        block = np.zeros(size + 256, np.uint8)
        self._blocks.append(block)
        return (int(block.ctypes.data) + 255) // 256 * 256
