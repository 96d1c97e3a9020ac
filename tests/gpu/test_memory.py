"""Device memory, pinned memory, streams and the primary context on a real GPU."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

from pytest_trt.errors import LeakWarning, OutOfMemoryError, UsageError
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.driver import load_library

THREADS, ROUNDS = 8, 50
TEN_TERABYTES = 10**13


def current():
    """Return the handle of the context that is current in this thread; 0 where there is none."""
    handle = ctypes.c_void_p()
    assert load_library().cuCtxGetCurrent(ctypes.byref(handle)) == 0
    return handle.value or 0


@pytest.fixture
def memory(rt):
    """The memory of the GPU, which a test leaves as it found it."""
    before = rt.memory.live()
    yield rt.memory
    after = rt.memory.live()
    assert (after.buffers, after.streams, after.events) == (before.buffers, before.streams, before.events)


@pytest.mark.parametrize("nbytes", [1, 4095, 4096, 4097, 5000, 10_000_019])
def test_bytes_go_there_and_back(memory, nbytes):
    stream, buffer = memory.create_stream(), memory.alloc(nbytes)
    assert buffer.address % 256 == 0
    array = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    want = array.copy()
    memory.upload(buffer, array, stream)
    array[:] = 0  # the caller's again
    np.testing.assert_array_equal(memory.download(buffer, (nbytes,), np.uint8, stream), want)
    memory.free(buffer)
    memory.destroy_stream(stream)


def test_types_and_layouts_go_there_and_back(memory):
    stream, buffer = memory.create_stream(), memory.alloc(4096)
    turned = np.arange(24, dtype=np.float32).reshape(2, 3, 4).T
    for array in (turned, np.float16(3), np.zeros((0, 3), np.int64), np.array([[True], [False]])):
        want = np.array(array)
        memory.upload(buffer, want, stream)
        got = memory.download(buffer, want.shape, want.dtype, stream)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    memory.free(buffer)
    memory.destroy_stream(stream)


def test_poison_fills_the_part_that_is_asked_for(memory):
    stream, buffer = memory.create_stream(), memory.alloc(10)
    memory.poison(buffer, 0xFF, stream)
    memory.poison(buffer, 0xA5, stream, 3, 7)
    memory.poison(buffer, 0, stream, 5, 5)
    assert memory.download(buffer, (10,), np.uint8, stream).tolist() == [255] * 3 + [0xA5] * 4 + [255] * 3
    assert memory.download(buffer, (2,), np.uint8, stream, 6).tolist() == [0xA5, 255]
    memory.free(buffer)
    memory.destroy_stream(stream)


def test_the_primary_context_is_current_inside_and_only_there(memory):
    outside = current()
    with memory.active():
        inside = current()
        with memory.active():
            assert current() == inside
        assert current() == inside
        with pytest.raises(ZeroDivisionError), memory.active():
            raise ZeroDivisionError
        assert current() == inside
    assert inside and current() == outside
    retained = ctypes.c_void_p()
    library = load_library()
    assert library.cuDevicePrimaryCtxRetain(ctypes.byref(retained), memory.ordinal) == 0
    assert library.cuDevicePrimaryCtxRelease_v2(memory.ordinal) == 0
    assert retained.value == inside


def test_threads_push_and_pop_for_themselves(memory):
    start, wrong = threading.Barrier(THREADS), []

    def work(number):
        try:
            start.wait(60)
            stream, buffer = memory.create_stream(), memory.alloc(1000 + number)
            for turn in range(ROUNDS):
                value = (number * ROUNDS + turn) % 256
                memory.upload(buffer, np.full(1000 + number, value, np.uint8), stream)
                got = memory.download(buffer, (1000 + number,), np.uint8, stream)
                if not (got == value).all():
                    wrong.append((number, turn))
            with memory.active():
                memory.free(buffer)
                memory.destroy_stream(stream)
            if current():
                wrong.append((number, "a context is left"))
        except Exception as error:
            wrong.append((number, repr(error)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_pinned_memory_is_used_again(memory):
    stream, buffer = memory.create_stream(), memory.alloc(100_000)
    array = np.zeros(100_000, np.uint8)

    def round_trip():
        memory.upload(buffer, array, stream)
        memory.download(buffer, (100_000,), np.uint8, stream)

    round_trip()
    held = memory.live().pinned_bytes
    for _ in range(ROUNDS):
        round_trip()
    assert memory.live().pinned_bytes == held > 0
    memory.free(buffer)
    memory.destroy_stream(stream)


def test_no_room_is_told_and_survived(memory):
    with pytest.raises(OutOfMemoryError, match=r"has no room for 9\.095 TiB of device memory") as caught:
        memory.alloc(TEN_TERABYTES)
    assert "bytes are free on the device" in caught.value.why[1]
    stream, buffer = memory.create_stream(), memory.alloc(4)
    memory.upload(buffer, np.arange(4, dtype=np.uint8), stream)
    assert memory.download(buffer, (4,), np.uint8, stream).tolist() == [0, 1, 2, 3]
    memory.free(buffer)
    memory.destroy_stream(stream)


def test_memory_that_was_used_is_given_back(memory):
    before = memory.used_bytes()
    for _ in range(5):
        memory.free(memory.alloc(1 << 28))
    assert memory.used_bytes() <= before + (1 << 25)


def test_a_memory_that_is_given_back_names_what_is_alive(rt):
    own = CudaMemory(0)
    buffer = own.alloc(100)
    with pytest.warns(LeakWarning, match=r"CUDA device 0 .* 1 buffer\(s\) of 100 bytes together"):
        own.close()
    with pytest.raises(UsageError, match="was given back"):
        own.free(buffer)
    assert rt.memory.used_bytes() > 0  # the primary context is there for who still holds it


def test_a_memory_that_is_dropped_is_let_go_in_its_context_whoever_collects_it(rt):
    """PyCUDA warns of pinned memory and streams that it cannot release: their context is not current in that thread."""
    own = CudaMemory(0)
    stream, buffer = own.create_stream(), own.alloc(100)
    own.upload(buffer, np.zeros(100, np.uint8), stream)
    own.download(buffer, (100,), np.uint8, stream)
    own.free(buffer)
    own.destroy_stream(stream)
    del own, stream, buffer
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        collector = threading.Thread(target=gc.collect)
        collector.start()
        collector.join()
    assert [str(one.message) for one in told if "out-of-thread" in str(one.message)] == []


# A store to address 0 by a kernel: CUDA's documentation of CUDA_ERROR_ILLEGAL_ADDRESS says that the process has to be ended.
LOSE = """
import os
import numpy as np
import pycuda.driver as cuda
from pytest_trt.errors import DeviceLostError
from pytest_trt.runtime.cuda import CudaMemory

