"""Memory and streams of one GPU through PyCUDA, on its primary context, where TensorRT lives too."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import ExecutionError, OutOfMemoryError, UsageError
from pytest_trt.runtime import cuda_errors
from pytest_trt.runtime.driver import current_context, load_library, open_device
from pytest_trt.runtime.ledger import Ledger, Live
from pytest_trt.runtime.memory import Array, Buffer, Stream
from pytest_trt.runtime.pinned import Block, PinnedPool

# The memories whose contexts this thread has pushed, the innermost last; PyCUDA keeps a stack for each thread too.
_entered = threading.local()
_NOTHING = nullcontext()
# What belongs to a lost device whose context cannot be entered any more: PyCUDA's destructors would enter it, and a C++
# exception in a destructor ends the process.
_unreachable: list[Any] = []


class CudaBuffer:
    """Device memory."""

    def __init__(self, allocation: Any, nbytes: int) -> None:
        self.allocation = allocation
        self.address = int(allocation)
        self.nbytes = nbytes


class _Active:
    """A block with the primary context of a memory on top of the thread's stack; one object serves all threads."""

    __slots__ = ("_memory",)

    def __init__(self, memory: CudaMemory) -> None:
        self._memory = memory

    def __enter__(self) -> None:
        self._memory._enter()

    def __exit__(self, *error: object) -> None:
        self._memory._leave()


