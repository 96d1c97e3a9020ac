"""Why CUDA cannot be used is said in words, with what mends it."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType

import pytest

from pytest_trt.errors import DriverError, RuntimeMissingError
from pytest_trt.runtime import driver as room
from pytest_trt.runtime.cuda import CudaMemory

from .fake_pycuda import Driver


def test_without_pycuda_the_import_error_and_the_command_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    with pytest.raises(RuntimeMissingError, match=r"PyCUDA is not usable: .*Error") as caught:
        CudaMemory(0)
    assert "pytest-trt[cuda]" in str(caught.value.mend)
    assert not isinstance(caught.value, DriverError)


@pytest.mark.parametrize(
    ("words", "is_driver", "mend"),
    [
        ("libcuda.so.1: cannot open shared object file", True, "install NVIDIA's driver"),
        ("_driver.so: undefined symbol: cuGraphAddNode_v2", True, "a newer driver"),
        ("libcurand.so.10: cannot open shared object file", False, "LD_LIBRARY_PATH"),
    ],
)
def test_a_library_that_pycuda_lacks(
    monkeypatch: pytest.MonkeyPatch, words: str, is_driver: bool, mend: str
) -> None:
    def fail(name: str) -> None:
        raise ImportError(words)

    monkeypatch.setattr(room.importlib, "import_module", fail)
    with pytest.raises(RuntimeMissingError) as caught:
        room.load_pycuda()
    assert words in caught.value.what and mend in str(caught.value.mend)
    assert isinstance(caught.value, DriverError) == is_driver


@pytest.mark.parametrize(
    ("words", "symbol", "mend"),
    [
        ("no CUDA-capable device is detected", "CUDA_ERROR_NO_DEVICE, 100", "CUDA_VISIBLE_DEVICES"),
        ("CUDA driver is a stub library", "CUDA_ERROR_STUB_LIBRARY, 34", "stubs folder"),
        (
            "system has unsupported display driver / cuda driver combination",
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803",
            "restart the machine",
        ),
        ("something new", "", "doctor"),
    ],
)
def test_a_driver_that_does_not_start(driver: Driver, words: str, symbol: str, mend: str) -> None:
    driver.fails["init"] = driver.RuntimeError(f"cuInit failed: {words}")
    with pytest.raises(DriverError, match="CUDA does not start") as caught:
        CudaMemory(0)
    assert words in caught.value.what and symbol in caught.value.what
    assert mend in str(caught.value.mend)


def test_a_driver_that_is_older_than_the_toolkit_is_told_apart(driver: Driver) -> None:
    driver.fails["init"] = driver.RuntimeError("cuInit failed: system not yet initialized")
    with pytest.raises(DriverError) as caught:
        CudaMemory(0)
    assert caught.value.why == ("the driver supports CUDA 12.8", "PyCUDA was built against CUDA 12.4")
    driver.get_version = lambda: (13, 0, 0)  # type: ignore[attr-defined]
    with pytest.raises(DriverError) as caught:
        CudaMemory(0)
    assert "older than the toolkit" in caught.value.why[-1]
    del driver.get_driver_version  # type: ignore[attr-defined]
    with pytest.raises(DriverError) as caught:
        CudaMemory(0)
    assert caught.value.why == ()


def test_an_ordinal_that_is_too_high(driver: Driver) -> None:
    with pytest.raises(DriverError, match="CUDA device 3 cannot be used: invalid device ordinal") as caught:
        CudaMemory(3)
    assert caught.value.why == ("CUDA shows 2 GPU(s) to this process: cuda:0, cuda:1",)
    assert room.count_devices() == 2


def test_a_device_that_another_process_holds(driver: Driver) -> None:
    driver.fails["retain_primary_context"] = driver.LogicError(
        "cuDevicePrimaryCtxRetain failed: CUDA-capable device(s) is/are busy or unavailable"
    )
    with pytest.raises(DriverError, match="CUDA_ERROR_DEVICE_UNAVAILABLE, 46") as caught:
        CudaMemory(0)
    assert "exclusive mode" in str(caught.value.mend)


def test_the_library_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    room.load_library.cache_clear()
    for kind in ("CDLL", "PyDLL"):
        monkeypatch.setattr(ctypes, kind, lacks)
    for keeps_lock in (False, True):
        with pytest.raises(DriverError, match=r"libcuda\.so\.1: cannot open") as caught:
            room.load_library(keeps_lock)
        assert "--gpus all" in str(caught.value.mend)
    room.load_library.cache_clear()
