"""Events by their handle: of the emulated device, and of CUDA through a driver that is played."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from pytest_trt.errors import ExecutionError
from pytest_trt.records import Settings
from pytest_trt.runtime import events
from pytest_trt.runtime.events import event_on
from pytest_trt.runtime.ledger import Ledger, Live
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
    """Plays the calls of CUDA's driver; each answers what stands in `answers` for it, or 0."""

    def __init__(self, **answers):
        self.answers, self.calls = answers, []

    def __getattr__(self, name):
        if not name.startswith("cuEvent") and not name.startswith("cuStream"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append((name, *(getattr(one, "value", None) for one in arguments)))
            return self.answers.get(name, [0]).pop(0) if self.answers.get(name) else 0

        return call

    def cuEventCreate(self, made, flags):
        assert flags == 0  # with timing
        ctypes.cast(made, ctypes.POINTER(ctypes.c_void_p))[0] = 4096
        return 0

    def cuEventElapsedTime(self, milliseconds, first, last):
        assert (first.value, last.value) == (4096, 4096)
        ctypes.cast(milliseconds, ctypes.POINTER(ctypes.c_float))[0] = 2.5
        return 0


class Memory:
    """What an event needs of a memory."""

    def __init__(self):
        self.ledger = Ledger()

    def failure(self, what, why):
        return ExecutionError(what, why=why)


def test_an_event_of_cuda_is_recorded_waited_for_and_timed():
    driver, memory = Driver(), Memory()
    event, stream = events._CudaEvent(driver, memory), SimpleNamespace(handle=80)
    assert event.handle == 4096 and memory.ledger.live().events == 1
    event.record(stream)
    events.wait(stream, event)
    event.synchronize()
    assert event.seconds_since(event) == 2.5e-3
    event.close()
    assert driver.calls == [
        ("cuEventRecord", 4096, 80),
        ("cuStreamWaitEvent", 80, 4096, 0),
        ("cuEventSynchronize", 4096),
        ("cuEventDestroy_v2", 4096),
    ]
    assert memory.ledger.live().events == 0


def test_an_event_of_cuda_that_is_not_ready_has_not_fired():
    event = events._CudaEvent(Driver(cuEventQuery=[600, 0]), Memory())
    assert not event.has_fired() and event.has_fired()


@pytest.mark.parametrize(
    ("call", "act"),
    [
        ("cuEventQuery", lambda event: event.has_fired()),
        ("cuEventRecord", lambda event: event.record(SimpleNamespace(handle=80))),
        ("cuStreamWaitEvent", lambda event: event.hold(SimpleNamespace(handle=80))),
        ("cuEventSynchronize", lambda event: event.synchronize()),
    ],
)
def test_an_error_of_cuda_is_told_by_its_name(call, act):
    event = events._CudaEvent(Driver(**{call: [400]}), Memory())
    with pytest.raises(ExecutionError, match=f"{call} failed") as caught:
        act(event)
    assert caught.value.why == ("CUDA_ERROR_INVALID_HANDLE (400): invalid resource handle",)


def test_a_stream_waits_for_an_event_of_another_one():
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None and rt.memory is not None
    first, second = rt.memory.create_stream(), rt.memory.create_stream()
    done = []
    with event_on(rt) as event:
        first.submit(lambda: done.append("first"))
        event.record(first)
        first.submit(lambda: done.append("later"))
        events.wait(second, event)
        second.submit(lambda: done.append("second"))
        assert done == []
        second.synchronize()
        assert done.index("first") < done.index("second")
        events.wait(second, event)  # it has fired: nothing to wait for
        second.synchronize()
    for stream in (first, second):
        rt.memory.destroy_stream(stream)


def test_events_that_are_not_closed_are_counted():
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None and rt.memory is not None
    event = events.open_event(rt)
    assert rt.memory.live().events == 1
    event.close()
    assert rt.memory.live() == Live()


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
