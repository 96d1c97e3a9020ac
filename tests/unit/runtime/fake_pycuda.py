"""A `pycuda.driver` in host memory, whose work waits for `synchronize`, and which keeps PyCUDA's rules.

Source of the rules: pycuda `src/cpp/cuda.hpp`: every call needs a current context; memory and streams can be
released only while their context is current in the releasing thread; `Context.pop` needs something to pop.
"""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

import numpy as np


class Error(Exception):
    pass


class Driver(ModuleType):
    """What `import pycuda.driver` gives; `calls` is the record, `leaks` what was released out of context."""

    def __init__(self, devices: int = 1) -> None:
        super().__init__("pycuda.driver")
        self.calls: list[str] = []
        self.leaks: list[str] = []
        self.live: dict[int, np.ndarray[Any, Any]] = {}
        self.stacks = threading.local()
        self.streams: dict[int, list[Any]] = {}
        driver = self

        def need(what: str) -> None:
            driver.calls.append(what)
            if not driver.stack():
                raise Error(f"{what}: invalid device context")

        class PrimaryContext:
            valid = True

            def push(self) -> None:
                assert self.valid
                driver.stack().append(self)

            def detach(self) -> None:
                self.valid = False
                driver.calls.append("detach")

        class Context:
            @staticmethod
            def pop() -> None:
                driver.stack().pop()

        class Device:
            def __init__(self, ordinal: int) -> None:
                if ordinal >= devices:
                    raise Error("cuDeviceGet failed: invalid device ordinal")

            def retain_primary_context(self) -> PrimaryContext:
                driver.calls.append("retain_primary_context")
                return PrimaryContext()

        class Stream:
            def __init__(self) -> None:
                need("Stream")
                self.work: list[Any] = []
                self.handle = id(self)
                driver.streams[self.handle] = self.work

            def synchronize(self) -> None:
                need("synchronize")
                try:
                    for work in self.work:
                        work()
                finally:
                    self.work.clear()

            def __del__(self) -> None:
                if not driver.stack():
                    driver.leaks.append("stream")

        class DeviceAllocation:
            def __init__(self, nbytes: int) -> None:
                array = np.zeros(nbytes + 64, dtype=np.uint8)
                self.address = array.ctypes.data
                driver.live[self.address] = array

            def __int__(self) -> int:
                return self.address

            def free(self) -> None:
                need("free")
                del driver.live[self.address]

        class Pinned(np.ndarray):  # type: ignore[type-arg]
            def __del__(self) -> None:
                if self.base is None and not driver.stack():
                    driver.leaks.append("pinned")

        def mem_alloc(nbytes: int) -> DeviceAllocation:
            need("mem_alloc")
            return DeviceAllocation(nbytes)

        def pagelocked_empty(shape: Any, dtype: Any) -> Any:
            need("pagelocked_empty")
            return Pinned(shape, dtype)

        def at(address: int, nbytes: int) -> np.ndarray[Any, Any]:
            base = max(start for start in driver.live if start <= address)
            return driver.live[base][address - base : address - base + nbytes]

        def memcpy_htod_async(dest: int, src: Any, stream: Stream) -> None:
            need("memcpy_htod_async")
            stream.work.append(lambda: at(dest, src.nbytes).__setitem__(slice(None), src))

        def memcpy_dtoh_async(dest: Any, src: int, stream: Stream) -> None:
            need("memcpy_dtoh_async")
            stream.work.append(lambda: dest.__setitem__(slice(None), at(src, dest.nbytes)))

        def memset_d8_async(dest: int, value: int, count: int, stream: Stream) -> None:
            need("memset_d8_async")
            stream.work.append(lambda: at(dest, count).fill(value))

        self.__dict__.update(
            init=lambda: driver.calls.append("init"),
            Context=Context,
            Device=Device,
            Stream=Stream,
            Error=Error,
            mem_alloc=mem_alloc,
            pagelocked_empty=pagelocked_empty,
            memcpy_htod_async=memcpy_htod_async,
            memcpy_dtoh_async=memcpy_dtoh_async,
            memset_d8_async=memset_d8_async,
        )

    def stack(self) -> list[Any]:
        """Return the context stack of this thread."""
        if not hasattr(self.stacks, "stack"):
            self.stacks.stack = []
        stack: list[Any] = self.stacks.stack
        return stack
