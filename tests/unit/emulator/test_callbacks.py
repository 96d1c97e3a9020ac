"""Objects that users make: loggers, recorders, monitors, profilers, allocators, listeners, writers."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt import emulator

from .driver import PROFILE, Driver, logger_of, sample
from .models import conv, make


def recorder_of(trt, with_count=True):
    class Recorder(trt.IErrorRecorder):
        def __init__(self):
            trt.IErrorRecorder.__init__(self)
            self.errors = []

        def report_error(self, code, desc):
            self.errors.append((code, desc))
            return True

        def clear(self):
            self.errors = []

        def has_overflowed(self):
            return False

    if with_count:
        Recorder.get_num_errors = lambda self: len(self.errors)
    return Recorder()


def test_errors_go_to_the_recorder_and_not_to_the_logger():
    driver = Driver()
    recorder = recorder_of(driver.trt)
    driver.builder.error_recorder = recorder
    network = driver.network(conv())  # inherits the recorder
    assert network.error_recorder is recorder
    assert driver.builder.build_serialized_network(network, driver.builder.create_builder_config()) is None
    assert recorder.errors[0][0] == driver.trt.ErrorCodeTRT.INVALID_CONFIG
    assert "optimization profile" in recorder.errors[0][1] and not driver.log.texts()


def test_an_object_made_before_the_recorder_still_logs():
    driver = Driver()
    network = driver.builder.create_network(1)
    driver.builder.error_recorder = recorder_of(driver.trt)
    assert network.error_recorder is None
    assert network.get_input(0) is None and driver.log.texts()


def test_parse_errors_reach_the_recorder_of_the_network():
    driver = Driver()
    network = driver.builder.create_network(1)
    network.error_recorder = recorder_of(driver.trt)
    parser = driver.trt.OnnxParser(network, driver.logger)
    assert not parser.parse(b"garbage")
    assert network.error_recorder.errors and not driver.log.texts()


def test_a_parser_reports_to_the_recorder_that_the_network_had_when_it_was_made():
    driver = Driver()
    network = driver.builder.create_network(1)
    parser = driver.trt.OnnxParser(network, driver.logger)
    network.error_recorder = recorder_of(driver.trt)
    assert not parser.parse(b"garbage")
    assert driver.log.texts("ERROR") and not network.error_recorder.errors


def test_errors_of_a_build_are_the_builders():
    """As seen with TensorRT-RTX 1.7.1, which also says the same words to recorder and logger."""
    driver = Driver()
    network = driver.builder.create_network(1)
    config = driver.builder.create_builder_config()
    network.error_recorder = recorder_of(driver.trt)
    assert driver.builder.build_serialized_network(network, config) is None
    (text,) = driver.log.texts("ERROR")
    driver.builder.error_recorder = recorder_of(driver.trt)
    assert driver.builder.build_serialized_network(network, config) is None
    assert driver.builder.error_recorder.errors == [(driver.trt.ErrorCodeTRT.INVALID_CONFIG, text)]
    assert not network.error_recorder.errors and driver.log.texts("ERROR") == [text]


def test_a_recorder_without_get_num_errors_is_told_on_stderr(capfd):
    driver = Driver()
    driver.builder.error_recorder = recorder_of(driver.trt, with_count=False)
    assert "get_num_errors" in capfd.readouterr().err
    with pytest.raises(TypeError):
        driver.builder.error_recorder = 3


def test_exceptions_in_callbacks_are_printed_and_dropped(capfd):
    trt = emulator.load("tensorrt", "10.13", "t4")

    class Broken(trt.ILogger):
        def log(self, severity, msg):
            raise ValueError("from the logger")

    builder = trt.Builder(Broken())
    assert builder.create_network(1 << 20) is None
    assert "from the logger" in capfd.readouterr().err


@pytest.mark.parametrize(("name", "own"), [("tensorrt-10.13", False), ("tensorrt_rtx-1.7", True)])
def test_a_second_logger_is_warned_about(name, own):
    driver = Driver(name)
    second, log = logger_of(driver.trt)
    builder = driver.trt.Builder(second)
    warned = log if own else driver.log
    assert "differs from one already registered" in warned.texts("WARNING")[-1]
    assert builder.create_network(1 << 20) is None
    assert bool(log.texts("ERROR")) == own and bool(driver.log.texts("ERROR")) != own


def test_the_registered_logger_goes_with_the_last_user():
    driver = Driver()
    trt = driver.trt
    second, log = logger_of(trt)
    del driver.builder
    gc.collect()
    builder = trt.Builder(second)
    assert builder.create_network(1 << 20) is None
    assert log.texts() and not driver.log.lines


def test_the_logger_of_the_bindings_prints_what_it_must(capfd):
    trt = Driver().trt
    logger = trt.Logger(trt.Logger.WARNING)
    logger.log(trt.Logger.ERROR, "bad")
    logger.log(trt.Logger.INFO, "dull")
    logger.min_severity = trt.Logger.VERBOSE
    logger.log(trt.Logger.INFO, "told")
    out, err = capfd.readouterr()
    assert "[TRT] [E] bad" in err and "dull" not in out and "[TRT] [I] told" in out


def test_a_build_is_told_in_phases_and_can_be_stopped():
    driver = Driver()
    events = []

    class Monitor(driver.trt.IProgressMonitor):
        stop = False

        def phase_start(self, phase_name, parent_phase, num_steps):
            events.append(("start", phase_name, num_steps))

        def step_complete(self, phase_name, step):
            events.append(("step", phase_name, step))
            return not self.stop

        def phase_finish(self, phase_name):
            events.append(("end", phase_name))

    config = driver.config(profile=PROFILE)
    monitor = config.progress_monitor = Monitor()
    network = driver.network(conv())
    assert driver.builder.build_serialized_network(network, config) is not None
    starts = [event for event in events if event[0] == "start"]
    assert len(starts) == 3 and sum(count for *_, count in starts) == sum(e[0] == "step" for e in events)
    assert sum(event[0] == "end" for event in events) == 3
    monitor.stop = True
    assert driver.builder.build_serialized_network(network, config) is None
    assert "Build canceled by user" in driver.log.texts()[-1]
    assert config.progress_monitor is monitor


def test_a_monitor_that_raises_cancels_the_build(capfd):
    driver = Driver()

    class Monitor(driver.trt.IProgressMonitor):
        def phase_start(self, phase_name, parent_phase, num_steps): ...

        def phase_finish(self, phase_name): ...

        def step_complete(self, phase_name, step):
            raise ValueError("from the monitor")

    config = driver.config(profile=PROFILE)
    config.progress_monitor = Monitor()
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is None
    assert "from the monitor" in capfd.readouterr().err


def test_a_callback_without_the_base_constructor_is_refused():
    driver = Driver()

    class Monitor(driver.trt.IProgressMonitor):
        def __init__(self): ...

    with pytest.raises(TypeError, match=r"__init__\(\) must be called"):
        driver.config().progress_monitor = Monitor()


def profiler_of(trt):
    class Times(trt.IProfiler):
        def __init__(self):
            trt.IProfiler.__init__(self)
            self.times = []

        def report_layer_time(self, layer_name, ms):
            self.times.append((layer_name, ms))

    return Times()


def test_a_profiler_gets_the_time_of_each_layer():
    driver, x = Driver(), sample(2)
    engine = driver.engine(conv(), profile=PROFILE)
    plain = driver.run(engine.create_execution_context(), x=x)["y"]
    context = engine.create_execution_context()
    profiler = context.profiler = profiler_of(driver.trt)
    got = driver.run(context, x=x)["y"]
    assert [name for name, _ in profiler.times] == ["conv", "relu"]
    assert all(ms > 0 for _, ms in profiler.times) and got.tobytes() == plain.tobytes()
    context.enqueue_emits_profile = False
    driver.run(context, x=x)
    assert len(profiler.times) == 2
    assert context.report_to_profiler() and len(profiler.times) == 4
    assert not context.report_to_profiler()


def allocator_of(trt, asynchronous):
    class Allocator(trt.IOutputAllocator):
        def __init__(self):
            trt.IOutputAllocator.__init__(self)
            self.memory, self.shape = None, None

        def notify_shape(self, tensor_name, shape):
            self.shape = tuple(shape)

    def give(self, tensor_name, memory, size, alignment, stream=None):
        self.memory = np.zeros(size, np.uint8)
        return self.memory.ctypes.data

    setattr(Allocator, "reallocate_output_async" if asynchronous else "reallocate_output", give)
    return Allocator()


@pytest.mark.parametrize(("name", "asynchronous"), [("tensorrt-8.6.1", False), ("tensorrt-10.13", True)])
def test_an_output_allocator_gives_the_memory(name, asynchronous):
    driver, x = Driver(name), sample(2)
    engine = driver.engine(conv(), profile=PROFILE)
    want = driver.run(engine.create_execution_context(), x=x)["y"]
    context = engine.create_execution_context()
    allocator = allocator_of(driver.trt, asynchronous)
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    assert context.set_output_allocator("y", allocator) and context.get_output_allocator("y") is allocator
    assert not context.set_output_allocator("x", allocator)
    stream = driver.trt.emulated_streams.create_stream()
    assert context.execute_async_v3(stream)
    assert allocator.shape == want.shape and not allocator.memory.any()
    driver.trt.emulated_streams.synchronize(stream)
    assert allocator.memory.tobytes() == want.tobytes()


def nonzero():
    nodes = [
        helper.make_node("NonZero", ["x"], ["i"]),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    return make(nodes, {"x": [2, 4]}, {"y": [2, None]})


def test_an_output_whose_size_follows_from_values_needs_an_allocator():
    driver = Driver()
    engine = driver.engine(nonzero())
    x = np.array([[1, 0, 0, 2], [0, 3, 0, 0]], "f4")
    context = engine.create_execution_context()
    context.set_tensor_address("x", x.ctypes.data)
    assert context.get_tensor_shape("y") == (2, -1) and context.get_max_output_size("y") == -1
    room = np.zeros(16, "f4")
    context.set_tensor_address("y", room.ctypes.data)
    stream = driver.trt.emulated_streams.create_stream()
    assert not context.execute_async_v3(stream)
    assert "depends on data" in driver.log.texts()[-1]
    allocator = allocator_of(driver.trt, True)
    context.set_output_allocator("y", allocator)
    assert context.execute_async_v3(stream) and allocator.shape == (2, 3)
    driver.trt.emulated_streams.synchronize(stream)
    got = allocator.memory.view("f4").reshape(2, 3)
    np.testing.assert_array_equal(got, [[0, 0, 1], [0, 3, 1]])


def test_an_allocator_that_gives_nothing_fails_the_enqueue():
    driver, x = Driver(), sample(2)
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()

    class Empty(driver.trt.IOutputAllocator):
        def reallocate_output_async(self, *args):
            return None

    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_output_allocator("y", Empty())
    assert not context.execute_async_v3(driver.trt.emulated_streams.create_stream())
    assert "allocator gave no memory" in driver.log.texts()[-1]


def test_a_debug_listener_sees_marked_tensors():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    inner = network.get_layer(0).get_output(0)
    assert network.mark_debug(inner) and network.is_debug_tensor(inner)
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    assert engine.is_debug_tensor("c") and not engine.is_debug_tensor("y")
    seen = {}

    class Listener(driver.trt.IDebugListener):
        def process_debug_tensor(self, addr, location, type, shape, name, stream):
            count = int(np.prod(tuple(shape)))
            memory = (ctypes.c_float * count).from_address(addr)
            seen[name] = np.frombuffer(memoryview(memory), "f4").reshape(tuple(shape)).copy()

    context = engine.create_execution_context()
    listener = Listener()
    assert context.set_debug_listener(listener) and context.get_debug_listener() is listener
    driver.run(context, x=x)
    assert not seen
    assert context.set_tensor_debug_state("c", True) and context.get_debug_state("c")
    assert not context.set_tensor_debug_state("y", True)
    got = driver.run(context, x=x)["y"]
    np.testing.assert_array_equal(np.maximum(seen["c"], 0), got)


def test_unfused_tensors_can_be_debug_tensors():
    driver = Driver()
    network = driver.network(conv())
    assert network.mark_unfused_tensors_as_debug_tensors()
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    context = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan).create_execution_context()
    assert not context.unfused_tensors_debug_state
    context.unfused_tensors_debug_state = True
    assert context.get_debug_state("c") and context.get_debug_state("y")


def test_a_plan_can_be_written_to_a_stream():
    driver = Driver()

    class Writer(driver.trt.IStreamWriter):
        def __init__(self):
            driver.trt.IStreamWriter.__init__(self)
            self.data, self.full = b"", False

        def write(self, data):
            self.data += data
            return 0 if self.full else len(data)

    writer = Writer()
    network, config = driver.network(conv()), driver.config(profile=PROFILE)
    assert driver.builder.build_serialized_network_to_stream(network, config, writer)
    assert writer.data == bytes(driver.builder.build_serialized_network(network, config))
    writer.full = True
    assert not driver.builder.build_serialized_network_to_stream(network, config, writer)


def test_context_managers_do_nothing_and_warn():
    trt = Driver().trt
    with pytest.warns(DeprecationWarning, match="Context managers"), trt.Builder(trt.Logger()) as builder:
        assert builder.create_network(1) is not None
