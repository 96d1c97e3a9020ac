"""Events on a real GPU: order between streams, and time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError
from pytest_trt.runtime import Session, events
from pytest_trt.runtime.events import event_on, open_event

from .conftest import frames

SLOW_BYTES, SLOW_TIMES = 1 << 29, 40  # some milliseconds of work on any GPU
FASTEST_BYTES_PER_SECOND = 5e13  # no memory of a GPU writes faster


@pytest.fixture
def slow(rt):
    """A function that queues slow work on a stream."""
    buffer = rt.memory.alloc(SLOW_BYTES)

    def queue(stream):
        with rt.memory.active():
            for turn in range(SLOW_TIMES):
                rt.memory.poison(buffer, turn, stream)

    yield queue
    rt.memory.free(buffer)


@pytest.fixture
def streams(rt):
    made = [rt.memory.create_stream() for _ in range(2)]
    yield made
    while made:
        rt.memory.destroy_stream(made.pop())


def test_an_event_fires_when_the_work_before_it_is_done(rt, slow, streams):
    stream, before = streams[0], rt.memory.live().events
    with event_on(rt) as event, rt.memory.active():
        assert rt.memory.live().events == before + 1
        slow(stream)
        event.record(stream)
        assert not event.has_fired()
        event.synchronize()
        assert event.has_fired()
    assert rt.memory.live().events == before


def test_the_time_between_events_is_that_of_the_host_clock(rt, slow, streams):
    stream = streams[0]
    slow(stream)
    with event_on(rt) as first, event_on(rt) as last, rt.memory.active():
        stream.synchronize()
        begun = time.perf_counter()
        first.record(stream)
        slow(stream)
        last.record(stream)
        last.synchronize()
        on_host = time.perf_counter() - begun
        on_device = last.seconds_since(first)
    assert SLOW_TIMES * SLOW_BYTES / FASTEST_BYTES_PER_SECOND < on_device <= 1.01 * on_host + 1e-5
    assert on_device > 0.5 * on_host


def test_a_stream_waits_for_an_event_of_another_one(rt, slow, streams):
    memory, (first, second) = rt.memory, streams
    source, target = memory.alloc(4), memory.alloc(4)
    with memory.active():
        cuda = memory._cuda
        memory.poison(source, 1, first)
        memory.poison(target, 0, first)
        memory.settle(first)
        with event_on(rt) as event:
            slow(first)
            memory.poison(source, 7, first)
            event.record(first)
            events.wait(second, event)
            cuda.memcpy_dtod_async(target.address, source.address, 4, second)
            assert memory.download(target, (4,), np.uint8, second).tolist() == [7] * 4
    memory.free(source)
    memory.free(target)


def test_an_error_is_told_by_its_name(rt, streams):
    first, last = open_event(rt), open_event(rt)
    with rt.memory.active():
        first.record(streams[0])
        streams[0].synchronize()
        with pytest.raises(ExecutionError, match="cuEventElapsedTime failed") as caught:
            last.seconds_since(first)  # the last one was never recorded
        assert caught.value.why[0].startswith("CUDA_ERROR_")
        first.close()
        last.close()


def test_launches_are_timed_between_two_events(rt, plan):
    with Session(rt, plan) as session, event_on(rt) as first, event_on(rt) as last:
        session.run({"x": frames(8, 0)})
        with rt.memory.active():
            first.record(session.stream)
            session.launch(20)
            last.record(session.stream)
            last.synchronize()
            assert 0 < last.seconds_since(first) < 10