KERNEL = '''
.version 6.4
.target sm_TARGET
.address_size 64
.visible .entry store_to_nothing()
{
    .reg .b64 %rd<2>;
    .reg .b32 %r<2>;
    mov.u64 %rd1, 0;
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
'''
memory = CudaMemory(0)
stream, buffer = memory.create_stream(), memory.alloc(4096)
with memory.active():
    major, minor = cuda.Device(0).compute_capability()
    text = KERNEL.replace("TARGET", "75" if (major, minor) >= (7, 5) else "60")
    kernel = cuda.module_from_buffer(text.encode() + b"\\0").get_function("store_to_nothing")
    kernel(grid=(1, 1), block=(1, 1, 1), stream=stream)
try:
    memory.download(buffer, (4,), np.uint8, stream)
except DeviceLostError as error:
    print("lost:", error.what)
try:
    memory.alloc(4)
except DeviceLostError as error:
    print("again:", error.what)
memory.free(buffer)
memory.destroy_stream(stream)
del stream
memory.close()
print("closed:", memory.live().buffers, memory.live().streams, flush=True)
os._exit(0)  # what CUDA's libraries do at the end of a process whose context is corrupted is theirs
"""


def test_a_lost_device_is_told_and_closes_without_a_second_error(rt):
    done = subprocess.run([sys.executable, "-c", LOSE], capture_output=True, text=True, timeout=120)
    lost = "CUDA device 0 is lost to this process: CUDA_ERROR_ILLEGAL_ADDRESS (700)"
    told = [line for line in done.stdout.splitlines() if line.split(":")[0] in ("lost", "again", "closed")]
    assert [line[: len(lost) + 7].strip() for line in told[:2]] == [
        f"lost: {lost}:",
        f"again: {lost}",
    ], done
    assert told[2:] == ["closed: 0 0"], done
