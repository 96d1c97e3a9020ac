"""CUDA graphs: an enqueue that is captured once and started again without TensorRT.

On a GPU through the CUDA driver by ctypes, since PyCUDA has no graphs. Names and modes are those of the CUDA driver API ("Stream
Management", "Graph Management"). The first run of a context must not be captured: TensorRT then still prepares what a capture
forbids (NVIDIA/TensorRT issue 2603).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy.typing as npt

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime import cuda_errors
from pytest_trt.runtime.driver import load_library
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.memory import Array
from pytest_trt.runtime.session import POISON, Session

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on with CUDA


def why_no_graphs(rt: Runtime) -> str:
    """Return why enqueues cannot be captured here, in words; empty where they can."""
    if rt.emulated and rt.device != "cpu":
        return f"{rt.title} enqueues through ONNX Runtime, whose work is not captured"
    return ""


class EmulatedDriver:
    """The functions of the CUDA driver that a capture needs, on the streams of the emulator on a CPU."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams
        self._graphs: dict[int, list[Any]] = {}

    def cuStreamBeginCapture_v2(self, stream: ctypes.c_void_p, mode: ctypes.c_int) -> int:
        """Record what is enqueued."""
        self._streams.begin_capture(stream.value)
        return 0

    def cuStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        """Give what was recorded."""
        number = len(self._graphs) + 1
        self._graphs[number] = self._streams.end_capture(stream.value)
        graph._obj.value = number
        return 0

    def cuGraphGetNodes(self, graph: ctypes.c_void_p, nodes: None, count: Any) -> int:
        """Count what was recorded."""
        count._obj.value = len(self._graphs[graph.value or 0])
        return 0

    def cuGraphInstantiateWithFlags(self, made: Any, graph: ctypes.c_void_p, flags: Any) -> int:
        """Make it ready: the same number."""
        made._obj.value = graph.value
        return 0

    def cuGraphLaunch(self, made: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        """Enqueue again what was recorded."""
        for work in self._graphs[made.value or 0]:
            self._streams.submit(stream.value, work)
        return 0

    def cuGraphExecDestroy(self, made: ctypes.c_void_p) -> int:
        """Nothing to do: the graph holds it."""
        return 0

    def cuGraphDestroy(self, graph: ctypes.c_void_p) -> int:
        """Forget a graph."""
        self._graphs[graph.value or 0] = []
        return 0


def load_driver(rt: Runtime) -> Any:
    """Return the CUDA driver's library, or what plays it for the emulator on a CPU.

    Raises
    ------
    DriverError
        There is none.
    """
    if rt.emulated and rt.device == "cpu":
        return EmulatedDriver(rt.trt.emulated_streams)
    return load_library()


class CapturedRun:
    """The run of a session, captured as a CUDA graph.

    Parameters
    ----------
    session : Session
        Its context and buffers live as long as this does, and are used by nobody else meanwhile.
    inputs : mapping of str to array-like
        For the runs before the capture; later ones have their shapes.
    driver : library, optional
        Default: `load_driver`.

    Attributes
    ----------
    nodes : int
        How many nodes were captured.

    Raises
    ------
    ExecutionError
        TensorRT refused to be captured, or nothing was captured: every replay would leave the old outputs
        (ultralytics/ultralytics pull request 26223).
    """

    def __init__(self, session: Session, inputs: Mapping[str, npt.ArrayLike], driver: Any = None) -> None:
        self._driver = load_driver(session.rt) if driver is None else driver
        self.session = session
        self._graph, self._exec = ctypes.c_void_p(), ctypes.c_void_p()
        session.run(inputs)
        try:
            self.nodes = self._capture()
        except ExecutionError:
            self.close()
            raise

    def _capture(self) -> int:
        """Capture one enqueue, make it ready to start, and return how many nodes it has."""
        stream, count = ctypes.c_void_p(self.session.stream.handle), ctypes.c_size_t()
        with self.session.memory.active(), self.session.rt.logger.call():
            self._do("cuStreamBeginCapture_v2", stream, ctypes.c_int(_THREAD_LOCAL))
            taken = self.session.context.execute_async_v3(self.session.stream.handle)
            self._do("cuStreamEndCapture", stream, ctypes.byref(self._graph), asked=bool(taken))
            if not taken:
                raise ExecutionError(
                    "TensorRT did not let its enqueue be captured (execute_async_v3 returned False)"
                )
            self._do("cuGraphGetNodes", self._graph, None, ctypes.byref(count))
            if not count.value:
                raise ExecutionError(
                    "the captured CUDA graph is empty",
                    why="the engine was loaded for another device or enqueued on another stream",
                )
            self._do(
                "cuGraphInstantiateWithFlags", ctypes.byref(self._exec), self._graph, ctypes.c_ulonglong(0)
            )
        return int(count.value)

    def _do(self, name: str, *arguments: Any, asked: bool = True) -> None:
        status = int(getattr(self._driver, name)(*arguments))
        if status and asked:
            error = cuda_errors.of_code(status, self._driver)
            raise self.session.memory.failure(f"{name} answered {status}", (str(error),))

    def run(self, inputs: Mapping[str, npt.ArrayLike], *, poison: int = POISON) -> dict[str, Array]:
        """Return the outputs of a replay on other inputs of the same shapes; outputs are poisoned before."""
        stream = ctypes.c_void_p(self.session.stream.handle)
        return self.session.replay(
            lambda: self._do("cuGraphLaunch", self._exec, stream), inputs, poison=poison
        )

    def close(self) -> None:
        """Let go of the graph; the session lives on."""
        with self.session.memory.active():
            if self._exec:
                self._do("cuGraphExecDestroy", self._exec)
            if self._graph:
                self._do("cuGraphDestroy", self._graph)
        self._graph, self._exec = ctypes.c_void_p(), ctypes.c_void_p()

    def __enter__(self) -> CapturedRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
