"""Tensors between the layers of an engine, shown while it runs and without another output: debug tensors (TensorRT 10 on)."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime.binding import _DTYPES, _WIRE, TensorInfo
from pytest_trt.runtime.cuda import CudaBuffer, CudaMemory
from pytest_trt.runtime.features import probe
from pytest_trt.runtime.memory import Array, Memory, Stream
from pytest_trt.runtime.session import Session


class DebugTensors:
    """An `IDebugListener` on our memory; `raw` is what TensorRT is given.

    `seen` is what it showed in the last run, `calls` how often it did so since it was made. TensorRT swallows what a callback
    raises, so the callback keeps the error and `check` raises it.
    """

    def __init__(self, trt: Any, memory: Memory, stream: Stream) -> None:
        self._trt, self._memory, self._stream = trt, memory, stream
        self.seen: dict[str, Array] = {}
        self.calls: Counter[str] = Counter()
        self._error: Exception | None = None
        hub = self

        def start(this: Any) -> None:
            trt.IDebugListener.__init__(this)

        def process(
            this: Any, addr: Any, location: Any, type: Any, shape: Any, name: str, stream: Any
        ) -> bool:
            hub.take(addr, location, type, shape, name)
            return True

        members = {"__init__": start, "process_debug_tensor": process}
        self.raw: Any = type("SessionDebugListener", (trt.IDebugListener,), members)()

    def take(self, address: Any, location: Any, kind: Any, shape: Any, name: str) -> None:
        """Copy one tensor; one of a type that numpy lacks is passed over."""
        try:
            self.calls[str(name)] += 1
            if kind.name not in _DTYPES:
                return
            extents = tuple(int(extent) for extent in shape)
            info = TensorInfo(str(name), False, _DTYPES[kind.name], extents, wire=_WIRE.get(kind.name))
            on_host = location == self._trt.TensorLocation.HOST
            values = self._copy(_number(address), extents, info.stored, on_host)
            self.seen[info.name] = info.from_engine(values)
        except Exception as error:  # must not leave a callback
            self._error = error

    def _copy(self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike, on_host: bool) -> Array:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if isinstance(self._memory, CudaMemory) and not on_host:
            return self._memory.download(CudaBuffer(address, nbytes), shape, dtype, self._stream)
        values: Array = np.frombuffer(ctypes.string_at(address, nbytes), dtype).reshape(shape).copy()
        return values

    def check(self) -> None:
        """Raise what went wrong in a callback.

        Raises
        ------
        ExecutionError
        """
        if self._error is not None:
            raise ExecutionError(f"a debug tensor could not be copied: {self._error}") from self._error


def _number(address: Any) -> int:
    """Return an address that the bindings give as an integer, or as a capsule."""
    if isinstance(address, int):
        return address
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(address, name(address)) or 0)


@contextmanager
def listen(session: Session) -> Iterator[DebugTensors]:
    """Give a listener that is told of the debug tensors that are on; who turns them on, and off again, is the caller.

    Raises
    ------
    ExecutionError
        TensorRT did not take the listener; or, behind the block, what went wrong in a call of it.
    """
    listener = DebugTensors(session.rt.trt, session.memory, session.stream)
    if session.context.set_debug_listener(listener.raw) is False:
        raise ExecutionError("the context did not take a debug listener")
    yield listener
    listener.check()


@contextmanager
def show_marked(session: Session, names: Collection[str]) -> Iterator[DebugTensors]:
    """Give a listener to which the runs of a session inside of the block show the tensors that were marked by name.

    Raises
    ------
    ExecutionError
        As `listen`; or a tensor is not a debug tensor of the engine.
    """
    context = session.context
    with listen(session) as listener:
        try:
            for name in names:
                if not context.set_tensor_debug_state(name, True):
                    raise ExecutionError(f"{name!r} is not a debug tensor of the engine")
            yield listener
        finally:
            context.set_all_tensors_debug_state(False)


@contextmanager
def show_tensors(session: Session) -> Iterator[dict[str, Array]]:
    """Give a mapping that the runs of a session inside of the block fill with the tensors between layers.

    The engine has to be built with such tensors marked. They carry the engine's own names, which need not be those of the
    network, and TensorRT does not promise to show all of them. The mapping stays empty where the TensorRT cannot.

    Raises
    ------
    ExecutionError
        A tensor could not be copied.
    """
    context = session.context
    if not probe(context, "set_debug_listener"):
        yield {}
        return
    unfused = probe(context, "unfused_tensors_debug_state")
    with listen(session) as listener:
        if unfused:
            context.unfused_tensors_debug_state = True
        else:
            context.set_all_tensors_debug_state(True)
        try:
            yield listener.seen
        finally:
            if unfused:
                context.unfused_tensors_debug_state = False
            context.set_all_tensors_debug_state(False)
