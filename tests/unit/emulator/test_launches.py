"""A run that is enqueued again as it was costs little, and whatever is set in between is obeyed."""

from __future__ import annotations

import numpy as np
import pytest

from .driver import PROFILE, Driver, sample
from .models import conv


class Prepared:
    """A context that has run once, and what it computes for."""

    def __init__(self, driver, **settings):
        self.driver, self.streams = driver, driver.trt.emulated_streams
        self.engine = driver.engine(conv(), profile=PROFILE, **settings)
        self.context = self.engine.create_execution_context()
        self.stream = self.streams.create_stream()
        self.x, self.y = sample(2), np.empty((2, 7, 5, 6), "f4")
        self.context.set_input_shape("x", self.x.shape)
        self.context.set_tensor_address("x", self.x.ctypes.data)
        self.context.set_tensor_address("y", self.y.ctypes.data)
        assert self.run()

    def run(self, stream=None):
        self.y[...] = np.nan
        handle = self.stream if stream is None else stream
        taken = self.context.execute_async_v3(handle)
        self.streams.synchronize(handle)
        return taken

    def said(self, word):
        return any(word in text for text in self.driver.log.texts())


@pytest.fixture
def made():
    return Prepared(Driver())


def want(x):
    return Driver().once(conv(), x=x)["y"]


def test_a_run_is_prepared_once_and_reads_what_lies_there_now(made, monkeypatch):
    asked = []
    ready = type(made.context)._ready
    monkeypatch.setattr(
        type(made.context), "_ready", lambda self, *args: asked.append(1) or ready(self, *args)
    )
    for seed in range(3):
        made.x[...] = sample(2, seed=seed)
        assert made.run() and made.y.tobytes() == want(made.x).tobytes()
    assert asked == []
    made.context.set_tensor_address("x", made.x.ctypes.data)  # where it was
    made.context.set_input_shape("x", made.x.shape)
    assert made.run() and asked == []
    assert made.run(made.streams.create_stream()) and asked == [1]


def test_another_address_is_obeyed(made):
    x, y = sample(2, seed=4), np.empty_like(made.y)
    made.context.set_tensor_address("x", x.ctypes.data)
    made.context.set_tensor_address("y", y.ctypes.data)
    assert made.run() and y.tobytes() == want(x).tobytes() and np.isnan(made.y).all()
    made.context.set_tensor_address("y", 0)
    assert not made.run() and made.said("output tensor y")


def test_another_shape_is_obeyed(made):
    made.context.set_input_shape("x", (1, 5, 6, 6))
    assert made.run()
    assert made.y[:1].tobytes() == want(made.x[:1]).tobytes() and np.isnan(made.y[1:]).all()
    assert not made.context.set_input_shape("x", (9, 5, 6, 6))
    assert made.run() and np.isnan(made.y[1:]).all()


def test_a_stream_that_is_destroyed_is_refused(made):
    made.streams.destroy(made.stream)
    assert made.context.execute_async_v3(made.stream) is False and made.said("not a stream")


def test_the_default_stream_is_warned_of_each_time(made):
    for _ in range(2):
        assert made.run(0)
    assert len([text for text in made.driver.log.texts("WARNING") if "default stream" in text]) == 2


def test_a_profiler_that_is_set_later_is_told(made):
    told = []

    class Profiler(made.driver.trt.IProfiler):
        def __init__(self):
            made.driver.trt.IProfiler.__init__(self)

        def report_layer_time(self, name, milliseconds):
            told.append(name)

    made.context.profiler = Profiler()
    assert made.run() and told == ["conv", "relu"]
    made.context.profiler = None
    assert made.run() and len(told) == 2


def test_an_allocator_that_is_set_later_is_asked(made):
    held = np.empty_like(made.y)

    class Allocator(made.driver.trt.IOutputAllocator):
        def __init__(self):
            made.driver.trt.IOutputAllocator.__init__(self)

        def reallocate_output_async(self, name, memory, size, alignment, stream):
            return held.ctypes.data

        def reallocate_output(self, name, memory, size, alignment):
            return held.ctypes.data

        def notify_shape(self, name, shape):
            pass

    allocator = Allocator()
    assert made.context.set_output_allocator("y", allocator)
    for _ in range(2):
        assert made.run() and held.tobytes() == want(made.x).tobytes() and np.isnan(made.y).all()


def test_an_event_that_is_set_later_fires(made):
    event = made.streams.create_event()
    assert made.context.set_input_consumed_event(event)
    for _ in range(2):
        made.streams.reset_event(event)
        assert made.run() and made.streams.has_fired(event)
    made.context.set_input_consumed_event(0)
    made.streams.reset_event(event)
    assert made.run() and not made.streams.has_fired(event)


def test_a_debug_listener_that_is_set_later_is_called():
    driver, shown = Driver(), []
    network = driver.network(conv())
    config = driver.config(profile=PROFILE)
    assert network.mark_debug(network.get_layer(0).get_output(0))
    plan = driver.builder.build_serialized_network(network, config)

    class Listener(driver.trt.IDebugListener):
        def __init__(self):
            driver.trt.IDebugListener.__init__(self)

        def process_debug_tensor(self, addr, location, type, shape, name, stream):
            shown.append(name)
            return True

    driver.engine = lambda *args, **kwargs: driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    made, listener = Prepared(driver), Listener()
    assert made.context.set_debug_listener(listener)
    assert made.run() and shown == []
    assert made.context.set_all_tensors_debug_state(True)
    assert made.run() and shown == ["c"]
    assert made.context.set_tensor_debug_state("c", False)
    assert made.run() and shown == ["c"]


def test_new_weights_are_used_by_the_next_run():
    made = Prepared(Driver(), flags=("REFIT",))
    before = made.y.copy()
    refitter = made.driver.trt.Refitter(made.engine, made.driver.logger)
    name = refitter.get_all_weights()[0]
    weights = np.zeros_like(made.engine._core.weights()[name])
    assert refitter.set_named_weights(name, made.driver.trt.Weights(weights))
    assert refitter.refit_cuda_engine()
    assert made.run() and made.y.tobytes() != before.tobytes()


def test_memory_that_is_taken_away_is_missed():
    driver = Driver()
    strategy = driver.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    engine = driver.engine(conv(), profile=PROFILE)
    context = engine.create_execution_context(strategy)
    stream = driver.trt.emulated_streams.create_stream()
    x, y = sample(2), np.empty((2, 7, 5, 6), "f4")
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    context.set_device_memory(4096, engine.device_memory_size_v2)
    assert context.execute_async_v3(stream) and context.execute_async_v3(stream)
    context.set_device_memory(0, engine.device_memory_size_v2)
    assert not context.execute_async_v3(stream)


def test_a_capture_records_a_run_that_was_enqueued_before(made):
    made.streams.begin_capture(made.stream)
    made.y[...] = np.nan
    assert made.context.execute_async_v3(made.stream)
    (work,) = made.streams.end_capture(made.stream)
    made.streams.synchronize(made.stream)
    assert np.isnan(made.y).all()
    work()
    assert made.y.tobytes() == want(made.x).tobytes()


def test_modelled_time_begins_and_ends_between_two_runs(made):
    events = [made.streams.create_event() for _ in range(2)]
    with made.driver.trt.emulated_clock.modelled():
        made.streams.record_event(events[0], made.stream)
        assert made.run() and made.run()
    assert made.run()
    with made.driver.trt.emulated_clock.modelled():
        made.streams.record_event(events[1], made.stream)
    made.streams.synchronize(made.stream)
    assert made.streams.seconds_between(*events) == pytest.approx(2 * 2 * 2e-6)
