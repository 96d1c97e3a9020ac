"""Events by their handle: of the emulated device, and of CUDA through a driver that is played."""

from __future__ import annotations

import ctypes

import pytest

from pytest_trt.errors import ExecutionError
from pytest_trt.records import Settings
from pytest_trt.runtime import events
from pytest_trt.runtime.events import event_on
from pytest_trt.runtime.load import discover


def test_an_event_of_the_emulated_device():
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None
    with event_on(rt) as event:
        assert event.handle and not event.has_fired()
        rt.trt.emulated_streams.fire(event.handle)
        assert event.has_fired()
    assert not rt.trt.emulated_streams.is_event(event.handle)


class Driver:
    """Plays the three calls of CUDA's driver."""

    def __init__(self, *answers):
        self.answers, self.destroyed = list(answers), []

    def cuEventCreate(self, made, flags):
        assert flags == 0  # with timing
        ctypes.cast(made, ctypes.POINTER(ctypes.c_void_p))[0] = 4096
        return 0

    def cuEventQuery(self, event):
        assert event.value == 4096
        return self.answers.pop(0)

    def cuEventDestroy_v2(self, event):
        self.destroyed.append(event.value)


def test_an_event_of_cuda_that_is_not_ready_has_not_fired():
    event = events._CudaEvent(Driver(600, 0))
    assert event.handle == 4096 and not event.has_fired() and event.has_fired()


def test_an_error_of_cuda_is_told():
    event = events._CudaEvent(Driver(700))
    with pytest.raises(ExecutionError, match="cuEventQuery failed with CUDA error 700"):
        event.has_fired()
    event.close()
    assert event._driver.destroyed == [4096]


def test_events_of_the_emulated_device_tell_the_time_between_them():
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None and rt.memory is not None
    stream = rt.memory.create_stream()
    with event_on(rt) as first, event_on(rt) as second:
        first.record(stream)
        second.record(stream)
        assert not first.has_fired()
        second.synchronize()
        assert first.has_fired() and second.seconds_since(first) >= 0
        first.record(stream)
        with pytest.raises(ExecutionError, match="has no time"):
            second.seconds_since(first)
    rt.memory.destroy_stream(stream)
