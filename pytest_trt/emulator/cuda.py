"""The emulated device on a GPU: ONNX Runtime's CUDA provider on PyCUDA's primary context and the caller's streams.

Addresses are device pointers and streams are CUDA streams, so every line of an adapter's CUDA half runs as it would with
TensorRT. A plain run is enqueued on the caller's stream and not waited for; one that faults, a profiler or a listener
must see is computed on the CPU from copies. The only file of the emulator that imports PyCUDA.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.clock import Clock
from pytest_trt.emulator.program import Program, cpu_session, session_options
from pytest_trt.errors import RuntimeMissingError

if TYPE_CHECKING:
    from pytest_trt.emulator.launch import Launch

_PROVIDER = "CUDAExecutionProvider"
# Streams of one engine whose sessions are kept, each with some 70 MB of the GPU: a stream that is destroyed does not say so.
STREAMS_KEPT = 12


def load_driver(ordinal: int) -> Any:
    """Return `pycuda.driver`, initialised.

    Raises
    ------
    RuntimeMissingError
        PyCUDA, the GPU or ONNX Runtime's CUDA provider is missing.
    """
    mend = (
        "pip install pytest-trt[cuda] onnxruntime-gpu, on a machine with an NVIDIA GPU; or --trt-device=cpu"
    )
    try:
        driver = import_module("pycuda.driver")
    except ImportError as error:
        raise RuntimeMissingError(
            f"cuda:{ordinal} needs PyCUDA, which does not import", why=str(error), mend=mend
        ) from error
    try:
        driver.init()
        count = int(driver.Device.count())
    except Exception as error:
        raise RuntimeMissingError(
            f"cuda:{ordinal}: no CUDA driver answers", why=str(error), mend=mend
        ) from error
    if ordinal >= count:
        raise RuntimeMissingError(f"cuda:{ordinal} is not here", why=f"CUDA sees {count} GPU(s)", mend=mend)
    if _PROVIDER not in ort.get_available_providers():
        raise RuntimeMissingError(
            f"cuda:{ordinal} needs ONNX Runtime with {_PROVIDER}",
            why=f"this one has {', '.join(ort.get_available_providers())}",
            mend=mend,
        )
    return driver


class Either:
    """A session on the GPU whose runs go to the CPU where they fail, for instance an AveragePool of 65536 rows."""

    def __init__(self, session: Any, model: ModelProto | bytes) -> None:
        self._session = session
        self._model = model
        self._other: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str] | None, feeds: Mapping[str, Any]) -> Any:
        """Return the outputs; what the CPU cannot compute either raises as there."""
        if self._other is None:
            try:
                return self._session.run(names, feeds)
            except Exception:  # ONNX Runtime's errors have no common class
                self._other = cpu_session(self._model)
        return self._other.run(names, feeds)


class CudaDevice:
    """One GPU as device.

    Parameters
    ----------
    ordinal : int
        Of the GPU among those that the process sees.

    Raises
    ------
    RuntimeMissingError
        PyCUDA, the GPU or ONNX Runtime's CUDA provider is missing.
    """

    def __init__(self, ordinal: int) -> None:
        self.name = f"cuda:{ordinal}"
        self.clock = Clock()
        self._ordinal = ordinal
        self._driver = load_driver(ordinal)
        self._context = self._driver.Device(ordinal).retain_primary_context()
        self._blocks: list[Any] = []
        self._lock = threading.Lock()
        self._sessions: weakref.WeakKeyDictionary[Program, dict[int, tuple[Any, threading.Lock]]]
        self._sessions = weakref.WeakKeyDictionary()

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the primary context current in this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def session(self, model: ModelProto | bytes) -> Any:
        """Return a session on the GPU that waits for its own work; what cuDNN has no kernel for is computed on the CPU."""
        return Either(self._make(model, 0), model)

    def _make(self, model: ModelProto | bytes, stream: int) -> ort.InferenceSession:
        # Integer convolutions are exact only as direct sums: cuDNN's default algorithm is one, Winograd is not.
        settings = {"device_id": str(self._ordinal), "use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
        if stream:
            settings["user_compute_stream"] = str(stream)
        with self.current():
            return ort.InferenceSession(
                model if isinstance(model, bytes) else model.SerializeToString(),
                session_options(),
                providers=[(_PROVIDER, settings), "CPUExecutionProvider"],
            )

    def is_stream(self, handle: int) -> bool:
        """Return True for any handle that can be one: only CUDA knows its streams."""
        return handle >= 0

    def is_capturing(self, handle: int) -> bool:
        """Return False: what ONNX Runtime enqueues is not captured."""
        return False

    def drain(self, handle: int) -> None:
        """Wait until all work is done, of this stream and, since PyCUDA cannot wrap a handle, of the others."""
        with self.current():
            self._driver.Context.synchronize()

    def submit(self, handle: int, work: Callable[[], None]) -> None:
        """Wait for what was enqueued before, then do the work."""
        self.drain(handle)
        work()

    def spend(self, handle: int, seconds: float) -> None:
        """Nothing to do: events are CUDA's, and tell its time."""

    def is_event(self, handle: int) -> bool:
        """Return False: PyCUDA records no event that is known by its handle alone."""
        return False

    def reset_event(self, handle: int) -> None:
        """Nothing to do: there are no events."""

    def fire(self, handle: int) -> None:
        """Nothing to do: there are no events."""

    def start(self, launch: Launch, addresses: Mapping[str, int], handle: int) -> bool:
        """Enqueue a plain run on a CUDA stream without waiting; False where it must be done step by step.

        A run needs buffers that are laid out as the tensors are carried, and a stream of the caller's.
        """
        core = launch.core
        program = core.program()
        plain = all(
            port.elem == port.native == dtypes.carried_elem(port.native) for port in core.ports.values()
        )
        if program.must_step or not plain or not handle:
            return False
        session, lock = self._session_on(program, handle)
        with lock, self.current():
            binding = session.io_binding()
            for name, (address, shape) in launch.inputs.items():
                kind = core.ports[name].kind.type
                binding.bind_input(name, "cuda", self._ordinal, kind, list(shape), address)
            for name, shape in launch.outputs.items():
                kind = core.ports[name].kind.type
                binding.bind_output(name, "cuda", self._ordinal, kind, list(shape), addresses[name])
            options = ort.RunOptions()
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
            try:
                session.run_with_iobinding(binding, options)
            except RuntimeError:  # as `Either`
                return False
        return True

    def _session_on(self, program: Program, handle: int) -> tuple[Any, threading.Lock]:
        with self._lock:
            table = self._sessions.setdefault(program, {})
            found = table.pop(handle, None)
            if found is None:
                while len(table) >= STREAMS_KEPT:
                    self._drop(*table.pop(next(iter(table))))
                found = (self._make(program.whole_model(), handle), threading.Lock())
            table[handle] = found  # the one that was used last is the last one
            return found

    def _drop(self, session: Any, lock: threading.Lock) -> None:
        """Let go of a session when all that it enqueued is done."""
        with lock:
            self.drain(0)
            del session

    def read(self, address: int, kind: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
        """Return a copy of device memory."""
        array: NDArray[Any] = np.empty(tuple(shape), kind)
        if array.size:
            with self.current():
                self._driver.memcpy_dtoh(array, address)
        return array

    def write(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array to device memory."""
        if array.size:
            with self.current():
                self._driver.memcpy_htod(address, np.ascontiguousarray(array))

    def allocate(self, size: int) -> int:
        """Return the address of new device memory."""
        with self.current():
            block = self._driver.mem_alloc(max(1, size))
        with self._lock:
            self._blocks.append(block)
        return int(block)
