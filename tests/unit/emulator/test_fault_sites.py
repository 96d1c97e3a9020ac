"""Sites show a fault what they promise, and what it leaves there is what the run goes on with."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest

from pytest_trt.errors import ExecutionError, UsageError

from .driver import PROFILE, Driver, sample
from .models import conv, quantized_conv
from .test_faults import nothing, outputs


def sites(model, strong=False, flags=(), kinds=("node",), driver_options=None, **settings):
    seen = []

    def spy(site):
        if site.kind in kinds:
            seen.append(site)

    driver = Driver(faults=(spy,), **(driver_options or {}))
    x = sample(2)
    engine = driver.engine(model, strong, flags=flags, profile={"x": (x.shape,) * 3}, **settings)
    driver.run(engine.create_execution_context(), x=x)
    return seen


def test_a_node_site_shows_arrays_as_they_are_stored():
    conv_site, relu_site = (s for s in sites(conv(), flags=("FP16",)) if s.op_type != "Cast")
    assert (conv_site.op_type, conv_site.node_name, conv_site.precision, conv_site.gpu) == (
        "Conv",
        "conv",
        "fp16",
        "a100",
    )
    assert list(conv_site.inputs) == ["x", "w", "b"] and list(conv_site.outputs) == ["c"]
    assert all(
        array.dtype == np.float16 for array in (*conv_site.inputs.values(), *conv_site.outputs.values())
    )
    assert conv_site.exact["c"].dtype == np.float32
    np.testing.assert_array_equal(conv_site.exact["c"].astype("f2"), conv_site.outputs["c"])
    assert conv_site.attributes == {
        "pads": [1, 0, 0, 1], "group": 1, "kernel_shape": [3, 2], "strides": [1, 1], "dilations": [1, 1],
    }  # fmt: skip
    assert conv_site.batch == 2 and conv_site.profile == {"x": ((2, 5, 6, 6),) * 3}
    assert (conv_site.context_id, conv_site.run_index) == (1, 0) and conv_site.marked_outputs == frozenset()
    assert relu_site.scales == {} and relu_site.op_type == "Relu"
    assert isinstance(conv_site.rng, np.random.Generator)
    with pytest.raises(AttributeError, match="kind 'node' has no field 'plan'"):
        _ = conv_site.plan


def test_a_quantized_convolution_shows_its_integers_and_scales():
    found = {site.node_name: site for site in sites(quantized_conv(), strong=True)}
    site = found["conv"]
    assert list(site.inputs) == ["xq", "w", "b"] and site.precision == "int8"
    assert (
        site.inputs["xq"].dtype == site.inputs["w"].dtype == np.int8 and site.inputs["b"].dtype == np.float32
    )
    assert site.scales["xq"].shape == () and site.scales["w"].shape == (7,)
    assert site.outputs["c"].dtype == np.float32
    quantizer = found["qy"]
    assert quantizer.outputs["yq"].dtype == np.int8
    rounded = np.clip(np.rint(quantizer.exact["yq"]), -128, 127)
    np.testing.assert_array_equal(rounded, quantizer.outputs["yq"])
    assert "dqx" not in found and "dqw" not in found


def test_marked_outputs_are_those_that_were_added():
    seen = []
    driver = Driver(faults=(lambda site: seen.append(site) if site.kind == "node" else None,))
    network = driver.network(conv())
    network.mark_output(network.get_layer(0).get_output(0))
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    driver.run(engine.create_execution_context(), x=sample(2))
    assert seen[0].marked_outputs == {"c"}


def test_an_execute_site_knows_its_run():
    seen = []
    driver = Driver(faults=(lambda site: seen.append(site) if site.kind == "execute" else None,))
    engine = driver.engine(conv(), profile=PROFILE)
    first, second = engine.create_execution_context(), engine.create_execution_context()
    got = driver.run(first, x=sample(2))["y"]
    driver.run(first, x=sample(2, seed=1))
    driver.run(second, x=sample(1))
    assert [(s.context_id, s.run_index, s.batch) for s in seen] == [(1, 0, 2), (1, 1, 2), (2, 0, 1)]
    assert seen[0].previous_outputs == {} and seen[1].previous_outputs["y"].tobytes() == got.tobytes()
    assert seen[0].thread_id == threading.get_ident() and seen[0].stream > 0
    assert seen[0].inputs["x"].tobytes() == sample(2).tobytes()


def test_a_fault_can_fail_the_enqueue_and_the_output_is_not_written():
    driver = Driver(faults=(lambda site: False if site.kind == "enqueue" else None,))
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    x, y = sample(2), np.full((2, 7, 5, 6), 7, "f4")
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    stream = driver.trt.emulated_streams.create_stream()
    assert context.execute_async_v3(stream) is False and "enqueue failed" in driver.log.texts()[-1]
    assert context.execute_v2([x.ctypes.data, y.ctypes.data]) is False
    driver.trt.emulated_streams.synchronize(stream)
    assert np.all(y == 7)


def test_with_faults_a_missing_synchronise_is_still_visible():
    driver = Driver(faults=(nothing,))
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    x, y = sample(2), np.full((2, 7, 5, 6), np.nan, "f4")
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    stream = driver.trt.emulated_streams.create_stream()
    assert context.execute_async_v3(stream) and np.isnan(y).all()
    driver.trt.emulated_streams.synchronize(stream)
    assert not np.isnan(y).any()


def fail_at(kind, field):
    def fault(site):
        if site.kind == kind:
            setattr(site, field, None)

    return fault


def test_a_fault_can_fail_build_load_and_refit():
    driver = Driver(faults=(fail_at("build", "plan"),))
    assert driver.plan(conv(), profile=PROFILE) is None and driver.log.texts()
    driver = Driver(faults=(fail_at("load", "plan"),))
    plan = driver.plan(conv(), profile=PROFILE)
    assert driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan) is None
    driver = Driver(faults=(fail_at("refit", "weights"),))
    refitter = driver.trt.Refitter(driver.engine(conv(), flags=("REFIT",), profile=PROFILE), driver.logger)
    assert not refitter.refit_cuda_engine()


def test_a_fault_can_ignore_the_precision_asked_for():
    def ignore(site):
        if site.kind == "build":
            site.layers.update(dict.fromkeys(site.layers, "fp32"))

    x = sample(2)
    driver = Driver(faults=(ignore,))
    engine = driver.engine(conv(), flags=("FP16",), profile=PROFILE)
    text = engine.create_engine_inspector().get_engine_information(driver.trt.LayerInformationFormat.JSON)
    assert '"Name": "conv"' in text and text.count("FP16") <= 1
    got = driver.run(engine.create_execution_context(), x=x)["y"]
    assert np.any(got != got.astype("f2").astype("f4"))


def test_a_fault_can_change_the_model_that_is_built():
    def double(site):
        if site.kind == "build":
            for tensor in site.model.graph.initializer:
                if tensor.name == "b":
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(7, 100, "f4"), "b"))
            assert site.flags == {"FP16"} and site.layers["conv"] == "fp16" and isinstance(site.plan, bytes)

    assert outputs(conv(), False, ("FP16",), (double,)).min() > 50


def test_a_fault_can_lie_about_time():
    def slow(site):
        return 2.5 if site.kind == "time" else None

    driver = Driver(faults=(slow,))
    times = []

    class Times(driver.trt.IProfiler):
        def report_layer_time(self, layer_name, ms):
            times.append(ms)

    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    context.profiler = Times()
    driver.run(context, x=sample(2))
    assert times == [2500.0, 2500.0]


def test_outputs_must_keep_their_shape():
    def cut(site):
        if site.kind == "node":
            name = next(iter(site.outputs))
            site.outputs[name] = site.outputs[name][:1]

    with pytest.raises(UsageError, match="a fault left output 'c' of node 'conv' with shape"):
        outputs(conv(), False, (), (cut,))


def test_random_numbers_of_a_site_repeat_from_the_seed():
    def noisy(site):
        if site.kind == "node" and site.op_type == "Conv":
            site.outputs["c"] += site.rng.standard_normal(site.outputs["c"].shape).astype("f4")

    one, again, other = (outputs(conv(), False, (), (noisy,), seed=seed) for seed in (1, 1, 2))
    assert one.tobytes() == again.tobytes() != other.tobytes()


def test_later_nodes_read_what_a_fault_left():
    def zero(site):
        if site.kind == "node" and site.op_type == "Conv":
            site.outputs["c"][...] = -1

    assert not outputs(conv(), False, (), (zero,)).any()


def bound(driver, y):
    """Return a context with shapes and addresses, its input, and a stream."""
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    x = sample(2)
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    return context, x, driver.trt.emulated_streams.create_stream()


def test_with_faults_an_enqueue_does_not_wait_for_the_work_before_it():
    driver, done, y = Driver(faults=(nothing,)), [], np.full((2, 7, 5, 6), 7, "f4")
    context, _, stream = bound(driver, y)
    streams = driver.trt.emulated_streams
    streams.submit(stream, lambda: done.append("before"))
    assert context.execute_async_v3(stream) and not done
    streams.synchronize(stream)
    assert done and not np.any(y == 7)


def test_a_run_that_fails_on_its_stream_is_told_by_the_stream():
    driver = Driver(faults=(lambda site: False if site.kind == "execute" else None,))
    y = np.full((2, 7, 5, 6), 7, "f4")
    context, x, stream = bound(driver, y)
    assert context.execute_async_v3(stream)
    with pytest.raises(ExecutionError, match="the run failed"):
        driver.trt.emulated_streams.synchronize(stream)
    assert context.execute_v2([x.ctypes.data, y.ctypes.data]) is False and np.all(y == 7)


def test_an_enqueue_site_tells_what_will_be_done_and_is_obeyed():
    seen = []

    def spy(site):
        if site.kind == "enqueue":
            seen.append(
                (site.synchronous, list(site.missing), site.waits, site.logs_layers, site.event_fires)
            )
            site.missing, site.waits, site.logs_layers, site.event_fires = [], True, True, "never"

    driver, y = Driver(faults=(spy,)), np.full((2, 7, 5, 6), 7, "f4")
    context, _x, stream = bound(driver, y)
    event = driver.trt.emulated_streams.create_event()
    assert context.set_input_consumed_event(event) and context.get_input_consumed_event() == event
    assert not context.set_input_consumed_event(event + 1) and context.set_input_consumed_event(event)
    assert context.execute_async_v3(stream) and not np.any(y == 7)
    assert not driver.trt.emulated_streams.has_fired(event)
    assert len([text for text in driver.log.texts("VERBOSE") if text.startswith("Executing")]) > 0
    context.debug_sync = True
    assert context.execute_v2([0, y.ctypes.data])
    assert seen == [(False, [], False, False, "read"), (True, ["x"], False, True, "read")]
    context.set_input_consumed_event(0)
    assert context.get_input_consumed_event() == 0


def test_the_event_of_consumed_inputs_fires_when_they_are_read():
    driver, y = Driver(), np.full((2, 7, 5, 6), 7, "f4")
    context, x, stream = bound(driver, y)
    streams = driver.trt.emulated_streams
    event = streams.create_event()
    context.set_input_consumed_event(event)
    assert context.execute_async_v3(stream) and not streams.has_fired(event)
    streams.synchronize(stream)
    assert streams.has_fired(event)
    assert context.execute_async_v3(stream) and not streams.has_fired(event)
    assert context.execute_v2([x.ctypes.data, y.ctypes.data]) and streams.has_fired(event)


def test_a_debug_site_shows_each_tensor_and_says_how_often_it_is_told():
    seen, told = [], []

    def spy(site):
        if site.kind == "debug":
            seen.append((site.name, site.is_on, site.calls, sorted(site.others)))
            site.calls, site.values = 2, site.values * 0

    driver = Driver(faults=(spy,))
    network = driver.network(conv())
    network.mark_debug(network.get_layer(0).get_output(0))
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)

    class Listener(driver.trt.IDebugListener):
        def process_debug_tensor(self, addr, location, type, shape, name, stream):
            told.append(name)

    context, listener = engine.create_execution_context(), Listener()
    context.set_debug_listener(listener)
    driver.run(context, x=sample(2))
    assert seen == [("c", False, 0, ["c"])] and told == ["c", "c"]


def test_a_tensor_marked_for_debugging_is_kept_as_an_output_is():
    seen = []
    driver = Driver(faults=(lambda site: seen.append(site) if site.kind == "node" else None,))
    network = driver.network(conv())
    network.mark_debug(network.get_layer(0).get_output(0))
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    driver.run(engine.create_execution_context(), x=sample(2))
    assert seen[0].marked_outputs == {"c"}
