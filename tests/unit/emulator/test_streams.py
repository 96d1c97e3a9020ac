"""Work happens when its stream is waited for, and not before; streams run side by side."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from pytest_trt.emulator.clock import Clock
from pytest_trt.emulator.streams import Streams
from pytest_trt.errors import ExecutionError, UsageError

from .driver import PROFILE, Driver, sample
from .models import conv


def prepared(driver, engine, x):
    context = engine.create_execution_context()
    y = np.full((x.shape[0], 7, 5, 6), np.nan, "f4")
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    return context, y


def test_a_missing_synchronise_is_visible():
    driver, x = Driver(), sample(2)
    streams = driver.trt.emulated_streams
    context, y = prepared(driver, driver.engine(conv(), profile=PROFILE), x)
    mine, other = streams.create_stream(), streams.create_stream()
    assert context.execute_async_v3(mine)
    assert np.isnan(y).all() and not streams.is_idle(mine)
    streams.synchronize(other)
    assert np.isnan(y).all()  # another stream's end says nothing about ours
    streams.synchronize(mine)
    assert not np.isnan(y).any() and streams.is_idle(mine)


def test_inputs_are_read_when_the_run_happens_and_shapes_when_it_is_enqueued():
    driver, x = Driver(), sample(2)
    engine = driver.engine(conv(), profile=PROFILE)
    want = driver.run(engine.create_execution_context(), x=sample(2, seed=9))["y"]
    context, y = prepared(driver, engine, x)
    stream = driver.trt.emulated_streams.create_stream()
    assert context.execute_async_v3(stream)
    x[...] = sample(2, seed=9)
    context.set_input_shape("x", (1, 5, 6, 6))
    context.set_tensor_address("y", 0)
    driver.trt.emulated_streams.synchronize(stream)
    assert y.tobytes() == want.tobytes()


def test_runs_of_one_stream_keep_their_order():
    streams, seen = Streams(), []
    stream = streams.create_stream()
    for number in range(5):
        streams.submit(stream, lambda number=number: seen.append(number))
    assert not seen
    streams.synchronize(stream)
    assert seen == [0, 1, 2, 3, 4]


def test_two_streams_run_at_the_same_time():
    streams = Streams()
    meeting = threading.Barrier(2, timeout=10)
    first, second = streams.create_stream(), streams.create_stream()
    for stream in (first, second):
        streams.submit(stream, meeting.wait)
    threads = [threading.Thread(target=streams.synchronize, args=(s,)) for s in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meeting.broken


def test_contexts_of_one_engine_run_in_parallel_threads():
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    inputs = [sample(1 + i % 4, seed=i) for i in range(8)]
    wants = [driver.run(engine.create_execution_context(), x=x)["y"] for x in inputs]
    gots: list = [None] * 8

    def work(i):
        context = engine.create_execution_context()
        for _ in range(5):
            gots[i] = driver.run(context, x=inputs[i])["y"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [g.tobytes() for g in gots] == [w.tobytes() for w in wants]


def test_work_that_fails_comes_out_of_synchronise_and_drops_the_rest():
    streams, seen = Streams(), []
    stream = streams.create_stream()
    streams.submit(stream, lambda: 1 // 0)
    streams.submit(stream, lambda: seen.append(1))
    with pytest.raises(ExecutionError, match="by zero"):
        streams.synchronize(stream)
    streams.submit(stream, lambda: seen.append(2))
    streams.synchronize(stream)
    assert seen == [2]


def test_a_destroyed_stream_is_no_stream():
    streams, seen = Streams(), []
    stream = streams.create_stream()
    streams.submit(stream, lambda: seen.append(1))
    streams.destroy(stream)
    assert not seen and not streams.is_known(stream)
    for call in (streams.synchronize, streams.destroy, streams.is_idle):
        with pytest.raises(UsageError, match="is not a stream"):
            call(stream)
    with pytest.raises(UsageError, match="default stream"):
        streams.destroy(0)


def test_nothing_is_left_running():
    before = threading.active_count()
    driver, x = Driver(), sample(2)
    driver.run(driver.engine(conv(), profile=PROFILE).create_execution_context(), x=x)
    assert threading.active_count() == before


def test_an_event_fires_when_the_stream_gets_there():
    streams = Streams()
    event, stream = streams.create_event(), streams.create_stream()
    assert streams.is_event(event) and not streams.has_fired(event)
    streams.submit(stream, lambda: streams.fire(event))
    assert not streams.has_fired(event)
    streams.synchronize(stream)
    assert streams.has_fired(event)
    streams.reset_event(event)
    assert not streams.has_fired(event)
    streams.destroy_event(event)
    with pytest.raises(UsageError, match="not an event"):
        streams.has_fired(event)


def test_wrong_use_is_told_as_such_when_the_stream_is_waited_for():
    streams = Streams()
    stream = streams.create_stream()

    def misuse():
        raise UsageError("a fault dropped an output")

    streams.submit(stream, misuse)
    with pytest.raises(UsageError, match="dropped an output"):
        streams.synchronize(stream)
    assert streams.is_idle(stream)


def test_what_a_capture_records_happens_at_each_submit_and_not_before():
    streams, done = Streams(), []
    handle = streams.create_stream()
    streams.begin_capture(handle)
    streams.submit(handle, lambda: done.append(1))
    assert streams.is_capturing(handle) and streams.is_idle(handle)
    with pytest.raises(ExecutionError, match="not permitted when stream is capturing"):
        streams.synchronize(handle)
    recorded = streams.end_capture(handle)
    streams.synchronize(handle)
    assert done == [] and not streams.is_capturing(handle)
    for work in 2 * recorded:
        streams.submit(handle, work)
    streams.synchronize(handle)
    assert done == [1, 1]


def test_captures_that_cannot_begin_or_end():
    streams = Streams()
    handle = streams.create_stream()
    with pytest.raises(UsageError, match="is not captured"):
        streams.end_capture(handle)
    streams.begin_capture(handle)
    for number in (0, handle):
        with pytest.raises(UsageError, match="cannot be captured"):
            streams.begin_capture(number)


def test_the_first_run_of_a_context_is_not_captured():
    """TensorRT prepares what a capture forbids (issue 2603); a later run is recorded, and reads its inputs at each replay."""
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    x = sample()
    streams = driver.trt.emulated_streams
    handle = streams.create_stream()
    context, y = prepared(driver, engine, x)
    streams.begin_capture(handle)
    assert not context.execute_async_v3(handle) and streams.end_capture(handle) == []
    assert context.execute_async_v3(handle)
    streams.synchronize(handle)
    want = y.copy()
    streams.begin_capture(handle)
    assert context.execute_async_v3(handle)
    (work,) = streams.end_capture(handle)
    x *= 2
    y[...] = np.nan
    streams.submit(handle, work)
    streams.synchronize(handle)
    assert np.isfinite(y).all() and not np.array_equal(y, want)


def test_a_stream_waits_for_an_event_as_it_was_recorded_when_it_was_asked_to() -> None:
    streams, done = Streams(), []
    first, second = streams.create_stream(), streams.create_stream()
    event = streams.create_event()
    streams.hold(second, event)  # never recorded: nothing to wait for
    streams.submit(first, lambda: done.append("before"))
    streams.record_event(event, first)
    streams.submit(first, lambda: done.append("behind"))
    streams.hold(second, event)
    streams.record_event(event, second)  # a later record is not what was waited for
    streams.submit(second, lambda: done.append("second"))
    streams.synchronize(second)
    assert done == ["before", "second"]
    assert streams.has_fired(event) and not streams.is_idle(first)


def test_streams_of_two_threads_that_wait_for_each_other_come_to_their_ends() -> None:
    """Each thread does its own stream and meets an event of the other's, which only the other one can let fire."""
    streams = Streams()
    handles = [streams.create_stream() for _ in range(2)]
    events = [streams.create_event() for _ in range(2)]
    meet = threading.Barrier(2, timeout=30)
    done: list[int] = []
    for handle, event in zip(handles, events, strict=True):
        streams.submit(handle, meet.wait)  # both threads are at work on their streams
        streams.record_event(event, handle)
    for place, handle in enumerate(handles):
        streams.hold(handle, events[1 - place])
        streams.submit(handle, partial(done.append, place))
    threads = [
        threading.Thread(target=streams.synchronize, args=(handle,), daemon=True) for handle in handles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(done) == [0, 1]


def test_modelled_time_waits_too() -> None:
    clock = Clock()
    streams = Streams(clock)
    first, second = streams.create_stream(), streams.create_stream()
    begin, middle, end = (streams.create_event() for _ in range(3))
    with clock.modelled():
        streams.record_event(begin, second)
        streams.submit(first, lambda: streams.spend(first, 3e-6))
        streams.record_event(middle, first)
        streams.hold(second, middle)
        streams.submit(second, lambda: streams.spend(second, 1e-6))
        streams.record_event(end, second)
        streams.synchronize(second)
    assert streams.seconds_between(begin, end) == pytest.approx(4e-6, rel=1e-9)


def test_streams_of_two_devices_have_handles_of_their_own() -> None:
    one, other = Streams(), Streams()
    assert not other.is_known(one.create_stream())
    assert not one.is_event(other.create_event())
