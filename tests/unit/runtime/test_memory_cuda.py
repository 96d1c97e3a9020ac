"""CudaMemory against a PyCUDA that records, on machines without a GPU."""

from __future__ import annotations

import dataclasses
import gc
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError, RuntimeMissingError
from pytest_trt.runtime import Session
from pytest_trt.runtime.memory import CudaMemory, Memory

from .fake_engine import Engine, engine_runtime
from .fake_pycuda import Driver


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    made = Driver()
    package = ModuleType("pycuda")
    package.driver = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", made)
    return made


@pytest.mark.parametrize(
    "array", [np.arange(24, dtype=np.float32).reshape(2, 3, 4).T, np.float16(3), np.zeros((0, 3))]
)
def test_an_array_goes_there_and_back(driver: Driver, array: np.ndarray) -> None:  # type: ignore[type-arg]
    memory: Memory = CudaMemory(0)
    stream = memory.create_stream()
    want = np.array(array)
    buffer = memory.alloc(want.nbytes)
    memory.upload(buffer, want, stream)
    got = memory.download(buffer, want.shape, want.dtype, stream)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_work_is_queued_and_the_callers_array_is_free_at_once(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream = memory.create_stream()
    buffer = memory.alloc(4)
    array = np.array([1, 2, 3, 4], dtype=np.uint8)
    memory.upload(buffer, array, stream)
    array[:] = 0
    assert driver.live[buffer.address][:4].tolist() == [0, 0, 0, 0]
    assert memory.download(buffer, (4,), np.uint8, stream).tolist() == [1, 2, 3, 4]


def test_poison_fills_the_part_that_is_asked_for(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream = memory.create_stream()
    buffer = memory.alloc(6)
    memory.poison(buffer, 0xFF, stream)
    memory.poison(buffer, 0xA5, stream, 4, 6)
    memory.poison(buffer, 0, stream, 2, 2)
    assert memory.download(buffer, (6,), np.uint8, stream).tolist() == [255] * 4 + [0xA5] * 2
    assert memory.download(buffer, (2,), np.uint8, stream, 4).tolist() == [0xA5] * 2


def test_the_primary_context_is_current_during_calls_and_never_left_pushed(driver: Driver) -> None:
    memory = CudaMemory(0)
    assert driver.calls == ["init", "retain_primary_context"]
    with memory.active():
        assert len(driver.stack()) == 1
    buffer = memory.alloc(8)
    with pytest.raises(RuntimeError), memory.active():
        raise RuntimeError
    memory.free(buffer)
    assert driver.stack() == []
    assert driver.live == {}


def test_everything_is_released_with_the_context_current(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream = memory.create_stream()
    buffer = memory.alloc(8)
    memory.upload(buffer, np.zeros(8, np.uint8), stream)
    memory.download(buffer, (8,), np.uint8, stream)
    memory.upload(buffer, np.zeros(8, np.uint8), stream)
    with memory.active():
        memory.free(buffer)
        memory.upload(memory.alloc(8), np.zeros(8, np.uint8), stream)
        stream.work.clear()  # type: ignore[attr-defined]
        memory.destroy_stream(stream)
        del stream
        gc.collect()
    memory.close()
    gc.collect()
    assert driver.leaks == []
    assert driver.calls[-1] == "detach"


def test_threads_use_the_context_side_by_side(driver: Driver) -> None:
    memory = CudaMemory(0)
    results: dict[int, list[int]] = {}

    def work(number: int) -> None:
        stream = memory.create_stream()
        buffer = memory.alloc(4)
        for _ in range(20):
            memory.upload(buffer, np.full(4, number, np.uint8), stream)
            results[number] = memory.download(buffer, (4,), np.uint8, stream).tolist()
        with memory.active():
            memory.destroy_stream(stream)
            del stream

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [number] * 4 for number in range(4)}


def test_without_pycuda_the_import_error_and_the_command_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda", ModuleType("pycuda"))
    with pytest.raises(RuntimeMissingError, match=r"PyCUDA is not usable: .*Error") as caught:
        CudaMemory(0)
    assert "pytest-trt[cuda]" in str(caught.value.mend)


def test_a_device_that_is_not_there(driver: Driver) -> None:
    with pytest.raises(RuntimeMissingError, match=r"CUDA device 3 cannot be used: .*invalid device ordinal"):
        CudaMemory(3)


def test_a_failure_on_the_device_is_an_execution_error(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream = memory.create_stream()
    buffer = memory.alloc(4)

    def fail() -> None:
        raise driver.Error("cuStreamSynchronize failed: an illegal memory access was encountered")

    driver.streams[stream.handle].append(fail)
    with pytest.raises(ExecutionError, match="an illegal memory access"):
        memory.download(buffer, (4,), np.uint8, stream)
    assert driver.stack() == []


def test_a_session_runs_on_it_and_releases_everything_in_context(driver: Driver) -> None:
    rt = engine_runtime()
    memory = CudaMemory(0)
    rt.trt.emulated_streams = SimpleNamespace(submit=lambda handle, work: driver.streams[handle].append(work))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for data_dependent, want in ((False, x * 2), (True, x[:1] * 2)):
        engine = Engine(rt.trt, data_dependent=data_dependent)
        with Session(dataclasses.replace(rt, memory=memory, device="cuda:0"), engine) as session:
            for _ in range(2):
                np.testing.assert_array_equal(session.run({"x": x})["y"], want)
            assert driver.stack() == []
        gc.collect()
    assert driver.live == {}
    assert driver.leaks == []
