"""The loops that ours is measured against: raw calls of TensorRT and PyCUDA written by hand, and ONNX Runtime alone.

What such a loop runs has nothing of pytest-trt in it. Buffers, pinned memory, shapes and addresses are set once. On a CPU
`HostCuda` stands for `pycuda.driver`, so that the same lines run without a GPU.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import onnxruntime as ort
from _gpu_networks import INPUT, OUTPUT
from numpy.typing import NDArray

Array = NDArray[Any]
PATIENCE = 120.0  # seconds that threads wait for each other before one of them is taken to have failed


class HandLoop:
    """One context of an engine on its own stream, by TensorRT's Python API and PyCUDA.

    Parameters
    ----------
    cuda : module
        `pycuda.driver`, with a context current; or a `HostCuda`.
    engine : ICudaEngine
        One input `x` and one output `y`, both float32.
    shape : tuple of int
        Of the input.
    """

    def __init__(self, cuda: Any, engine: Any, shape: tuple[int, ...]) -> None:
        self.cuda = cuda
        self.stream = cuda.Stream()
        self.context = engine.create_execution_context()
        if self.context is None or not self.context.set_input_shape(INPUT, shape):
            raise RuntimeError(f"no execution context for an input of shape {shape}")
        result = tuple(int(size) for size in self.context.get_tensor_shape(OUTPUT))
        self.pinned_x: Array = cuda.pagelocked_empty(shape, np.float32)
        self.pinned_y: Array = cuda.pagelocked_empty(result, np.float32)
        self.device_x = cuda.mem_alloc(self.pinned_x.nbytes)
        self.device_y = cuda.mem_alloc(self.pinned_y.nbytes)
        for name, memory in ((INPUT, self.device_x), (OUTPUT, self.device_y)):
            if not self.context.set_tensor_address(name, int(memory)):
                raise RuntimeError(f"the context took no address for {name!r}")

    def enqueue(self, runs: int) -> None:
        """Enqueue runs on what lies in the buffers."""
        execute, handle = self.context.execute_async_v3, self.stream.handle
        for _ in range(runs):
            if not execute(handle):
                raise RuntimeError("execute_async_v3 returned False")

    def run(self, x: Array) -> Array:
        """Return the output, in pinned memory that the next run overwrites."""
        np.copyto(self.pinned_x, x)
        self.cuda.memcpy_htod_async(self.device_x, self.pinned_x, self.stream)
        if not self.context.execute_async_v3(self.stream.handle):
            raise RuntimeError("execute_async_v3 returned False")
        self.cuda.memcpy_dtoh_async(self.pinned_y, self.device_y, self.stream)
        self.stream.synchronize()
        return self.pinned_y

    def close(self) -> None:
        """Let go of the context before what it works on; with CUDA current."""
        self.stream.synchronize()
        self.context = None
        for memory in (self.device_x, self.device_y):
            memory.free()
        del self.pinned_x, self.pinned_y, self.stream


class BareLoop:
    """ONNX Runtime alone: the model that the emulator computes with, on buffers of its own.

    Parameters
    ----------
    cuda : module
        As for `HandLoop`.
    model : bytes
    shape, result : tuple of int
        Of input and output.
    ordinal : int or None
        Of the GPU; None computes on the CPU.
    options : SessionOptions
        Those of the emulator.
    """

    def __init__(
        self,
        cuda: Any,
        model: bytes,
        shape: tuple[int, ...],
        result: tuple[int, ...],
        ordinal: int | None,
        options: ort.SessionOptions,
    ) -> None:
        self.cuda = cuda
        self.on_cpu = ordinal is None
        self.stream = cuda.Stream()
        self.pinned_x: Array = cuda.pagelocked_empty(shape, np.float32)
        self.pinned_y: Array = cuda.pagelocked_empty(result, np.float32)
        self.device_x = cuda.mem_alloc(self.pinned_x.nbytes)
        self.device_y = cuda.mem_alloc(self.pinned_y.nbytes)
        self.options = ort.RunOptions()
        providers: list[Any] = ["CPUExecutionProvider"]
        place, number = "cpu", 0
        if ordinal is not None:
            settings = {
                "device_id": str(ordinal),
                "use_tf32": "0",
                "cudnn_conv_algo_search": "DEFAULT",
                "user_compute_stream": str(self.stream.handle),
            }
            providers.insert(0, ("CUDAExecutionProvider", settings))
            place, number = "cuda", ordinal
            self.options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self.session = ort.InferenceSession(model, options, providers=providers)
        self.binding = self.session.io_binding()
        self.binding.bind_input(INPUT, place, number, np.float32, list(shape), int(self.device_x))
        self.binding.bind_output(OUTPUT, place, number, np.float32, list(result), int(self.device_y))

    def enqueue(self, runs: int) -> None:
        """Enqueue runs on what lies in the buffers."""
        run, binding, options = self.session.run_with_iobinding, self.binding, self.options
        for _ in range(runs):
            run(binding, options)

    def run(self, x: Array) -> Array:
        """Return the output, in pinned memory that the next run overwrites."""
        np.copyto(self.pinned_x, x)
        self.cuda.memcpy_htod_async(self.device_x, self.pinned_x, self.stream)
        if self.on_cpu:  # there it computes at once, on no stream
            self.stream.synchronize()
        self.session.run_with_iobinding(self.binding, self.options)
        self.cuda.memcpy_dtoh_async(self.pinned_y, self.device_y, self.stream)
        self.stream.synchronize()
        return self.pinned_y

    def close(self) -> None:
        """Let go of the session before what it works on; with CUDA current."""
        self.stream.synchronize()
        del self.binding, self.session
        for memory in (self.device_x, self.device_y):
            memory.free()
        del self.pinned_x, self.pinned_y, self.stream


def run_hand_threads(
    loops: Sequence[HandLoop], rounds: int, in_flight: int, current: Callable[[], AbstractContextManager[Any]]
) -> float:
    """Return the seconds from the first start to the last end of threads that run a loop each.

    Parameters
    ----------
    loops : sequence of HandLoop
        One a thread; what lies in their buffers is run.
    rounds, in_flight : int
        Each thread enqueues `in_flight` runs and waits for them, so many times.
    current : callable
        Gives the block in which a thread has CUDA's context; it is entered once a thread.

    Raises
    ------
    RuntimeError
        A thread failed.
    """
    barrier = threading.Barrier(len(loops), timeout=PATIENCE)
    spans: list[tuple[float, float]] = []
    errors: list[BaseException] = []

    def work(loop: HandLoop) -> None:
        try:
            with current():
                execute, stream = loop.context.execute_async_v3, loop.stream
                handle, synchronize = stream.handle, stream.synchronize
                barrier.wait()
                began = time.perf_counter()
                for _ in range(rounds):
                    for _ in range(in_flight):
                        if not execute(handle):
                            raise RuntimeError("execute_async_v3 returned False")
                    synchronize()
                spans.append((began, time.perf_counter()))
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(loops)} threads failed") from errors[0]
    return max(end for _, end in spans) - min(began for began, _ in spans)


class HostCuda:
    """What the loops call of `pycuda.driver`, in host memory and on the streams of an emulator on a CPU."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    def Stream(self) -> HostStream:
        """Return a new stream."""
        return HostStream(self._streams)

    def mem_alloc(self, nbytes: int) -> HostAllocation:
        """Return uninitialised memory."""
        return HostAllocation(nbytes)

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised array."""
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, dest: Any, src: Array, stream: HostStream) -> None:
        """Queue a copy."""
        stream.submit(lambda: ctypes.memmove(int(dest), src.ctypes.data, src.nbytes))

    def memcpy_dtoh_async(self, dest: Array, src: Any, stream: HostStream) -> None:
        """Queue a copy."""
        stream.submit(lambda: ctypes.memmove(dest.ctypes.data, int(src), dest.nbytes))


class HostStream:
    """A stream with the two names that the loops use, and the way to queue something."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams
        self.handle: int = streams.create_stream()

    def submit(self, work: Callable[[], Any]) -> None:
        """Queue work."""
        self._streams.submit(self.handle, work)

    def synchronize(self) -> None:
        """Do what is queued."""
        self._streams.synchronize(self.handle)

    def __del__(self) -> None:
        self._streams.destroy(self.handle)


class HostAllocation:
    """Memory that is known by its address, aligned as CUDA's."""

    def __init__(self, nbytes: int) -> None:
        self._bytes: Array = np.empty(nbytes + 256, np.uint8)
        self._address = (int(self._bytes.ctypes.data) + 255) // 256 * 256

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        """Give it back."""
        self._bytes = np.empty(0, np.uint8)
