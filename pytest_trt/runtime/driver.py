"""The way to CUDA: PyCUDA for memory, the driver's library for what PyCUDA lacks, and why either is not to be had."""

from __future__ import annotations

import ctypes
import functools
import importlib
from typing import Any

from pytest_trt.errors import DriverError, RuntimeMissingError
from pytest_trt.runtime import cuda_errors

LIBRARY = "libcuda.so.1"
_DOCTOR = "python -m pytest_trt doctor shows driver and GPUs"
_INSTALL = "install NVIDIA's driver (https://www.nvidia.com/drivers); no Python package has it"
_IN_CONTAINER = "in a container: docker run --gpus all"


@functools.cache
def load_library(keeps_lock: bool = False) -> Any:
    """Return the library of the driver.

    Parameters
    ----------
    keeps_lock : bool
        Its functions are called with the interpreter's lock held: right for those that only enqueue or ask, where taking the lock
        back from another thread can take a thousand times as long as the call.

    Raises
    ------
    DriverError
        It does not load.
    """
    try:
        return (ctypes.PyDLL if keeps_lock else ctypes.CDLL)(LIBRARY)
    except OSError as error:
        raise DriverError(
            f"CUDA's driver library does not load: {error}", mend=f"{_INSTALL}; {_IN_CONTAINER}"
        ) from error


def current_context() -> int:
    """Return the handle of the context that is current in this thread; 0 where there is none, or no driver to ask."""
    handle = ctypes.c_void_p()
    try:
        answer = load_library(keeps_lock=True).cuCtxGetCurrent(ctypes.byref(handle))
    except DriverError:
        return 0
    return 0 if answer else handle.value or 0


def load_pycuda() -> Any:
    """Return `pycuda.driver`, initialised.

    Raises
    ------
    RuntimeMissingError
        PyCUDA is not installed, or a library of the toolkit that it was built against is not here.
    DriverError
        There is no driver, it is older than what PyCUDA was built for, or it sees no GPU.
    """
    try:
        cuda: Any = importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise _not_imported(error) from error
    try:
        cuda.init()
    except cuda.Error as error:
        raise _not_started(cuda, error) from error
    return cuda


def open_device(ordinal: int) -> tuple[Any, Any]:
    """Return PyCUDA's driver module and the primary context of a GPU, retained.

    Raises
    ------
    RuntimeMissingError, DriverError
        As `load_pycuda`; or there is no such GPU.
    """
    cuda = load_pycuda()
    try:
        count = int(cuda.Device.count())
        if ordinal < count:
            return cuda, cuda.Device(ordinal).retain_primary_context()
    except cuda.Error as error:
        known = cuda_errors.of_text(str(error))
        named = f" [{known.symbol}, {known.code}]" if known is not None else ""
        raise DriverError(
            f"CUDA device {ordinal} cannot be used: {error}{named}",
            why=_versions(cuda),
            mend=f"{_DOCTOR}; another process may hold the GPU in exclusive mode",
        ) from error
    good = ", ".join(f"cuda:{n}" for n in range(count)) or "none"
    raise DriverError(
        f"CUDA device {ordinal} cannot be used: invalid device ordinal",
        why=f"CUDA shows {count} GPU(s) to this process: {good}",
        mend="another --trt-device, or another CUDA_VISIBLE_DEVICES",
    )


def count_devices() -> int:
    """Return how many GPUs CUDA shows to this process.

    Raises
    ------
    RuntimeMissingError, DriverError
        As `load_pycuda`.
    """
    return int(load_pycuda().Device.count())


def _not_imported(error: ImportError) -> RuntimeMissingError:
    what = f"PyCUDA is not usable: {type(error).__name__}: {error}"
    words = str(error)
    if "libcuda.so" in words:
        return DriverError(
            what, why="PyCUDA is here, CUDA's driver is not", mend=f"{_INSTALL}; {_IN_CONTAINER}"
        )
    if "undefined symbol: cu" in words:
        return DriverError(
            what,
            why="the driver lacks a function of the CUDA toolkit that PyCUDA was built against: it is older",
            mend="a newer driver; or pip install --no-binary pycuda pycuda, against an older toolkit",
        )
    if "cannot open shared object file" in words:
        return RuntimeMissingError(
            what,
            why="PyCUDA was built against a CUDA toolkit whose library is not found",
            mend="LD_LIBRARY_PATH with the folder of that library; or pip install --force-reinstall --no-binary pycuda pycuda",
        )
    return RuntimeMissingError(
        what,
        why="memory and streams of a GPU come through it",
        mend='pip install "pytest-trt[cuda]" (it builds against a CUDA toolkit)',
    )


def _not_started(cuda: Any, error: BaseException) -> DriverError:
    known = cuda_errors.of_text(str(error))
    symbol = "" if known is None else known.symbol
    mend = {
        "CUDA_ERROR_NO_DEVICE": f"CUDA_VISIBLE_DEVICES that names a GPU; {_IN_CONTAINER}",
        "CUDA_ERROR_STUB_LIBRARY": "LD_LIBRARY_PATH without the stubs folder of the CUDA toolkit",
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "restart the machine: kernel module and library of the driver differ",
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": "a newer driver; cuda-compat does not serve this GPU",
        "CUDA_ERROR_SYSTEM_NOT_READY": "start nvidia-fabricmanager: GPUs behind NVSwitch wait for it",
    }.get(symbol, _DOCTOR)
    named = f" [{symbol}, {known.code}]" if known is not None else ""
    return DriverError(f"CUDA does not start: {error}{named}", why=_versions(cuda), mend=mend)


def _versions(cuda: Any) -> tuple[str, ...]:
    """Return what the driver supports and what PyCUDA was built for, in words."""
    told = []
    try:
        driver = int(cuda.get_driver_version())
        built = tuple(int(part) for part in cuda.get_version())[:2]
    except Exception:  # the facts of an error message: where they fail too, it stands without them
        return ()
    told.append(f"the driver supports CUDA {driver // 1000}.{driver % 1000 // 10}")
    told.append(f"PyCUDA was built against CUDA {'.'.join(map(str, built))}")
    if (driver // 1000, driver % 1000 // 10) < built:
        told.append(
            "the driver is older than the toolkit: install a newer driver, or build PyCUDA against an older toolkit"
        )
    return tuple(told)
