"""Host memory on the emulator's streams: everything but `download` only queues."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pytest_trt.emulator.streams import Streams
from pytest_trt.errors import UsageError
from pytest_trt.runtime.memory import HostMemory, Memory


@pytest.fixture
def memory() -> Memory:
    return HostMemory(SimpleNamespace(emulated_streams=Streams()))


def test_an_array_goes_there_and_back(memory: Memory) -> None:
    want = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    stream = memory.create_stream()
    buffer = memory.alloc(want.nbytes)
    assert buffer.address % 256 == 0
    assert buffer.nbytes == 48
    with memory.active():
        memory.upload(buffer, want.T, stream)
    np.testing.assert_array_equal(memory.download(buffer, (4, 3, 2), np.float16, stream), want.T)
    memory.free(buffer)
    memory.destroy_stream(stream)
    memory.close()


def test_uploads_wait_for_the_stream_and_keep_the_array_as_it_was(memory: Memory) -> None:
    stream = memory.create_stream()
    buffer = memory.alloc(4)
    memory.poison(buffer, 7, stream)
    stream.synchronize()
    array = np.array([1, 2, 3, 4], dtype=np.uint8)
    memory.upload(buffer, array, stream)
    array[:] = 0
    other = memory.create_stream()
    assert memory.download(buffer, (4,), np.uint8, other).tolist() == [7, 7, 7, 7]
    assert memory.download(buffer, (2,), np.uint8, stream, 1).tolist() == [2, 3]


def test_poison_fills_a_part_and_nothing_is_too_small(memory: Memory) -> None:
    stream = memory.create_stream()
    buffer = memory.alloc(6)
    memory.poison(buffer, 0xFF, stream)
    memory.poison(buffer, 0xA5, stream, 4, 6)
    assert memory.download(buffer, (6,), np.uint8, stream).tolist() == [255] * 4 + [0xA5] * 2
    empty = memory.alloc(0)
    memory.upload(empty, np.zeros((0, 3), np.float32), stream)
    assert memory.download(empty, (0, 3), np.float32, stream).shape == (0, 3)


def test_a_destroyed_stream_is_gone(memory: Memory) -> None:
    stream = memory.create_stream()
    memory.destroy_stream(stream)
    with pytest.raises(UsageError):
        stream.synchronize()
