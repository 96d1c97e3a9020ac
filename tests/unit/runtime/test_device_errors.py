"""No room, a lost device, and what sessions leave behind."""

from __future__ import annotations

import dataclasses
import gc
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_trt.errors import DeviceLostError, ExecutionError, LeakWarning, OutOfMemoryError
from pytest_trt.records import LogLine
from pytest_trt.runtime import Session
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.ledger import Live
from pytest_trt.runtime.load import Runtime

from .fake_engine import Engine, engine_runtime
from .fake_pycuda import Driver

X = np.arange(6, dtype=np.float32).reshape(2, 3)
STICKY = "cuStreamSynchronize failed: an illegal memory access was encountered"


def on_cuda(driver: Driver) -> tuple[Runtime, CudaMemory]:
    rt = engine_runtime()
    memory = CudaMemory(0)
    rt.trt.emulated_streams = SimpleNamespace(submit=lambda handle, work: driver.streams[handle].append(work))
    return dataclasses.replace(rt, memory=memory, device="cuda:0"), memory


def is_empty(live: Live) -> bool:
    return dataclasses.replace(live, pinned_bytes=0) == Live()


def test_no_room_on_the_device(driver: Driver) -> None:
    memory = CudaMemory(0)
    held = memory.alloc(1000)
    driver.fails["mem_alloc"] = driver.MemoryError("cuMemAlloc failed: out of memory")
    with pytest.raises(
        OutOfMemoryError, match=r"CUDA device 0 has no room for 9\.095 TiB of device memory"
    ) as caught:
        memory.alloc(10**13)
    assert caught.value.why[0] == "10000000000000 bytes were asked for"
    assert caught.value.why[1] == "1073741824 of 17179869184 bytes are free on the device"
    assert "1000 bytes in 1 buffer(s)" in caught.value.why[2]
    assert "smaller batch" in str(caught.value.mend)
    driver.fails["mem_get_info"] = driver.LogicError("cuMemGetInfo failed: invalid argument")
    with pytest.raises(OutOfMemoryError) as caught:
        memory.alloc(1)
    assert len(caught.value.why) == 2
    driver.fails.clear()
    memory.free(held)
    memory.free(memory.alloc(1))  # it is no loss: what is smaller still fits
    memory.close()


