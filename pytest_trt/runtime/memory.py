"""Memory and streams behind one Protocol, and host memory for the emulator on a CPU; `cuda.py` has that of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.ledger import Ledger, Live

Array = npt.NDArray[Any]
ALIGNMENT = 256  # cudaMalloc's own; TensorRT may assume it of addresses that it is given.
_NOTHING = nullcontext()


class Buffer(Protocol):
    """A piece of memory that an engine can be given."""

    @property
    def address(self) -> int:
        """Where it starts, as TensorRT's address calls want it."""

    @property
    def nbytes(self) -> int:
        """How long it is."""


class Stream(Protocol):
    """A queue of work. With CUDA it is a PyCUDA `Stream`, which has just these two."""

    @property
    def handle(self) -> int:
        """What `execute_async_v3` takes."""

    def synchronize(self) -> None:
        """Return when all work queued so far is done."""


class Memory(Protocol):
    """What a session needs of a device. `poison` and `upload` only queue work; `settle`, `read` and `download` wait."""

    def active(self) -> AbstractContextManager[Any]:
        """A block in which TensorRT and the calls below address this device from this thread."""

    def alloc(self, nbytes: int) -> Buffer:
        """Return uninitialised memory of at least one byte, aligned to 256 bytes."""

    def free(self, buffer: Buffer) -> None:
        """Give it back; the stream must be done with it."""

    def poison(
        self, buffer: Buffer, byte: int, stream: Stream, start: int = 0, stop: int | None = None
    ) -> None:
        """Fill the bytes `start:stop` with one value."""

    def upload(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Copy an array in; the array may be changed as soon as this returns."""

    def settle(self, stream: Stream) -> None:
        """Wait for a stream; errors of its work come out here, in words."""

    def read(
        self, pieces: Sequence[tuple[Buffer, int]], stream: Stream
    ) -> AbstractContextManager[list[Array]]:
        """Wait once for the stream, and give the first bytes of each buffer; the arrays are the caller's inside of the block."""

    def download(
        self, buffer: Buffer, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Stream, start: int = 0
    ) -> Array:
        """Wait for the stream and return a copy of what lies from byte `start` on, as an array of its own."""

    def create_stream(self) -> Stream:
        """Return a new stream."""

    def destroy_stream(self, stream: Stream) -> None:
        """End a stream when its work is done."""

    def used_bytes(self) -> int | None:
        """Return how much memory of the device is in use, by whomever; None where it is that of the process."""

    def failure(self, what: str, why: Sequence[str]) -> ExecutionError:
        """Return the error of a call that failed with these words; another one where they tell that the device is lost."""

    def live(self) -> Live:
        """Return what was given out, is not given back, and is still held."""

    @property
    def ledger(self) -> Ledger:
        """The list of it, for what is not made here."""

    def close(self) -> None:
        """Give the device back; a `LeakWarning` names what is alive then."""


class HostBuffer:
    """Aligned host memory held by a numpy array."""

    def __init__(self, nbytes: int) -> None:
        raw = np.empty(max(1, nbytes) + ALIGNMENT, dtype=np.uint8)
        offset = -raw.ctypes.data % ALIGNMENT
        self.bytes: Array = raw[offset : offset + max(1, nbytes)]
        self.address: int = raw.ctypes.data + offset
        self.nbytes = nbytes


class HostStream:
    """A stream of the emulator on a CPU."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams
        self.handle: int = streams.create_stream()

    def synchronize(self) -> None:
        """Return when all work queued so far is done."""
        self._streams.synchronize(self.handle)

    def submit(self, work: Callable[[], Any]) -> None:
        """Queue a callable behind the work that is there."""
        self._streams.submit(self.handle, work)

    def destroy(self) -> None:
        """End the stream when its work is done."""
        self._streams.destroy(self.handle)


class _Views:
    """A block whose arrays are views of host memory, with nothing to give back."""

    __slots__ = ("_arrays",)

    def __init__(self, arrays: list[Array]) -> None:
        self._arrays = arrays

    def __enter__(self) -> list[Array]:
        return self._arrays

    def __exit__(self, *error: object) -> None:
        return None


class HostMemory:
    """Host memory, with the streams of the emulator that `trt` is."""

    def __init__(self, trt: Any) -> None:
        self._streams = trt.emulated_streams
        self.ledger = Ledger()
        self._is_closed = False

    def active(self) -> AbstractContextManager[Any]:
        """Nothing to activate."""
        return _NOTHING

    def alloc(self, nbytes: int) -> HostBuffer:
        """Return uninitialised host memory."""
        try:
            buffer = HostBuffer(nbytes)
        except MemoryError as error:
            raise ExecutionError(f"the host has no {nbytes} bytes of memory") from error
        self.ledger.add("buffers", buffer)
        return buffer

    def free(self, buffer: Buffer) -> None:
        """Nothing to do but to note it: numpy owns it."""
        self.ledger.remove("buffers", buffer)

    def poison(
        self, buffer: Buffer, byte: int, stream: Stream, start: int = 0, stop: int | None = None
    ) -> None:
        """Queue a fill."""
        target = _host(buffer).bytes[start : buffer.nbytes if stop is None else stop]
        _queue(stream).submit(lambda: target.fill(byte))

    def upload(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Queue a copy of the array as it is now."""
        staged = np.frombuffer(array.tobytes(), dtype=np.uint8)
        target = _host(buffer).bytes[: staged.size]
        _queue(stream).submit(lambda: np.copyto(target, staged))

    def settle(self, stream: Stream) -> None:
        """Do the work of the stream."""
        stream.synchronize()

    def read(self, pieces: Sequence[tuple[Buffer, int]], stream: Stream) -> _Views:
        """Do the work of the stream, and give the bytes where they lie."""
        stream.synchronize()
        return _Views([_host(buffer).bytes[:nbytes] for buffer, nbytes in pieces])

    def download(
        self, buffer: Buffer, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Stream, start: int = 0
    ) -> Array:
        """Wait for the stream and copy out."""
        stream.synchronize()
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        copied: Array = _host(buffer).bytes[start : start + nbytes].copy().view(dtype).reshape(shape)
        return copied

    def create_stream(self) -> HostStream:
        """Return a new stream."""
        stream = HostStream(self._streams)
        self.ledger.add("streams", stream)
        return stream

    def destroy_stream(self, stream: Stream) -> None:
        """End a stream."""
        _queue(stream).destroy()
        self.ledger.remove("streams", stream)

    def used_bytes(self) -> None:
        """Return None: the memory of the process is read elsewhere."""

    def failure(self, what: str, why: Sequence[str]) -> ExecutionError:
        """Return the error to raise; an emulated device is never lost."""
        return ExecutionError(what, why=why)

    def live(self) -> Live:
        """Return what is alive."""
        return self.ledger.live()

    def close(self) -> None:
        """Nothing to give back; what is alive is told all the same."""
        if not self._is_closed:
            self._is_closed = True
            self.ledger.begin_close()
            self.ledger.end_close("the memory of the emulated device")


def _host(buffer: Buffer) -> HostBuffer:
    assert isinstance(buffer, HostBuffer)
    return buffer


def _queue(stream: Stream) -> HostStream:
    assert isinstance(stream, HostStream)
    return stream
