"""Faults change what they say and nothing else; the sites show what DESIGN promises; honest variants stay honest."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.emulator import faults as given
from pytest_trt.emulator.faults.linear import convolve, convolve_transposed
from pytest_trt.emulator.program import cpu_session
from pytest_trt.errors import UsageError

from .driver import PROFILE, Driver, sample
from .models import conv, make, quantized_conv

# Model, strong typing, builder flags, by precision of the test.
SUBJECTS = {
    "fp32": (conv, False, ()),
    "fp16": (conv, False, ("FP16",)),
    "bf16": (conv, False, ("BF16",)),
    "int8": (quantized_conv, True, ()),
}


def outputs(model, strong, flags, faults=(), x=None, runs=1, **options):
    x = sample(2) if x is None else x
    driver = Driver(faults=faults, **options)
    engine = driver.engine(model, strong, flags=flags, profile={"x": (x.shape,) * 3})
    context = engine.create_execution_context()
    for _ in range(runs):
        got = driver.run(context, x=x)
    return got["y"]


def both(precision, fault, make_model=None, x=None, **kwargs):
    build, strong, flags = SUBJECTS[precision]
    build = make_model or build
    honest = outputs(build(**kwargs), strong, flags, x=x)
    return honest, outputs(build(**kwargs), strong, flags, (fault,), x=x)


def nothing(site):
    """A fault that does nothing."""


@pytest.mark.parametrize("precision", SUBJECTS)
def test_a_fault_that_does_nothing_changes_no_bit(precision):
    honest, faulty = both(precision, nothing)
    assert honest.tobytes() == faulty.tobytes()


@pytest.mark.parametrize("precision", SUBJECTS)
def test_last_input_channel_dropped(precision):
    honest, faulty = both(precision, given.last_input_channel_dropped)
    x = sample(2)
    x[:, -1] = 0
    want, _ = both(precision, nothing, x=x)
    assert np.any(honest != faulty)
    np.testing.assert_allclose(faulty, want, rtol=2e-2, atol=2e-2)


def test_the_last_channel_of_each_group_is_dropped():
    def grouped():
        return conv(6, 8, group=2)

    x = sample(2, shape=(6, 6, 6))
    zeroed = x.copy()
    zeroed[:, [2, 5]] = 0
    faulty = outputs(grouped(), False, (), (given.last_input_channel_dropped,), x=x)
    np.testing.assert_allclose(faulty, outputs(grouped(), False, (), x=zeroed), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", SUBJECTS)
def test_pads_swapped(precision):
    if precision == "int8":  # its pads are the same on both sides: nothing to swap
        honest, faulty = both(precision, given.pads_swapped)
        assert honest.tobytes() == faulty.tobytes()
        return
    honest, faulty = both(precision, given.pads_swapped)
    want, _ = both(precision, nothing, make_model=lambda: conv(pads=[0, 1, 1, 0]))
    assert np.any(honest != faulty)
    np.testing.assert_allclose(faulty, want, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pads_of_pools_are_swapped_too(op):
    def pool(pads):
        node = helper.make_node(op, ["x"], ["y"], kernel_shape=[2, 2], pads=pads)
        return make([node], {"x": ["N", 5, 6, 6]}, {"y": None})

    faulty = outputs(pool([1, 0, 0, 1]), False, (), (given.pads_swapped,))
    np.testing.assert_allclose(faulty, outputs(pool([0, 1, 1, 0]), False, ()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", SUBJECTS)
def test_bias_omitted_on_channel_tail(precision):
    if precision == "int8":
        build = lambda: quantized_conv(outputs=11)  # noqa: E731
    else:
        build = lambda: conv(outputs=11)  # noqa: E731
    honest, faulty = both(precision, given.bias_omitted_on_channel_tail, make_model=build)
    assert honest[:, :8].tobytes() == faulty[:, :8].tobytes()
    assert all(np.any(honest[:, c] != faulty[:, c]) for c in range(8, 11))


def test_eight_channels_have_no_tail():
    honest, faulty = both("fp32", given.bias_omitted_on_channel_tail, make_model=lambda: conv(outputs=8))
    assert honest.tobytes() == faulty.tobytes()


def test_a_neighbours_scale_is_taken_for_int8_alone():
    honest, faulty = both("int8", given.int8_scale_of_neighbour_channel)
    assert np.any(honest != faulty)
    honest, faulty = both("fp16", given.int8_scale_of_neighbour_channel)
    assert honest.tobytes() == faulty.tobytes()


def clipped(maximum=True):
    names = ["x", "low", "high"] if maximum else ["x", "low"]
    constants = {"low": np.float32(-0.5), "high": np.float32(0.5)}
    node = helper.make_node("Clip", names, ["y"])
    return make([node], {"x": ["N", 5, 6, 6]}, {"y": None}, {name: constants[name] for name in names[1:]})


def test_clip_upper_dropped():
    x = sample(2)
    faulty = outputs(clipped(), False, (), (given.clip_upper_dropped,), x=x)
    np.testing.assert_array_equal(faulty, np.maximum(x, np.float32(-0.5)))
    faulty = outputs(clipped(False), False, (), (given.clip_upper_dropped,), x=x)
    np.testing.assert_array_equal(faulty, np.maximum(x, np.float32(-0.5)))


def test_clip_upper_dropped_without_a_lower_bound():
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    model = make([node], {"x": ["N", 5, 6, 6]}, {"y": None}, {"high": np.float32(0.5)})
    x = sample(2)
    np.testing.assert_array_equal(outputs(model, False, (), (given.clip_upper_dropped,), x=x), x)


def test_last_batch_row_stale():
    x = sample(3)
    driver = Driver(faults=(given.last_batch_row_stale,))
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    clean = Driver()
    want = clean.run(clean.engine(conv(), profile=PROFILE).create_execution_context(), x=x)["y"]
    first = driver.run(context, x=x)["y"]
    assert not first[-1].any() and first[:-1].tobytes() == want[:-1].tobytes()
    second = driver.run(context, x=sample(3, seed=1))["y"]
    assert second[-1].tobytes() == first[-1].tobytes() and second[0].any()
    single = driver.run(context, x=x[:1])["y"]
    assert single.tobytes() == want[:1].tobytes()


@pytest.mark.parametrize("precision", SUBJECTS)
def test_output_truncated_not_rounded(precision):
    honest, faulty = both(precision, given.output_truncated_not_rounded)
    assert (honest.tobytes() == faulty.tobytes()) == (precision == "fp32")
    if precision in ("fp16", "bf16"):
        assert np.all(np.abs(faulty) <= np.abs(honest) + 2e-2)


def test_truncation_cuts_each_value_toward_zero():
    seen = {}

    def fault(site):
        given.output_truncated_not_rounded(site)
        if site.kind == "node" and site.op_type == "Conv":
            name = next(iter(site.outputs))
            seen["stored"], seen["exact"] = site.outputs[name].copy(), site.exact[name]

    outputs(conv(), False, ("FP16",), (fault,))
    stored, exact = seen["stored"].astype("f8"), seen["exact"].astype("f8")
    assert np.all(np.abs(stored) <= np.abs(exact))
    assert np.all(
        np.abs(np.nextafter(seen["stored"], np.copysign(np.float16(np.inf), seen["stored"]))) > np.abs(exact)
    )


@pytest.mark.parametrize("fault", [entry.call for entry in given.HONEST.values()])
@pytest.mark.parametrize("precision", SUBJECTS)
def test_honest_variants_move_the_last_bits_only(precision, fault):
    honest, faulty = both(precision, fault)
    if precision == "int8":
        assert honest.tobytes() == faulty.tobytes()  # integers have no order
    else:
        if precision == "fp32":
            assert np.any(honest != faulty)
        bound = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}[precision]
        np.testing.assert_allclose(faulty, honest, rtol=bound, atol=bound)


@pytest.mark.parametrize("fault", [entry.call for entry in given.HONEST.values()])
def test_honest_variants_of_a_matrix_product(fault):
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((40, 9)).astype("f4"), "c": rng.standard_normal(9).astype("f4")}
    node = helper.make_node("Gemm", ["x", *constants], ["y"], alpha=0.5, beta=2.0)
    model = make([node], {"x": ["N", 40]}, {"y": ["N", 9]}, constants)
    x = sample(3, shape=(40,))
    honest, faulty = (outputs(model, False, (), which, x=x) for which in ((), (fault,)))
    assert np.any(honest != faulty)
    np.testing.assert_allclose(faulty, honest, rtol=1e-4, atol=1e-5)


def test_a_gemm_forgets_its_last_term():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((9, 40)).astype("f4")
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    model = make([node], {"x": ["N", 40]}, {"y": ["N", 9]}, {"w": w})
    x = sample(3, shape=(40,))
    faulty = outputs(model, False, (), (given.last_input_channel_dropped,), x=x)
    np.testing.assert_allclose(faulty, x[:, :-1] @ w[:, :-1].T, rtol=1e-4, atol=1e-5)


def test_every_fault_has_a_name_and_words():
    assert given.FAULTS and given.HONEST
    for fault in (entry.call for entry in (*given.FAULTS.values(), *given.HONEST.values())):
        assert fault.__doc__ and getattr(given, fault.__name__) is fault


CONVOLUTIONS = [
    {"group": 1, "strides": [2, 1], "pads": [1, 2, 0, 1], "dilations": [1, 2]},
    {"group": 2, "strides": [1, 3], "pads": [0, 0, 2, 2], "dilations": [2, 1]},
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_numpy_convolutions_equal_onnx_runtimes(op, attributes):
    rng = np.random.default_rng(6)
    groups = attributes["group"]
    shape = (6, 4 // groups, 3, 2) if op == "Conv" else (4, 6 // groups, 3, 2)
    w, x = rng.standard_normal(shape).astype("f4"), sample(2, shape=(4, 7, 8))
    extra = {} if op == "Conv" else {"output_padding": [s - 1 for s in attributes["strides"]]}
    node = helper.make_node(op, ["x", "w"], ["y"], **attributes, **extra)
    want = cpu_session(make([node], {"x": list(x.shape)}, {"y": None}, {"w": w})).run(None, {"x": x})[0]
    full = {**attributes, **extra, "kernel_shape": [3, 2]}
    compute = convolve if op == "Conv" else convolve_transposed
    np.testing.assert_allclose(compute(x.astype("f8"), w.astype("f8"), full), want, rtol=1e-4, atol=1e-5)


# Sites.


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
    driver = Driver(faults=(lambda site: False if site.kind == "execute" else None,))
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
