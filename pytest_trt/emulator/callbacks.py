"""Classes that users subclass: loggers, recorders, monitors, profilers, allocators, listeners, calibrators."""

from __future__ import annotations

import sys
import time
from typing import Any

from pytest_trt.emulator.bound import Callback

_LETTERS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


class ILogger(Callback):
    """Base of loggers: a subclass defines `log(severity, msg)`."""

    def log(self, severity: Any, msg: str) -> None:
        """Take one message; a subclass must define it, else the bindings print that it does not."""
        print(
            '[ERROR] Exception caught in log(): Tried to call pure virtual function "ILogger::log"',
            file=sys.stderr,
        )


class Logger(ILogger):
    """The logger of the bindings: prints messages of `min_severity` and worse."""

    _least: Any

    def __init__(self, min_severity: Any = None) -> None:
        self._ready = True
        self._least = min_severity or self._host.enum("ILogger.Severity")._table["WARNING"]

    @property
    def min_severity(self) -> Any:
        """The mildest severity that is printed."""
        return self._least

    @min_severity.setter
    def min_severity(self, value: Any) -> None:
        self._least = value

    def log(self, severity: Any, msg: str) -> None:
        """Print the message: errors and warnings on stderr, the others on stdout."""
        if severity > self._least:
            return
        stamp = time.strftime("[%m/%d/%Y-%H:%M:%S]")
        stream = sys.stderr if severity.name in ("INTERNAL_ERROR", "ERROR", "WARNING") else sys.stdout
        print(f"{stamp} [TRT] [{_LETTERS[severity.name]}] {msg}", file=stream)


class IErrorRecorder(Callback):
    """Base of error recorders; TensorRT calls `get_num_errors`, which the base does not show, and `report_error`."""

    MAX_DESC_LENGTH = 127

    def num_errors(self) -> int:
        """Return the count; for the user's own calls."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::num_errors"')

    def get_error_code(self, arg0: int) -> Any:
        """Return the code of an error; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::get_error_code"')

    def get_error_desc(self, arg0: int) -> str:
        """Return the text of an error; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::get_error_desc"')

    def has_overflowed(self) -> bool:
        """Return whether errors were lost; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::has_overflowed"')

    def clear(self) -> None:
        """Forget all errors; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::clear"')

    def report_error(self, arg0: Any, arg1: str) -> bool:
        """Take an error; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IErrorRecorder::report_error"')


class IProgressMonitor(Callback):
    """Base of progress monitors; `step_complete` returning False cancels the build."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Take the start of a phase; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_start"')

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Take a step and return whether to go on; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::step_complete"')

    def phase_finish(self, phase_name: str) -> None:
        """Take the end of a phase; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IProgressMonitor::phase_finish"')


class IProfiler(Callback):
    """Base of profilers."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Take the time of one layer, milliseconds; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IProfiler::report_layer_time"')


class Profiler(IProfiler):
    """The profiler of the bindings: prints each layer's time."""

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        """Print the time of one layer."""
        print(f"{layer_name}: {ms}ms")


class IOutputAllocator(Callback):
    """Base of output allocators: `reallocate_output`, or from 10.0 `reallocate_output_async`, and `notify_shape`."""

    @property
    def tensorrt_version(self) -> int:
        """The interface version, where the surface has it."""
        return 1

    def reallocate_output(self, tensor_name: str, memory: Any, size: int, alignment: int) -> int:
        """Return an address of at least `size` bytes; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IOutputAllocator::reallocate_output"')

    def notify_shape(self, tensor_name: str, shape: Any) -> None:
        """Take the shape of an output; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IOutputAllocator::notify_shape"')


class IDebugListener(Callback):
    """Base of debug listeners."""

    def process_debug_tensor(
        self, addr: int, location: Any, type: Any, shape: Any, name: str, stream: int
    ) -> None:
        """Take one debug tensor; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IDebugListener::process_debug_tensor"')


class IStreamWriter(Callback):
    """Base of stream writers; an override takes `write(data: bytes)` and returns how many bytes it took."""

    def write(self, data: Any, size: int) -> int:
        """Take bytes of the plan; a subclass must define it, with one argument."""
        raise RuntimeError('Tried to call pure virtual function "IStreamWriter::write"')


class IInt8Calibrator(Callback):
    """Base of calibrators: `get_batch_size`, `get_batch(names)`, and reading and writing a cache."""

    _algorithm = ""

    def get_algorithm(self) -> Any:
        """Return the `CalibrationAlgoType`."""
        if not self._algorithm:
            raise RuntimeError('Tried to call pure virtual function "IInt8Calibrator::get_algorithm"')
        return self._host.enum("CalibrationAlgoType")._table[self._algorithm]

    def get_batch_size(self) -> int:
        """Return the number of samples in a batch; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IInt8Calibrator::get_batch_size"')

    def get_batch(self, names: list[str]) -> list[int] | None:
        """Return one address an input, or None at the end; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IInt8Calibrator::get_batch"')

    def read_calibration_cache(self) -> Any:
        """Return the cache, or None; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IInt8Calibrator::read_calibration_cache"')

    def write_calibration_cache(self, cache: Any) -> None:
        """Take the cache; a subclass must define it."""
        raise RuntimeError('Tried to call pure virtual function "IInt8Calibrator::write_calibration_cache"')


class IInt8EntropyCalibrator(IInt8Calibrator):
    """Calibrator of the first entropy algorithm."""

    _algorithm = "ENTROPY_CALIBRATION"


class IInt8EntropyCalibrator2(IInt8Calibrator):
    """Calibrator of the second entropy algorithm."""

    _algorithm = "ENTROPY_CALIBRATION_2"


class IInt8MinMaxCalibrator(IInt8Calibrator):
    """Calibrator of the min-max algorithm."""

    _algorithm = "MINMAX_CALIBRATION"


class IInt8LegacyCalibrator(IInt8Calibrator):
    """Calibrator of the quantile algorithm; a subclass has `get_quantile` and three more that this class does not show."""

    _algorithm = "LEGACY_CALIBRATION"
