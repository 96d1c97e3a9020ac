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


class MemoryError(Error):
    """PyCUDA raises this for `CUDA_ERROR_OUT_OF_MEMORY`."""


class LogicError(Error):
    """PyCUDA raises this for most errors."""


class LaunchError(Error):
    """PyCUDA raises this for `CUDA_ERROR_LAUNCH_FAILED` and its kind."""


class RuntimeError(Error):
    """PyCUDA raises this where there is no device, and for `CUDA_ERROR_UNKNOWN`."""


class Driver(ModuleType):
    """What `import pycuda.driver` gives.

    `calls` is the record, `leaks` what was released out of context. A call whose name is in `fails` raises what stands there;
    once `lost` is set, every call does that touches the device, as after an error that is sticky.
    """

    def __init__(self, devices: int = 1) -> None:
        super().__init__("pycuda.driver")
        self.calls: list[str] = []
        self.leaks: list[str] = []
        self.live: dict[int, np.ndarray[Any, Any]] = {}
        self.pinned = 0
        self.fails: dict[str, Exception] = {}
        self.lost: Exception | None = None
        self.contexts: list[
            int
        ] = []  # ordinals of the contexts that were current at `mem_alloc` and `Stream`
        self.stacks = threading.local()
        self.streams: dict[int, list[Any]] = {}
        driver = self

        def answer(what: str) -> None:
            driver.calls.append(what)
            if what in driver.fails:
                raise driver.fails[what]

        def need(what: str) -> None:
            if not driver.stack():
                raise LogicError(f"{what}: invalid device context")
            answer(what)
            if driver.lost is not None:
                raise driver.lost
            if what in ("mem_alloc", "Stream"):
                driver.contexts.append(driver.stack()[-1].ordinal)

        class PrimaryContext:
            valid = True

            def __init__(self, ordinal: int) -> None:
                self.ordinal = ordinal

            def push(self) -> None:
                assert self.valid
                if "push" in driver.fails:
                    raise driver.fails["push"]
                driver.stack().append(self)

            def detach(self) -> None:
                if "detach" in driver.fails:
                    raise driver.fails["detach"]
                self.valid = False
                driver.calls.append("detach")

        class Context:
            @staticmethod
            def pop() -> None:
                driver.stack().pop()
                if "pop" in driver.fails:
                    raise driver.fails["pop"]

        class Device:
            def __init__(self, ordinal: int) -> None:
                if ordinal >= devices:
                    raise LogicError("cuDeviceGet failed: invalid device ordinal")
                self.ordinal = ordinal

            @staticmethod
            def count() -> int:
                return devices

            def pci_bus_id(self) -> str:
                return f"0000:{self.ordinal:02x}:00.0"

            def retain_primary_context(self) -> PrimaryContext:
                answer("retain_primary_context")
                return PrimaryContext(self.ordinal)

        class Stream:
            def __init__(self) -> None:
                self.context = (driver.stack() or [None])[-1]
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
                if not driver.is_current(self.context):
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

        class PinnedAllocation:
            """Shown to numpy as the memory of an array, which keeps it as its base."""

            def __init__(self, nbytes: int) -> None:
                self.memory = np.empty(nbytes, np.uint8)
                self.__array_interface__ = self.memory.__array_interface__
                self.nbytes, self.is_free, self.context = nbytes, False, driver.stack()[-1]
                driver.pinned += nbytes

            def free(self) -> None:
                if not driver.is_current(self.context):
                    driver.leaks.append("pinned")
                if self.is_free:
                    raise LogicError("pagelocked_host_allocation::free failed: invalid resource handle")
                driver.calls.append("mem_host_free")
                self.is_free = True
                driver.pinned -= self.nbytes

            def __del__(self) -> None:
                if not self.is_free and not driver.is_current(self.context):
                    driver.leaks.append("pinned")

        def mem_alloc(nbytes: int) -> DeviceAllocation:
            need("mem_alloc")
            return DeviceAllocation(nbytes)

        def pagelocked_empty(shape: Any, dtype: Any) -> Any:
            need("pagelocked_empty")
            return np.asarray(PinnedAllocation(int(shape)))

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
            init=lambda: answer("init"),
            get_version=lambda: (12, 4, 0),
            get_driver_version=lambda: 12080,
            mem_get_info=lambda: need("mem_get_info") or (1 << 30, 1 << 34),
            Context=Context,
            Device=Device,
            Stream=Stream,
            Error=Error,
            MemoryError=MemoryError,
            LogicError=LogicError,
            LaunchError=LaunchError,
            RuntimeError=RuntimeError,
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

    def is_current(self, context: Any) -> bool:
        """Return whether a context is on top of the stack of this thread."""
        return self.stack()[-1:] == [context]
