"""Errors of CUDA by name, and which of them a process does not survive.

Numbers, names and texts are those of the CUDA Driver API (`CUresult`, `cuGetErrorName`, `cuGetErrorString`). After an error
that is sticky there, every later call of the process gives it again: the context is corrupted, and with it the primary context
that TensorRT lives in.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Any

from pytest_trt.errors import DeviceLostError


@dataclass(frozen=True)
class CudaError:
    """One of CUDA's errors.

    Attributes
    ----------
    code : int
    symbol : str
        `CUDA_ERROR_ILLEGAL_ADDRESS`.
    text : str
        What `cuGetErrorString` gives.
    is_sticky : bool
        The process has to be ended to use the device again.
    """

    code: int
    symbol: str
    text: str
    is_sticky: bool = False

    def __str__(self) -> str:
        return f"{self.symbol} ({self.code}): {self.text}"


def _error(code: int, symbol: str, text: str, is_sticky: bool = False) -> CudaError:
    return CudaError(code, f"CUDA_ERROR_{symbol}", text, is_sticky)


KNOWN = (
    _error(1, "INVALID_VALUE", "invalid argument"),
    _error(2, "OUT_OF_MEMORY", "out of memory"),
    _error(3, "NOT_INITIALIZED", "initialization error"),
    _error(4, "DEINITIALIZED", "driver shutting down"),
    _error(34, "STUB_LIBRARY", "CUDA driver is a stub library"),
    _error(46, "DEVICE_UNAVAILABLE", "CUDA-capable device(s) is/are busy or unavailable"),
    _error(100, "NO_DEVICE", "no CUDA-capable device is detected"),
    _error(101, "INVALID_DEVICE", "invalid device ordinal"),
    _error(201, "INVALID_CONTEXT", "invalid device context"),
    _error(214, "ECC_UNCORRECTABLE", "uncorrectable ECC error encountered", True),
    _error(220, "NVLINK_UNCORRECTABLE", "uncorrectable NVLink error detected during the execution", True),
    _error(400, "INVALID_HANDLE", "invalid resource handle"),
    _error(600, "NOT_READY", "device not ready"),
    _error(700, "ILLEGAL_ADDRESS", "an illegal memory access was encountered", True),
    _error(702, "LAUNCH_TIMEOUT", "the launch timed out and was terminated", True),
    _error(709, "CONTEXT_IS_DESTROYED", "context is destroyed"),
    _error(710, "ASSERT", "device-side assert triggered", True),
    _error(714, "HARDWARE_STACK_ERROR", "hardware stack error", True),
    _error(715, "ILLEGAL_INSTRUCTION", "an illegal instruction was encountered", True),
    _error(716, "MISALIGNED_ADDRESS", "misaligned address", True),
    _error(717, "INVALID_ADDRESS_SPACE", "operation not supported on global/shared address space", True),
    _error(718, "INVALID_PC", "invalid program counter", True),
    _error(719, "LAUNCH_FAILED", "unspecified launch failure", True),
    _error(802, "SYSTEM_NOT_READY", "system not yet initialized"),
    _error(803, "SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"),
    _error(804, "COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"),
    _error(900, "STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"),
    _error(999, "UNKNOWN", "unknown error"),
)
_CUDA = re.compile(r"\bcu")
_BY_CODE = {known.code: known for known in KNOWN}


def of_code(code: int, driver: Any = None) -> CudaError:
    """Return the error of a `CUresult`; `driver`, the library, names those that are not in the table."""
    known = _BY_CODE.get(code)
    if known is not None:
        return known
    return CudaError(code, _ask(driver, "cuGetErrorName", code), _ask(driver, "cuGetErrorString", code))


def _ask(driver: Any, function: str, code: int) -> str:
    told = ctypes.c_char_p()
    asked = getattr(driver, function, None)
    if asked is None or asked(code, ctypes.byref(told)) or not told.value:
        return f"CUDA error {code}"
    return told.value.decode("utf-8", "replace")


def of_text(text: str) -> CudaError | None:
    """Return the error that a message quotes, the worst first; None where none is known.

    PyCUDA says `cuMemAlloc failed: out of memory`, TensorRT `Cuda Runtime (an illegal memory access was encountered)`. A text
    counts only where something of CUDA is named beside it.
    """
    low = text.lower()
    names_cuda = _CUDA.search(low) is not None
    quoted = [one for one in KNOWN if one.symbol in text or (names_cuda and one.text.lower() in low)]
    return max(quoted, key=lambda one: one.is_sticky, default=None)


def lost(title: str, error: CudaError, *words: str) -> DeviceLostError:
    """Return the error that says that a device cannot be used by this process any more."""
    return DeviceLostError(
        f"{title} is lost to this process: {error}",
        why=(*words, "the error is sticky: every later CUDA call of this process fails with it"),
        mend="start a fresh process (--trt-isolate runs tests in their own); run the failing one under compute-sanitizer",
    )