def test_no_room_for_pinned_memory(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream, buffer = memory.create_stream(), memory.alloc(8)
    driver.fails["pagelocked_empty"] = driver.MemoryError("cuMemHostAlloc failed: out of memory")
    with pytest.raises(OutOfMemoryError, match="no room for 4 KiB of pinned host memory"):
        memory.upload(buffer, np.zeros(8, np.uint8), stream)
    with pytest.raises(OutOfMemoryError), memory.read([(buffer, 8)], stream):
        pass
    assert driver.stack() == []


@pytest.mark.parametrize(
    "call", ["memcpy_htod_async", "memset_d8_async", "memcpy_dtoh_async", "Stream", "free"]
)
def test_each_call_that_fails_is_told_in_words(driver: Driver, call: str) -> None:
    memory = CudaMemory(0)
    stream, buffer = memory.create_stream(), memory.alloc(8)
    driver.fails[call] = driver.LogicError("cuMemcpy failed: invalid argument")
    with pytest.raises(
        ExecutionError, match=r"CUDA device 0.*cuMemcpy failed: invalid argument \[CUDA_ERROR_INVALID"
    ):
        memory.upload(buffer, np.zeros(8, np.uint8), stream)
        memory.poison(buffer, 0, stream)
        memory.download(buffer, (8,), np.uint8, stream)
        memory.create_stream()
        memory.free(buffer)
    assert driver.stack() == []
    driver.fails.clear()
    memory.download(buffer, (8,), np.uint8, stream)
    memory.destroy_stream(stream)
    memory.free(buffer)
    assert is_empty(memory.live())


@pytest.mark.parametrize(
    "words",
    [
        STICKY,
        "cuStreamSynchronize failed: unspecified launch failure",
        "cuStreamSynchronize failed: uncorrectable ECC error encountered",
        "cuStreamSynchronize failed: the launch timed out and was terminated",
    ],
)
def test_a_lost_device_is_told_and_everything_closes_without_a_second_error(
    driver: Driver, words: str
) -> None:
    rt, memory = on_cuda(driver)
    made, other = (Session(rt, Engine(rt.trt)) for _ in range(2))
    made.run({"x": X})
    other.run({"x": X})

    def fault() -> None:
        driver.lost = driver.LaunchError(words)
        raise driver.lost

    made.engine.hook = fault
    with pytest.raises(DeviceLostError, match="CUDA device 0 is lost to this process: CUDA_ERROR_") as caught:
        made.run({"x": X})
    assert "every later CUDA call of this process" in caught.value.why[-1]
    assert "fresh process" in str(caught.value.mend)
    for act in (
        lambda: made.run({"x": X}),
        lambda: other.run({"x": X}),
        lambda: memory.alloc(4),
        memory.create_stream,
        lambda: Session(rt, Engine(rt.trt)),
    ):
        with pytest.raises(DeviceLostError, match="is lost to this process"):
            act()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made.close()
        other.close()
        memory.close()
    assert is_empty(memory.live())
    assert driver.stack() == []


def test_a_device_whose_context_can_no_longer_be_entered(driver: Driver) -> None:
    rt, memory = on_cuda(driver)
    made = Session(rt, Engine(rt.trt))
    made.run({"x": X})
    driver.lost = driver.fails["push"] = driver.LaunchError(
        "cuCtxPushCurrent failed: unspecified launch failure"
    )
    driver.fails["detach"] = driver.lost
    with pytest.raises(DeviceLostError):
        made.run({"x": X})
    made.close()
    memory.close()
    assert is_empty(memory.live())


def test_the_words_of_tensorrt_tell_a_lost_device_too(driver: Driver) -> None:
    rt, memory = on_cuda(driver)
    with Session(rt, Engine(rt.trt)) as made:
        made.run({"x": X})
        words = "[executionContext] Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
        made.context.execute_async_v3 = lambda handle: rt.logger.add(LogLine("ERROR", words)) or False
        with pytest.raises(DeviceLostError) as caught:
            made.run({"x": X})
        assert "execute_async_v3 returned False" in caught.value.why[0] and words in caught.value.why
    assert is_empty(memory.live())


@pytest.mark.parametrize("where", ["host", "cuda"])
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("", None),
        ("execute_async_v3", ExecutionError),
        ("set_tensor_address", ExecutionError),
        ("writes behind", ExecutionError),
        ("logged", ExecutionError),
        ("create_execution_context", ExecutionError),
        ("set_optimization_profile_async", ExecutionError),
    ],
)
def test_sessions_leave_nothing(request: pytest.FixtureRequest, where: str, wrong: str, error: Any) -> None:
    driver: Driver | None = None
    if where == "cuda":
        driver = request.getfixturevalue("driver")
        rt, memory = on_cuda(driver)
    else:
        rt = engine_runtime()
        memory = rt.memory  # type: ignore[assignment]
    for data_dependent in (False, True):
        try:
            with Session(rt, Engine(rt.trt, wrong, data_dependent), profile_index=1) as made:
                made.run({"x": X})
                made.enqueue({"x": X})  # nobody takes its outputs
        except ExecutionError:
            assert error is ExecutionError
    gc.collect()
    assert is_empty(memory.live())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        memory.close()
    if driver is not None:
        assert driver.live == {} and driver.leaks == [] and driver.pinned == 0


def test_a_session_that_is_not_closed_is_named_at_the_end() -> None:
    rt = engine_runtime()
    assert rt.memory is not None
    made = Session(rt, Engine(rt.trt))
    made.run({"x": X})
    with pytest.warns(
        LeakWarning, match=r"2 buffer\(s\) of \d+ bytes together and 1 stream\(s\) of it are alive"
    ):
        rt.memory.close()
    made.close()


def test_sessions_are_closed_before_the_device_by_who_asked_for_it() -> None:
    rt = engine_runtime()
    assert rt.memory is not None
    made = Session(rt, Engine(rt.trt))
    rt.memory.ledger.before_close(made.close)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rt.memory.close()
        rt.memory.close()
