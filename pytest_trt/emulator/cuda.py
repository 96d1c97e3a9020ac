"""The emulated device on a GPU: ONNX Runtime's CUDA provider on PyCUDA's primary context, tied to the caller's streams.

Addresses are device pointers and streams are CUDA streams, so every line of an adapter's CUDA half runs as it would with
TensorRT. A plain run is enqueued between what is on the caller's stream and what comes there later, and not waited for
(`bridge`); one that faults, a profiler or a listener must see is computed on the CPU from copies.

What is computed is the same graph as on the CPU, in CUDA's kernels: convolutions and matrix products in float32, without
TF32. An fp16 or bf16 engine rounds their operands and results to its type by casts, and sums in float32. INT8 products
are float32 sums of integers, in parts that the mantissa holds exactly. Engines of all these types are enqueued where
their inputs and outputs are no 16-bit buffers; those are converted by the host, which waits. TF32 engines, whose operands
are rounded step by step, and engines with plugins are computed step by step from copies, and waited for. So times here are
times of float32 kernels, whatever type was asked for. The only file of the emulator that imports PyCUDA.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.bridge import Driver, Lane, Lanes, Seat, load_library
from pytest_trt.emulator.clock import Clock
from pytest_trt.emulator.program import Program, cpu_session, session_options
from pytest_trt.errors import ExecutionError, RuntimeMissingError

if TYPE_CHECKING:
    from pytest_trt.emulator.core import Core
    from pytest_trt.emulator.launch import Launch

_PROVIDER = "CUDAExecutionProvider"


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

    can_capture = False  # ONNX Runtime allocates and waits while it runs

    def __init__(self, ordinal: int) -> None:
        self.name = f"cuda:{ordinal}"
        self.clock = Clock()
        self._ordinal = ordinal
        self._driver = load_driver(ordinal)
        self._context = self._driver.Device(ordinal).retain_primary_context()
        self._blocks: list[Any] = []
        self._lock = threading.Lock()
        self._library = self._load_library()
        self._streams: set[int] = set()  # that were shown to be some
        self._lanes: weakref.WeakKeyDictionary[Program, Lanes] = weakref.WeakKeyDictionary()
        with self.current():
            self._idle = self._library.create_stream()  # nothing is ever enqueued on it

    def _load_library(self) -> Driver:
        try:
            return load_library()
        except OSError as error:
            raise RuntimeMissingError(
                f"{self.name}: the library of CUDA's driver does not load",
                why=str(error),
                mend="install the NVIDIA driver, or --trt-device=cpu",
            ) from error

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
        """Return whether CUDA knows the stream; one that it knew once is believed, and refused when it is used."""
        if handle in self._streams:
            return True
        with self.current():
            found = self._library.is_stream(handle)
        if found:
            self._streams.add(handle)
        return found

    def is_capturing(self, handle: int) -> bool:
        """Return whether a stream is captured."""
        self._context.push()  # here and in `start` without `current`, which costs a microsecond more
        try:
            return self._library.is_capturing(handle)
        finally:
            self._context.pop()

    def drain(self, handle: int) -> None:
        """Wait until all work of this stream is done."""
        with self.current():
            self._library.synchronize(handle)

    def submit(self, handle: int, work: Callable[[], None]) -> None:
        """Wait for what was enqueued before, then do the work."""
        self.drain(handle)
        work()

    def spend(self, handle: int, seconds: float) -> None:
        """Nothing to do: events are CUDA's, and tell its time."""

    def is_event(self, handle: int) -> bool:
        """Return whether CUDA knows the event."""
        with self.current():
            return self._library.is_event(handle)

    def reset_event(self, handle: int) -> None:
        """Nothing to do: an event waits once it is recorded."""

    def fire(self, handle: int) -> None:
        """Record an event where nothing is to be waited for."""
        with self.current():
            self._library.record(handle, self._idle)

    def start(self, launch: Launch, addresses: Mapping[str, int], handle: int) -> bool:
        """Enqueue a plain run on a CUDA stream without waiting; False where the host must do it.

        A run needs buffers that are laid out as the tensors are carried, and kernels for all its nodes.

        Raises
        ------
        ExecutionError
            CUDA refuses, for instance a stream that is destroyed; or there is no memory for a session.
        """
        program = launch.core.program()
        held = launch.held
        if held.get("refused") is program:
            return False
        seat: Seat | None = held.get("seat")
        if seat is None or seat.program is not program:
            if not _is_plain(launch.core, program):
                held["refused"] = program
                return False
            seat = held["seat"] = Seat(program, self._lanes_of(program))
        self._context.push()
        try:
            if seat.lane.run(launch, addresses, handle):
                return True
        finally:
            self._context.pop()
        held["refused"] = program  # as `Either`
        held.pop("seat")
        return False

    def _lanes_of(self, program: Program) -> Lanes:
        with self._lock:
            found = self._lanes.get(program)
            if found is None:
                data = program.whole_model().SerializeToString()
                found = self._lanes[program] = Lanes(partial(self._make_lane, data))
            return found

    def _make_lane(self, data: bytes) -> Lane:
        try:
            return Lane(self._library, self.current, partial(self._make, data), self._ordinal)
        except ExecutionError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise ExecutionError(f"ONNX Runtime made no session: {error}") from error

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
                self._library.synchronize(0)  # from pageable memory the copy may return before it is done

    def allocate(self, size: int) -> int:
        """Return the address of new device memory."""
        with self.current():
            block = self._driver.mem_alloc(max(1, size))
        with self._lock:
            self._blocks.append(block)
        return int(block)

    def __del__(self) -> None:
        # Collected in any thread, and PyCUDA frees memory only where its context is current. An error has nobody to hear it.
        with suppress(Exception):
            if not sys.is_finalizing():
                with self.current():
                    self._blocks.clear()
                    self._library.destroy_stream(self._idle)


def _is_plain(core: Core, program: Program) -> bool:
    """Return whether one session can do a run, on buffers that are laid out as its tensors are carried."""
    return not program.must_step and all(
        port.elem == port.native == dtypes.carried_elem(port.native) for port in core.ports.values()
    )
