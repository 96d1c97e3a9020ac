"""Outputs whose size the engine finds out while it runs (`NonZero` and the like)."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.memory import Array, Buffer, Memory, Stream


class OutputAllocator:
    """An `IOutputAllocator` on our memory; `raw` is what TensorRT is given.

    TensorRT swallows what a callback raises, so the callbacks keep the error and `take` raises it. The
    surface of 10.x shows no methods on the base class, yet the same names are looked up.
    """

    def __init__(self, trt: Any, memory: Memory, stream: Stream) -> None:
        self._memory, self._stream = memory, stream
        self._buffer: Buffer | None = None
        self._shape: tuple[int, ...] | None = None
        self._error: Exception | None = None
        hub = self

        def start(this: Any) -> None:
            trt.IOutputAllocator.__init__(this)

        def reallocate(this: Any, name: str, memory: Any, size: int, alignment: int) -> int:
            return hub.reallocate(int(size))

        def reallocate_async(
            this: Any, name: str, memory: Any, size: int, alignment: int, stream: int
        ) -> int:
            return hub.reallocate(int(size))

        def notify(this: Any, name: str, shape: Any) -> None:
            hub.notify(shape)

        members = {
            "__init__": start,
            "reallocate_output": reallocate,
            "reallocate_output_async": reallocate_async,
            "notify_shape": notify,
        }
        self.raw: Any = type("SessionOutputAllocator", (trt.IOutputAllocator,), members)()

    def reset(self) -> None:
        """Forget the last run; the memory is kept."""
        self._shape = self._error = None

    def reallocate(self, size: int) -> int:
        """Return the address of at least `size` bytes; 0 tells TensorRT that there are none."""
        try:
            if self._buffer is None or self._buffer.nbytes < size:
                self.close()
                self._buffer = self._memory.alloc(max(1, size))
            return self._buffer.address
        except Exception as error:  # must not leave a callback
            self._error = error
            return 0

    def notify(self, shape: Any) -> None:
        """Keep the shape that the engine found."""
        self._shape = tuple(int(extent) for extent in shape)

    def take(self, name: str, dtype: npt.DTypeLike) -> Array:
        """Return the output of the run that just ended.

        Raises
        ------
        ExecutionError
            No memory could be had, or the engine never told the shape.
        """
        if self._error is not None:
            raise ExecutionError(f"no memory for output {name!r}: {self._error}") from self._error
        if self._shape is None or self._buffer is None:
            raise ExecutionError(f"the engine did not tell the shape of output {name!r}")
        return self._memory.download(self._buffer, self._shape, dtype, self._stream)

    def close(self) -> None:
        """Free the memory."""
        if self._buffer is not None:
            self._memory.free(self._buffer)
            self._buffer = None
