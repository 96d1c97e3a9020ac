"""Memory and streams behind one Protocol: host memory for the emulator on a CPU, CUDA through PyCUDA."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import ExecutionError, RuntimeMissingError

Array = npt.NDArray[Any]
ALIGNMENT = 256  # cudaMalloc's own; TensorRT may assume it of addresses that it is given.


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
    """What a session needs of a device. `poison` and `upload` only queue work; `download` waits."""

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

    def close(self) -> None:
        """Give the device back."""


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

    def submit(self, work: Any) -> None:
        """Queue a callable behind the work that is there."""
        self._streams.submit(self.handle, work)

    def destroy(self) -> None:
        """End the stream when its work is done."""
        self._streams.destroy(self.handle)


class HostMemory:
    """Host memory, with the streams of the emulator that `trt` is."""

    def __init__(self, trt: Any) -> None:
        self._streams = trt.emulated_streams

    def active(self) -> AbstractContextManager[Any]:
        """Nothing to activate."""
        return nullcontext()

    def alloc(self, nbytes: int) -> HostBuffer:
        """Return uninitialised host memory."""
        return HostBuffer(nbytes)

    def free(self, buffer: Buffer) -> None:
        """Nothing to do: numpy owns it."""

    def poison(
        self, buffer: Buffer, byte: int, stream: Stream, start: int = 0, stop: int | None = None
    ) -> None:
        """Queue a fill."""
        target = _host(buffer).bytes[start : buffer.nbytes if stop is None else stop]
        _queue(stream).submit(lambda: target.fill(byte))

    def upload(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Queue a copy of the array as it is now."""
        staged = np.frombuffer(np.ascontiguousarray(array).tobytes(), dtype=np.uint8)
        target = _host(buffer).bytes[: staged.size]
        _queue(stream).submit(lambda: np.copyto(target, staged))

    def download(
        self, buffer: Buffer, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Stream, start: int = 0
    ) -> Array:
        """Wait for the stream and copy out."""
        stream.synchronize()
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        copied: Array = _host(buffer).bytes[start : start + nbytes].copy().view(dtype).reshape(shape)
        return copied

    def create_stream(self) -> HostStream:
        """Return a new stream."""
        return HostStream(self._streams)

    def destroy_stream(self, stream: Stream) -> None:
        """End a stream."""
        _queue(stream).destroy()

    def used_bytes(self) -> None:
        """Return None: the memory of the process is read elsewhere."""

    def close(self) -> None:
        """Nothing to give back."""


def _host(buffer: Buffer) -> HostBuffer:
    assert isinstance(buffer, HostBuffer)
    return buffer


def _queue(stream: Stream) -> HostStream:
    assert isinstance(stream, HostStream)
    return stream


class CudaBuffer:
    """Device memory."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self.allocation = allocation
        self.address = int(allocation)
        self.nbytes = nbytes


class CudaMemory:
    """Device memory of one GPU through PyCUDA, on its primary context, where TensorRT lives too.

    Copies go through pinned staging memory, so that they are asynchronous. Staging is kept until `download`
    has waited for the stream, and is let go with the context current: PyCUDA cannot free it otherwise. A
    thread enters the primary context with `active()`; `pycuda.autoinit` would make another context.

    Raises
    ------
    RuntimeMissingError
        PyCUDA is not installed, or CUDA has no such device.
    """

    def __init__(self, ordinal: int) -> None:
        try:
            self._cuda: Any = importlib.import_module("pycuda.driver")
        except ImportError as error:
            raise RuntimeMissingError(
                f"PyCUDA is not usable: {type(error).__name__}: {error}",
                why="memory and streams of a GPU come through it",
                mend='pip install "pytest-trt[cuda]" (it builds against a CUDA toolkit)',
            ) from error
        try:
            self._cuda.init()
            self._context: Any = self._cuda.Device(ordinal).retain_primary_context()
        except self._cuda.Error as error:
            raise RuntimeMissingError(
                f"CUDA device {ordinal} cannot be used: {error}",
                mend="python -m pytest_trt doctor shows driver and GPUs",
            ) from error
        self._lock = threading.Lock()
        self._staged: dict[int, list[Any]] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Push the primary context for this thread, and pop it."""
        self._context.push()
        try:
            yield
        finally:
            self._cuda.Context.pop()

    def alloc(self, nbytes: int) -> CudaBuffer:
        """Return uninitialised device memory."""
        with self.active():
            return CudaBuffer(self._cuda.mem_alloc(max(1, nbytes)), nbytes)

    def free(self, buffer: Buffer) -> None:
        """Free device memory now."""
        with self.active():
            _device(buffer).allocation.free()

    def poison(
        self, buffer: Buffer, byte: int, stream: Stream, start: int = 0, stop: int | None = None
    ) -> None:
        """Queue a memset."""
        count = (buffer.nbytes if stop is None else stop) - start
        if count > 0:
            with self.active():
                self._cuda.memset_d8_async(buffer.address + start, byte, count, stream)

    def upload(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Queue a copy from pinned memory."""
        if array.nbytes == 0:
            return
        with self.active():
            pinned = self._cuda.pagelocked_empty(array.nbytes, np.uint8)
            pinned[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._cuda.memcpy_htod_async(buffer.address, pinned, stream)
            with self._lock:
                self._staged.setdefault(stream.handle, []).append(pinned)

    def download(
        self, buffer: Buffer, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Stream, start: int = 0
    ) -> Array:
        """Queue a copy to pinned memory, wait for the stream, and return an array of its own."""
        result: Array = np.empty(shape, dtype)
        with self.active():
            pinned = None
            if result.nbytes:
                pinned = self._cuda.pagelocked_empty(result.nbytes, np.uint8)
                self._cuda.memcpy_dtoh_async(pinned, buffer.address + start, stream)
            self._settle(stream)
            if pinned is not None:
                result.reshape(-1).view(np.uint8)[:] = pinned
            del pinned  # PyCUDA frees it in the thread and context that are current.
        return result

    def _settle(self, stream: Stream) -> None:
        try:
            stream.synchronize()
        except self._cuda.Error as error:
            raise ExecutionError(
                f"CUDA reported a failure when its stream was waited for: {error}",
                mend="the context may be lost; --trt-isolate keeps the other tests running",
            ) from error
        finally:
            with self._lock:
                staged = self._staged.pop(stream.handle, None)
            del staged

    def create_stream(self) -> Stream:
        """Return a new PyCUDA stream."""
        with self.active():
            stream: Stream = self._cuda.Stream()
        return stream

    def destroy_stream(self, stream: Stream) -> None:
        """Wait for the stream; PyCUDA destroys it with its last reference, which should go in `active()`."""
        with self.active():
            self._settle(stream)

    def used_bytes(self) -> int:
        """Return how much memory of the GPU is in use, by whomever."""
        with self.active():
            free, total = self._cuda.mem_get_info()
        return int(total) - int(free)

    def close(self) -> None:
        """Release the primary context, in the thread that made this; buffers and streams must be gone."""
        with self.active():
            self._staged.clear()
        self._context.detach()


def _device(buffer: Buffer) -> CudaBuffer:
    assert isinstance(buffer, CudaBuffer)
    return buffer
