"""The clock of the emulated device: what the host measures, or what the work would take."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.emulator.clock import OUTPUTS_PER_WAVE, Clock, modelled_seconds, multiplications
from pytest_trt.emulator.lowering import Step
from pytest_trt.errors import ExecutionError

from .driver import PROFILE, Driver, sample
from .models import conv, make


def step(op_type, shapes, output, working="fp32"):
    """A step whose operands are zeros of these shapes, with the arrays that it read and gave."""
    names = [f"i{number}" for number in range(len(shapes))]
    node: onnx.NodeProto = helper.make_node(op_type, names, ["y"], name="n")
    inputs = {name: np.zeros(shape, "f4") for name, shape in zip(names, shapes, strict=True)}
    return Step(node, working), inputs, {"y": np.zeros(output, "f4")}


@pytest.mark.parametrize(
    ("op_type", "shapes", "output", "products"),
    [
        ("Conv", [(2, 4, 6, 6), (8, 4, 3, 3)], (2, 8, 4, 4), 256 * 36),
        ("Conv", [(1, 4, 6, 6), (4, 1, 3, 3)], (1, 4, 4, 4), 64 * 9),
        ("ConvTranspose", [(1, 4, 3, 3), (4, 8, 2, 2)], (1, 8, 4, 4), 36 * 32),
        ("MatMul", [(5, 7), (7, 3)], (5, 3), 15 * 7),
        ("MatMul", [(2, 5, 7), (2, 7, 3)], (2, 5, 3), 30 * 7),
        ("Gemm", [(5, 7), (3, 7), (3,)], (5, 3), 15 * 7),
        ("Relu", [(5, 7)], (5, 7), 35),
    ],
)
def test_products_are_counted(op_type, shapes, output, products):
    assert multiplications(*step(op_type, shapes, output)) == products


def test_a_product_whose_weights_are_not_read_counts_its_outputs():
    conv, inputs, outputs = step("Conv", [(1, 4, 6, 6), (8, 4, 3, 3)], (1, 8, 4, 4))
    del inputs["i1"]
    assert multiplications(conv, inputs, outputs) == 128


def test_times_are_modelled_inside_of_the_block():
    clock = Clock()
    with clock.modelled(), clock.modelled():
        assert clock.is_modelled
    assert not clock.is_modelled


FRAME = 4096  # outputs: four frames fill a wave
WAVE = OUTPUTS_PER_WAVE * 16 * 9 / 1e12


@pytest.mark.parametrize(("batch", "waves"), [(1, 1), (2, 1), (4, 1), (5, 2), (8, 2), (16, 4)])
def test_a_wave_that_is_not_full_takes_as_long_as_a_full_one(batch, waves):
    work = step("Conv", [(batch, 16, 16, 16), (16, 16, 3, 3)], (batch, 16, 16, 16))
    assert FRAME * 4 == OUTPUTS_PER_WAVE and WAVE > 2e-6
    assert modelled_seconds(*work) == pytest.approx(waves * WAVE)


@pytest.mark.parametrize(("working", "speedup"), [("tf32", 2), ("fp16", 4), ("bf16", 4), ("int8", 8)])
def test_narrow_types_are_faster(working, speedup):
    work = step("Conv", [(4, 64, 16, 16), (16, 64, 9, 9)], (4, 16, 16, 16), working)
    assert modelled_seconds(*work) == pytest.approx(OUTPUTS_PER_WAVE * 64 * 81 / speedup / 1e12)


def test_small_layers_take_their_start_and_thin_ones_their_bytes():
    assert modelled_seconds(*step("Relu", [(5, 7)], (5, 7))) == 2e-6
    assert modelled_seconds(*step("Relu", [(1000, 1000)], (1000, 1000))) == pytest.approx(8e6 / 1e11)
    half = step("Relu", [(1000, 1000)], (1000, 1000), "fp16")
    assert modelled_seconds(*half) == pytest.approx(4e6 / 1e11)


def prepared(driver, engine, batch):
    """A context with addresses, and what lies there."""
    x, y = sample(batch), np.empty((batch, 7, 5, 6), "f4")
    context = engine.create_execution_context()
    assert context.set_input_shape("x", x.shape)
    assert context.set_tensor_address("x", x.ctypes.data) and context.set_tensor_address("y", y.ctypes.data)
    return context, (x, y)


def seconds_of(driver, context, runs=1, stream=None):
    """Seconds between two events around some runs."""
    streams = driver.trt.emulated_streams
    handle = streams.create_stream() if stream is None else stream
    events = [streams.create_event() for _ in range(2)]
    streams.record_event(events[0], handle)
    for _ in range(runs):
        assert context.execute_async_v3(handle)
    streams.record_event(events[1], handle)
    streams.synchronize(handle)
    return streams.seconds_between(*events)


def test_events_tell_what_a_profiler_is_told():
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    told = []

    class Profiler(driver.trt.IProfiler):
        def __init__(self):
            driver.trt.IProfiler.__init__(self)

        def report_layer_time(self, name, milliseconds):
            told.append(milliseconds / 1e3)

    with driver.trt.emulated_clock.modelled():
        context, _held = prepared(driver, engine, 2)
        plain = [seconds_of(driver, context, runs) for runs in (1, 1, 5)]
        context.profiler = Profiler()
        profiled = seconds_of(driver, context)
    assert len(told) == 2 and plain[0] == plain[1] == profiled == pytest.approx(sum(told))
    assert plain[2] == pytest.approx(5 * plain[0])


def test_modelled_runs_give_the_same_bits():
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    x = sample(3)
    want = driver.run(engine.create_execution_context(), x=x)["y"].tobytes()
    context = engine.create_execution_context()
    with driver.trt.emulated_clock.modelled():
        assert [driver.run(context, x=x)["y"].tobytes() for _ in range(2)] == [want, want]


def test_the_time_of_a_frame_falls_until_a_wave_is_full_and_is_then_the_same():
    driver = Driver()
    weights = np.ones((16, 16, 3, 3), "f4")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1] * 4)
    shape = (16, 16, 16)
    model = make([node], {"x": ["N", *shape]}, {"y": ["N", *shape]}, {"w": weights})
    engine = driver.engine(model, profile={"x": ((1, *shape), (4, *shape), (16, *shape))})
    frame = {}
    with driver.trt.emulated_clock.modelled():
        for batch in (1, 2, 4, 8, 16):
            context = engine.create_execution_context()
            x, y = sample(batch, shape=shape), np.empty((batch, *shape), "f4")
            assert context.set_input_shape("x", x.shape)
            context.set_tensor_address("x", x.ctypes.data)
            context.set_tensor_address("y", y.ctypes.data)
            frame[batch] = seconds_of(driver, context, 2) / 2 / batch
    assert frame == pytest.approx({1: WAVE, 2: WAVE / 2, 4: WAVE / 4, 8: WAVE / 4, 16: WAVE / 4})


def test_streams_have_times_of_their_own():
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    context, _held = prepared(driver, engine, 1)
    streams = driver.trt.emulated_streams
    mine, other = streams.create_stream(), streams.create_stream()
    events = [streams.create_event() for _ in range(2)]
    with driver.trt.emulated_clock.modelled():
        streams.record_event(events[0], other)
        assert seconds_of(driver, context, 3, mine) == pytest.approx(3 * seconds_of(driver, context, 1, mine))
        streams.record_event(events[1], other)
    streams.synchronize(other)
    assert streams.seconds_between(*events) == 0


def test_what_a_fault_says_of_times_is_what_events_tell():
    def slow(site):
        return site.seconds * 3 if site.kind == "time" and site.context_id > 1 else None

    driver = Driver(faults=(slow,))
    engine = driver.engine(conv(), profile=PROFILE)
    sides = [prepared(driver, engine, 2) for _ in range(2)]
    with driver.trt.emulated_clock.modelled():
        first, second = (seconds_of(driver, context) for context, _ in sides)
    assert second == pytest.approx(3 * first)


def test_outside_of_the_block_events_tell_the_time_of_the_host():
    driver = Driver()
    context, _held = prepared(driver, driver.engine(conv(), profile=PROFILE), 1)
    assert len({seconds_of(driver, context) for _ in range(8)}) > 1


@pytest.mark.parametrize("first", [True, False])
def test_a_modelled_and_a_real_event_have_no_time_between_them(first):
    driver = Driver()
    streams, clock = driver.trt.emulated_streams, driver.trt.emulated_clock
    events = [streams.create_event() for _ in range(2)]
    for event, is_modelled in zip(events, (first, not first), strict=True):
        with clock.modelled() if is_modelled else nullcontext():
            streams.record_event(event, 0)
    streams.synchronize(0)
    with pytest.raises(ExecutionError, match="no time between") as caught:
        streams.seconds_between(*events)
    assert "modelled time" in str(caught.value)


def test_modelled_times_end_with_the_block_also_when_it_fails():
    clock = Clock()
    with pytest.raises(RuntimeError), clock.modelled():
        raise RuntimeError
    assert not clock.is_modelled


def test_equal_work_takes_exactly_equal_time_however_late():
    driver = Driver()
    context, _held = prepared(driver, driver.engine(conv(), profile=PROFILE), 1)
    stream = driver.trt.emulated_streams.create_stream()
    with driver.trt.emulated_clock.modelled():
        assert len({seconds_of(driver, context, 7, stream) for _ in range(50)}) == 1
