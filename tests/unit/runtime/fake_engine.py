"""An engine that doubles its input, on the emulator's streams, with one thing wrong at a time."""

from __future__ import annotations

import ctypes
import enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from pytest_trt.emulator.streams import Streams
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import HostMemory

from .fake_trt import FakeTrt, Severity, fake_runtime

MODES = enum.IntEnum("TensorIOMode", {"NONE": 0, "INPUT": 1, "OUTPUT": 2})
PLACES = enum.IntEnum("TensorLocation", {"DEVICE": 0, "HOST": 1})


def view(address: int, nbytes: int) -> np.ndarray[Any, Any]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}
        self.allocator: Any = None
        self.profiles: list[int] = []
        self.active_optimization_profile = 0

    def _answer(self, call: str) -> bool:
        if self.engine.wrong == call:
            self.engine.trt.logger.log(Severity.ERROR, f"{call} went wrong")
        return self.engine.wrong != call

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self.profiles.append(index)
        return self._answer("set_optimization_profile_async")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return self._answer("set_input_shape")

    def infer_shapes(self) -> list[str]:
        return [] if self._answer("infer_shapes") else ["x"]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3) if self.engine.data_dependent else self.shape

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return self._answer("set_tensor_address")

    def set_output_allocator(self, name: str, allocator: Any) -> bool:
        self.allocator = allocator
        return self._answer("set_output_allocator")

    def execute_async_v3(self, stream: int) -> bool:
        self.engine.trt.emulated_streams.submit(stream, self._compute)
        if self.engine.wrong == "logged":
            self.engine.trt.logger.log(Severity.ERROR, "an illegal memory access")
        return self._answer("execute_async_v3")

    def _compute(self) -> None:
        if self.engine.hook is not None:
            self.engine.hook()
        nbytes = int(np.prod(self.shape)) * 4
        got = view(self.addresses["x"], nbytes).view(np.float32) * 2
        if self.engine.data_dependent:
            got = got[: got.size // 2]
            if self.engine.wrong != "no shape":
                self.allocator.notify_shape("y", (got.size // 3, 3))
            target = self.allocator.reallocate_output("y", 0, got.nbytes, 256)
            assert target == self.allocator.reallocate_output_async("y", 0, 1, 256, 0)
        else:
            target = self.addresses["y"]
        out = view(target, got.nbytes + 8)
        if self.engine.wrong != "writes nothing":
            out[: got.nbytes] = got.view(np.uint8)
        if self.engine.wrong == "writes behind":
            out[got.nbytes + 3] = 1
        if self.engine.wrong == "writes before":
            view(target - 5, 5)[0] = 1


class Engine:
    num_optimization_profiles = 2
    num_io_tensors = 2

    def __init__(self, trt: Any, wrong: str = "", data_dependent: bool = False) -> None:
        self.trt, self.wrong, self.data_dependent = trt, wrong, data_dependent
        self.hook: Any = None
        self.contexts: list[Context] = []

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_mode(self, name: str) -> Any:
        return MODES.INPUT if name == "x" else MODES.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name="FLOAT")

    def get_tensor_location(self, name: str) -> Any:
        on_host = {"x": "input on host", "y": "output on host"}[name]
        return PLACES.HOST if self.wrong == on_host else PLACES.DEVICE

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1, 3), (2, 3), (4 + index, 3)]

    def create_execution_context(self) -> Any:
        if self.wrong == "create_execution_context":
            self.trt.logger.log(Severity.ERROR, "no memory for a context")
            return None
        self.contexts.append(Context(self))
        return self.contexts[-1]


class IOutputAllocator:
    def __init__(self) -> None:
        self.ready = True


def engine_runtime(fail: str = "") -> Runtime:
    """Return a runtime that executes on host memory."""
    trt: Any = FakeTrt(fail=fail)
    trt.TensorIOMode, trt.TensorLocation, trt.IOutputAllocator = MODES, PLACES, IOutputAllocator
    trt.emulated_streams = Streams()
    rt = fake_runtime(trt, can_execute=True, memory=HostMemory(trt), emulated=True)
    trt.logger = rt.logger.raw
    return rt