class CudaMemory:
    """Device memory of one GPU.

    Copies go through pinned memory, so that they are asynchronous. It comes from a pool and goes back to it once the stream of
    the copy has been waited for. PyCUDA frees pinned memory and streams only where their context is on top of the thread's
    stack, so all of that is done inside of `active()`; `pycuda.autoinit` would make another context.

    After an error that CUDA does not recover from, calls raise `DeviceLostError`; what gives something back does not.

    Parameters
    ----------
    ordinal : int
        Of the GPU among those that the process sees.

    Raises
    ------
    RuntimeMissingError
        PyCUDA is not installed.
    DriverError
        There is no driver, no GPU or no such GPU, or the driver is too old.
    """

    def __init__(self, ordinal: int) -> None:
        self._cuda, self._context = open_device(ordinal)
        self._error: Any = self._cuda.Error
        self.ordinal = ordinal
        self.pci_bus_id = str(self._cuda.Device(ordinal).pci_bus_id())
        self.title = f"CUDA device {ordinal}"
        self.ledger = Ledger()
        self._active = _Active(self)
        self._pool = PinnedPool(self._make_pinned, self._free_pinned)
        self._lock = threading.Lock()
        self._staged: dict[int, list[Block]] = {}
        self._spoiled: list[Block] = []  # a copy may still use them: their stream failed
        self._ended: list[Any] = []  # streams that somebody else still holds, for instance a traceback
        self._lost: cuda_errors.CudaError | None = None
        self._is_closed = False

    # The context.

    def active(self) -> AbstractContextManager[Any]:
        """Push the primary context for this thread, and pop it."""
        return self._active

    def _within(self) -> AbstractContextManager[Any]:
        """As `active`, where this thread has not entered it as the last one already: a push and a pop cost two microseconds."""
        stack = getattr(_entered, "stack", None)
        return _NOTHING if stack and stack[-1][0] is self else self._active

    def _enter(self) -> None:
        if self._is_closed:
            raise UsageError(f"{self.title} was given back", mend="close sessions before their runtime")
        is_pushed = True
        try:
            self._context.push()
        except self._error as error:
            failed = self._told(f"the context of {self.title} cannot be made current", error)
            if self._lost is None:
                raise failed from error
            is_pushed = False  # so that what is left can still be let go
        if not hasattr(_entered, "stack"):
            _entered.stack = []
        _entered.stack.append((self, is_pushed))

    def _leave(self) -> None:
        if not _entered.stack.pop()[1]:
            return
        try:
            self._cuda.Context.pop()
        except self._error as error:
            failed = self._told(f"the context of {self.title} cannot be left", error)
            if self._lost is None:
                raise failed from error

    @staticmethod
    def _is_entered() -> bool:
        """Return whether the block that this thread entered last really pushed its context."""
        return bool(_entered.stack[-1][1])

    # Errors.

    def failure(self, what: str, why: Sequence[str]) -> ExecutionError:
        """Return the error to raise for a call that failed; one of its own where the words tell that the device is lost."""
        known = max(
            (found for found in map(cuda_errors.of_text, why) if found is not None),
            key=lambda found: found.is_sticky,
            default=None,
        )
        if known is not None and known.is_sticky:
            self._lost = self._lost or known
            return cuda_errors.lost(self.title, known, what, *why)
        return ExecutionError(what, why=why)

    def _told(self, what: str, error: BaseException) -> ExecutionError:
        words = str(error)
        known = cuda_errors.of_text(words)
        if known is not None and known.is_sticky:
            return self.failure(what, (words,))
        named = f" [{known.symbol}, {known.code}]" if known is not None else ""
        return ExecutionError(f"{what}: {words}{named}")

    def _refuse_lost(self) -> None:
        if self._lost is not None:
            raise cuda_errors.lost(self.title, self._lost, "an earlier call reported it")

    def _no_memory(self, what: str, nbytes: int, error: BaseException) -> ExecutionError:
        if "out of memory" not in str(error).lower():
            return self._told(f"{self.title} gave no {what}", error)
        live = self.live()
        why = [f"{nbytes} bytes were asked for"]
        try:
            free, total = self._cuda.mem_get_info()
            why.append(f"{int(free)} of {int(total)} bytes are free on the device")
        except self._error:
            pass
        why.append(
            f"this process holds {live.bytes} bytes in {live.buffers} buffer(s) and {live.pinned_bytes} pinned bytes,"
            " besides engines, contexts and libraries"
        )
        return OutOfMemoryError(
            f"{self.title} has no room for {_readable(nbytes)} of {what}",
            why=why,
            mend="a smaller batch, profile or workspace; close sessions that are done; fewer workers (-n); `nvidia-smi` names"
            " other processes on the GPU",
        )

    # Memory.

    def alloc(self, nbytes: int) -> CudaBuffer:
        """Return uninitialised device memory.

        Raises
        ------
        OutOfMemoryError
            The device has no room; the message tells what was asked for and what is free.
        DeviceLostError
            An earlier error of CUDA is sticky.
        """
        self._refuse_lost()
        with self._active:
            try:
                buffer = CudaBuffer(self._cuda.mem_alloc(max(1, nbytes)), nbytes)
            except (self._error, OverflowError) as error:
                raise self._no_memory("device memory", nbytes, error) from error
        self.ledger.add("buffers", buffer)
        return buffer

    def free(self, buffer: Buffer) -> None:
        """Free device memory now; nothing to do on a lost device, whose memory ends with the process."""
        with self._active:
            try:
                _device(buffer).allocation.free()
            except self._error as error:
                failed = self._told(f"memory of {self.title} cannot be freed", error)
                if self._lost is None:
                    raise failed from error
                _unreachable.append(_device(buffer).allocation)
        self.ledger.remove("buffers", buffer)

    def poison(
        self, buffer: Buffer, byte: int, stream: Stream, start: int = 0, stop: int | None = None
    ) -> None:
        """Queue a memset."""
        count = (buffer.nbytes if stop is None else stop) - start
        if count <= 0:
            return
        with self._within():
            try:
                self._cuda.memset_d8_async(buffer.address + start, byte, count, stream)
            except self._error as error:
                raise self._told(f"memory of {self.title} cannot be filled", error) from error

    def upload(self, buffer: Buffer, array: Array, stream: Stream) -> None:
        """Queue a copy from pinned memory."""
        nbytes = array.nbytes
        if nbytes == 0:
            return
        self._refuse_lost()
        with self._within():
            block = self._pool.take(nbytes)
            pinned = block[:nbytes]
            pinned[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._stage(stream, [block])
            try:
                self._cuda.memcpy_htod_async(buffer.address, pinned, stream)
            except self._error as error:
                raise self._told(f"an array cannot be copied to {self.title}", error) from error

    def settle(self, stream: Stream) -> None:
        """Wait for a stream; the pinned memory of its copies goes back to the pool.

        Raises
        ------
        ExecutionError
            Work of the stream failed.
        DeviceLostError
            It failed in a way that no later call survives.
        """
        with self._lock:  # taken out before the wait: what another thread stages meanwhile is not waited for
            staged = self._staged.pop(stream.handle, ())
        with self._within():
            try:
                stream.synchronize()
            except self._error as error:
                self._spoiled.extend(staged)
                raise self._told("CUDA reported a failure when its stream was waited for", error) from error
            if staged:
                self._pool.give(staged)

    @contextmanager
    def read(self, pieces: Sequence[tuple[Buffer, int]], stream: Stream) -> Iterator[list[Array]]:
        """Copy the first bytes of each buffer to pinned memory, wait once, and give them for the length of the block."""
        self._refuse_lost()
        with self._within():
            blocks: list[Block] = []
            given: list[Array] = []
            try:
                for buffer, nbytes in pieces:
                    block = self._pool.take(nbytes)
                    blocks.append(block)
                    given.append(block[:nbytes])
                    if nbytes:
                        self._cuda.memcpy_dtoh_async(given[-1], buffer.address, stream)
                self.settle(stream)
            except BaseException as error:
                self._stage(stream, blocks)
                if isinstance(error, self._error):
                    raise self._told(f"memory of {self.title} cannot be read", error) from error
                raise
            try:
                yield given
            finally:
                self._pool.give(blocks)

    def download(
        self, buffer: Buffer, shape: tuple[int, ...], dtype: npt.DTypeLike, stream: Stream, start: int = 0
    ) -> Array:
        """Queue a copy to pinned memory, wait for the stream, and return an array of its own."""
        result: Array = np.empty(shape, dtype)
        piece = _Piece(buffer.address + start, result.nbytes)
        with self.read([(piece, result.nbytes)], stream) as (raw,):
            result.reshape(-1).view(np.uint8)[:] = raw
        return result

    def _stage(self, stream: Stream, blocks: list[Block]) -> None:
        with self._lock:
            self._staged.setdefault(stream.handle, []).extend(blocks)

    def _make_pinned(self, nbytes: int) -> Any:
        try:
            return self._cuda.pagelocked_empty(nbytes, np.uint8)
        except self._error as error:
            raise self._no_memory("pinned host memory", nbytes, error) from error

    def _free_pinned(self, block: Any) -> None:
        """Free at once where PyCUDA shows the allocation, and not with the last array that looks at it."""
        free = getattr(block.base, "free", None)
        if free is not None:
            free()

    # Streams.

    def create_stream(self) -> Stream:
        """Return a new PyCUDA stream."""
        self._refuse_lost()
        with self._active:
            try:
                stream: Stream = self._cuda.Stream()
            except self._error as error:
                raise self._no_memory("streams", 0, error) from error
        self.ledger.add("streams", stream)
        return stream

    def destroy_stream(self, stream: Stream) -> None:
        """Wait for the stream and let go of it.

        PyCUDA destroys a stream with its last reference, and does so only where its context is current. So the last one is kept
        here, until nobody else holds one.
        """
        self.ledger.remove("streams", stream)
        with self._within():
            with self._lock:
                self._ended = [*_held_elsewhere(self._ended), stream]
            try:
                self.settle(stream)
            except ExecutionError:
                if self._lost is None:
                    raise

    def used_bytes(self) -> int:
        """Return how much memory of the GPU is in use, by whomever."""
        with self._active:
            try:
                free, total = self._cuda.mem_get_info()
            except self._error as error:
                raise self._told(f"{self.title} does not tell its memory", error) from error
        return int(total) - int(free)

    def live(self) -> Live:
        """Return what is alive."""
        return self.ledger.live(self._pool.nbytes)

    def close(self) -> None:
        """Release the primary context, in the thread that made this; buffers and streams should be gone."""
        if self._is_closed:
            return
        self.ledger.begin_close()
        self._let_go()
        self._is_closed = True
        before = current_context()
        try:
            self._context.detach()
        except self._error as error:
            _unreachable.append(self._context)
            if self._lost is None:
                raise self._told(f"{self.title} cannot be given back", error) from error
        if (
            current_context() != before
        ):  # PyCUDA enters a context to detach it, and does not leave a primary one
            load_library().cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        self.ledger.end_close(self.title)

    def _let_go(self) -> None:
        """Free pinned memory, and streams that were ended."""
        with self._active:
            with self._lock:
                left = [block for blocks in self._staged.values() for block in blocks] + self._spoiled
                self._staged.clear()
                self._spoiled = []
            if self._is_entered():
                for block in left:
                    self._free_pinned(block)
                self._ended = []
                self._pool.close()
            else:
                _unreachable.extend((left, self._ended, self._pool))
            del left

    def __del__(self) -> None:
        # One that was dropped is collected in any thread, and PyCUDA would free nothing of it there. An error has nobody to hear
        # it, and a memory that was not made to its end has nothing to free.
        with suppress(Exception):
            if not (self._is_closed or sys.is_finalizing()):
                self._let_go()


class _Piece:
    """A place in device memory that somebody else owns."""

    __slots__ = ("address", "nbytes")

    def __init__(self, address: int, nbytes: int) -> None:
        self.address, self.nbytes = address, nbytes


_COUNT_IN_LIST = next(sys.getrefcount(thing) for thing in [object()])


def _held_elsewhere(things: list[Any]) -> list[Any]:
    """Return those that not only this list holds."""
    return [thing for thing in things if sys.getrefcount(thing) > _COUNT_IN_LIST]


def _device(buffer: Buffer) -> CudaBuffer:
    assert isinstance(buffer, CudaBuffer)
    return buffer


def _readable(nbytes: int) -> str:
    amount, unit = float(nbytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.4g} {unit}"
