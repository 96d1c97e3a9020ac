"""CudaMemory against a PyCUDA that records, on machines without a GPU."""

from __future__ import annotations

import dataclasses
import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.errors import DeviceLostError, ExecutionError, LeakWarning, UsageError
from pytest_trt.runtime import Session
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.ledger import Live
from pytest_trt.runtime.memory import Memory
from pytest_trt.runtime.pinned import block_bytes

from .fake_engine import Engine, engine_runtime
from .fake_pycuda import Driver


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
        buffer = memory.alloc(8)
        memory.upload(buffer, np.zeros(8, np.uint8), stream)
        memory.destroy_stream(stream)
        memory.free(buffer)
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


def test_a_failure_on_the_device_is_an_execution_error(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream = memory.create_stream()
    buffer = memory.alloc(4)

    def fail() -> None:
        raise driver.LogicError("cuStreamSynchronize failed: invalid resource handle")

    driver.streams[stream.handle].append(fail)
    with pytest.raises(ExecutionError, match="invalid resource handle") as caught:
        memory.download(buffer, (4,), np.uint8, stream)
    assert "[CUDA_ERROR_INVALID_HANDLE, 400]" in caught.value.what
    assert not isinstance(caught.value, DeviceLostError)
    assert driver.stack() == []
    memory.upload(buffer, np.arange(4, dtype=np.uint8), stream)  # it is usable again
    assert memory.download(buffer, (4,), np.uint8, stream).tolist() == [0, 1, 2, 3]


def test_one_round_costs_one_copy_each_way_one_memset_and_one_wait(driver: Driver) -> None:
    rt = engine_runtime()
    memory = CudaMemory(0)
    rt.trt.emulated_streams = SimpleNamespace(submit=lambda handle, work: driver.streams[handle].append(work))
    x = np.ones((2, 3), np.float32)
    with Session(dataclasses.replace(rt, memory=memory, device="cuda:0"), Engine(rt.trt)) as session:
        session.run({"x": x})
        driver.calls.clear()
        session.run({"x": x})
        assert driver.calls == ["memcpy_htod_async", "memset_d8_async", "memcpy_dtoh_async", "synchronize"]
        driver.calls.clear()
        session.run({"x": x[:1]})  # the guard behind the output has another place
        assert driver.calls.count("memset_d8_async") == 3
        driver.calls.clear()
        session.launch(10)
        assert driver.calls == []


def test_pinned_memory_is_used_again_once_its_stream_was_waited_for(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream, other = memory.create_stream(), memory.create_stream()
    buffer = memory.alloc(5000)
    array = np.zeros(5000, np.uint8)
    for _ in range(3):
        memory.upload(buffer, array, stream)
        memory.download(buffer, (5000,), np.uint8, stream)
    assert driver.calls.count("pagelocked_empty") == 2
    memory.upload(buffer, array, stream)
    memory.upload(buffer, array, stream)
    memory.settle(other)
    memory.upload(buffer, array, stream)
    assert (
        driver.calls.count("pagelocked_empty") == 3
    )  # what the first stream may still read is not handed out
    memory.settle(stream)
    assert memory.live().pinned_bytes == driver.pinned == 3 * block_bytes(5000)


def test_closing_frees_what_is_pinned_and_names_what_is_alive(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream, buffer = memory.create_stream(), memory.alloc(100)
    memory.upload(buffer, np.zeros(100, np.uint8), stream)
    assert memory.live() == Live(buffers=1, bytes=100, streams=1, pinned_bytes=4096)
    with pytest.warns(
        LeakWarning, match=r"CUDA device 0 .* 1 buffer\(s\) of 100 bytes together and 1 stream"
    ):
        memory.close()
    assert driver.pinned == 0 and driver.leaks == []
    memory.close()
    assert driver.calls.count("detach") == 1
    with pytest.raises(UsageError, match="CUDA device 0 was given back"):
        memory.alloc(1)
    driver.stack().append(buffer)  # PyCUDA lets go of the stream where its context is current
    del stream
    gc.collect()


def test_one_that_is_dropped_lets_go_in_its_context_whoever_collects_it(driver: Driver) -> None:
    memory = CudaMemory(0)
    stream, failing, buffer = memory.create_stream(), memory.create_stream(), memory.alloc(100)

    def fail() -> None:
        raise driver.LogicError("cuStreamSynchronize failed: invalid resource handle")

    for used in (stream, failing):
        memory.upload(buffer, np.zeros(100, np.uint8), used)
    driver.streams[failing.handle].append(fail)
    with pytest.raises(ExecutionError):
        memory.settle(failing)
    memory.download(buffer, (4,), np.uint8, stream)
    memory.destroy_stream(failing)
    memory.destroy_stream(stream)
    memory.free(buffer)
    del stream, failing, used, memory, fail
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    assert driver.leaks == [] and driver.pinned == 0


def test_two_devices_are_entered_in_turn_and_never_mixed(driver: Driver) -> None:
    zero, one = CudaMemory(0), CudaMemory(1)
    with zero.active():
        with one.active():
            held = [one.alloc(4), zero.alloc(4), one.alloc(4)]
            stream = zero.create_stream()
            zero.upload(held[1], np.arange(4, dtype=np.uint8), stream)
            assert driver.stack()[-1].ordinal == 1
        assert driver.stack()[-1].ordinal == 0
        assert zero.download(held[1], (4,), np.uint8, stream).tolist() == [0, 1, 2, 3]
        zero.destroy_stream(stream)
        del stream
    assert driver.stack() == []
    assert driver.contexts == [1, 0, 1, 0]
    assert (zero.live().buffers, one.live().buffers) == (1, 2)


def test_contexts_nest_in_each_of_many_threads(driver: Driver) -> None:
    memory = CudaMemory(0)
    start, depths = threading.Barrier(8), []

    def work() -> None:
        start.wait(10)
        for _ in range(50):
            with memory.active(), memory.active():
                depths.append(len(driver.stack()))
                memory.free(memory.alloc(4))
        depths.append(len(driver.stack()))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(depths)) == [0, 2] and depths.count(0) == 8
    assert memory.live() == Live()


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
    assert (memory.live().buffers, memory.live().streams) == (0, 0)
