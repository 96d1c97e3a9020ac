"""The emulator refuses what TensorRT refuses, and in its manner: None or False and a logged error."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .driver import PROFILE, Driver, logger_of, sample
from .models import conv, make, quantized_conv

PLAYED = [
    "tensorrt-8.6.1",
    "tensorrt-10.0.1",
    "tensorrt-10.13",
    "tensorrt-11.0",
    "tensorrt-11.4",
    "tensorrt_rtx-1.7",
]


@pytest.fixture
def driver():
    return Driver()


def refused(driver, *words):
    text = driver.log.texts()[-1] if driver.log.texts() else ""
    for word in words:
        assert word in text, driver.log.lines


@pytest.mark.parametrize(
    ("name", "flags", "strong", "implicit"),
    [
        ("tensorrt-8.6.1", 0, False, True),
        ("tensorrt-8.6.1", 1, False, False),
        ("tensorrt-10.13", 0, False, False),
        ("tensorrt-10.13", 2, True, False),
        ("tensorrt-11.4", 0, True, False),
        ("tensorrt_rtx-1.7", 0, True, False),
    ],
)
def test_creation_flags_mean_what_they_mean_in_each_version(name, flags, strong, implicit):
    driver = Driver(name)
    network = driver.builder.create_network(flags)
    assert network._is_strong == strong and network._is_implicit == implicit
    if name == "tensorrt_rtx-1.7":
        assert network.flags == 1 and network.get_flag(
            driver.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        )


@pytest.mark.parametrize(
    ("name", "flags"), [("tensorrt_rtx-1.7", 2), ("tensorrt-8.6.1", 4), ("tensorrt-11.4", 8)]
)
def test_unknown_creation_flags_give_none(name, flags):
    driver = Driver(name)
    assert driver.builder.create_network(flags) is None
    refused(driver, "createNetworkV2")


def test_the_parser_of_8_6_wants_an_explicit_batch():
    driver = Driver("tensorrt-8.6.1")
    parser = driver.trt.OnnxParser(driver.builder.create_network(0), driver.logger)
    assert not parser.parse(conv().SerializeToString())
    assert "EXPLICIT_BATCH" in parser.get_error(0).desc()


def test_garbage_is_not_a_model(driver):
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert parser.parse(b"garbage") is False and parser.num_errors == 1
    assert parser.get_error(0).code() == driver.trt.ErrorCode.MODEL_DESERIALIZE_FAILED
    assert parser.get_error(1) is None
    parser.clear_errors()
    assert parser.num_errors == 0


def test_a_missing_file_is_refused(driver, tmp_path):
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert parser.parse_from_file(str(tmp_path / "none.onnx")) is False
    assert "cannot be found" in parser.get_error(0).desc()


def test_a_model_with_external_weights_needs_its_path(driver, tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save_model(conv(32, 32), path, save_as_external_data=True, size_threshold=0, location="weights.bin")
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert parser.parse(path.read_bytes()) is False
    assert parser.parse(path.read_bytes(), str(path))
    other = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert other.parse_from_file(str(path))


def test_an_unknown_operator_is_named(driver):
    model = make([helper.make_node("Det", ["x"], ["y"], name="d")], {"x": [2, 2]}, {"y": []})
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert not parser.parse(model.SerializeToString())
    error = parser.get_error(0)
    assert error.code() == driver.trt.ErrorCode.UNSUPPORTED_NODE and error.node() == 0
    assert error.node_name() == "d" and error.node_operator() == "Det" and "UNSUPPORTED_NODE" in str(error)
    assert not parser.supports_operator("Det") and parser.supports_operator("Conv")


def test_supports_model_tells_of_the_parts(driver):
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Det", ["a"], ["y"])]
    data = make(nodes, {"x": [2, 2]}, {"y": []}).SerializeToString()
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert parser.supports_model_v2(data) is False and parser.num_subgraphs == 2
    assert parser.get_subgraph_nodes(0) == [0] and parser.is_subgraph_supported(0)
    assert not parser.is_subgraph_supported(1) and parser.get_subgraph_nodes(9) == []
    assert parser.supports_model(data) == (False, [([0], True), ([1], False)])


def test_double_inputs_are_refused(driver):
    model = make([helper.make_node("Relu", ["x"], ["y"])], {"x": [2]}, {"y": [2]}, elem=TensorProto.DOUBLE)
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert not parser.parse(model.SerializeToString())
    assert "Unsupported data type" in parser.get_error(0).desc()


def test_an_invalid_graph_is_refused(driver):
    model = make([helper.make_node("Conv", ["x", "nowhere"], ["y"])], {"x": [1, 2, 3, 3]}, {"y": None})
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert not parser.parse(model.SerializeToString())
    assert parser.get_error(0).code() == driver.trt.ErrorCode.INVALID_GRAPH


def test_a_network_is_parsed_once(driver):
    network = driver.network(conv())
    parser = driver.trt.OnnxParser(network, driver.logger)
    assert not parser.parse(conv().SerializeToString())
    refused(driver, "non-empty network")


@pytest.mark.parametrize("name", PLAYED)
def test_a_network_without_output_is_not_built(name):
    driver = Driver(name)
    network = driver.network(conv())
    network.unmark_output(network.get_output(0))
    config = driver.config(profile=PROFILE)
    assert driver.builder.build_serialized_network(network, config) is None
    refused(driver, "at least one output")
    assert driver.builder.is_network_supported(network, config) is False


@pytest.mark.parametrize("name", PLAYED)
def test_a_dynamic_input_needs_a_profile(name):
    driver = Driver(name)
    assert driver.plan(conv()) is None
    refused(driver, "no optimization profile has been defined")


def test_a_profile_must_fit_the_inputs(driver):
    for shapes, word in (
        (((1, 5, 6, 7),) * 3, "profile 0 has shape"),
        (((1, 5, 6),) * 3, "profile 0 has shape"),
    ):
        assert driver.plan(conv(), profile={"x": shapes}) is None
        refused(driver, word)
    assert driver.plan(conv(), profile={"z": ((1,),) * 3}) is None
    refused(driver, "no network input")


def test_a_profile_out_of_order_is_not_added(driver):
    profile = driver.builder.create_optimization_profile()
    assert profile.get_shape("x") == []
    profile.set_shape("x", (4, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6))
    assert not profile
    assert driver.builder.create_builder_config().add_optimization_profile(profile) == -1
    refused(driver, "profile->isValid()")
    assert profile.get_shape("x") == [(4, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6)]


@pytest.mark.parametrize("flag", ["FP16", "BF16", "INT8"])
def test_precision_flags_are_forbidden_under_strong_typing(driver, flag):
    assert driver.plan(conv(), strong=True, flags=(flag,), profile=PROFILE) is None
    refused(driver, flag, "strongly typed")


def test_quantized_graphs_need_the_int8_flag_under_weak_typing(driver):
    assert driver.plan(quantized_conv(), profile=PROFILE) is None
    refused(driver, "Int8 precision has not been enabled")
    assert driver.plan(quantized_conv(), flags=("INT8",), profile=PROFILE) is not None


def test_bf16_needs_ampere():
    driver = Driver(gpu="t4")
    assert driver.plan(conv(), flags=("BF16",), profile=PROFILE) is None
    refused(driver, "BF16 is not supported")


def test_int8_without_scales_is_refused(driver):
    assert driver.plan(conv(), flags=("INT8",), profile=PROFILE) is None
    refused(driver, "no scaling factors")


def test_a_workspace_too_small_is_refused(driver):
    config = driver.config(profile=PROFILE)
    config.set_memory_pool_limit(driver.trt.MemoryPoolType.WORKSPACE, 1)
    assert config.get_memory_pool_limit(driver.trt.MemoryPoolType.WORKSPACE) == 1
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is None
    refused(driver, "workspace limit")


def test_safety_and_plugins_are_refused(driver):
    config = driver.config(profile=PROFILE)
    config.engine_capability = driver.trt.EngineCapability.SAFETY
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is None
    config = driver.config(profile=PROFILE)
    config.plugins_to_serialize = ["/nowhere/libplugin.so"]
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is None
    refused(driver, "libplugin.so")


def test_the_lean_runtime_flags_hang_together(driver):
    config = driver.config()
    config.set_flag(driver.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    assert not config.get_flag(driver.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    refused(driver, "kVERSION_COMPATIBLE")
    config.set_flag(driver.trt.BuilderFlag.VERSION_COMPATIBLE)
    config.set_flag(driver.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    assert config.get_flag(driver.trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)


def test_rtx_only_logs_what_it_does_not_support():
    driver = Driver("tensorrt_rtx-1.7")
    config = driver.config(profile=PROFILE)
    config.hardware_compatibility_level = driver.trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert "unsupported in TensorRT-RTX" in driver.log.texts("WARNING")[-1]
    _ = config.hardware_compatibility_level
    assert driver.log.texts("INTERNAL_ERROR")
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is not None
    config.set_flag(driver.trt.BuilderFlag.VERSION_COMPATIBLE)
    assert driver.builder.build_serialized_network(driver.network(conv()), config) is None
    assert not config.set_compute_capability(driver.trt.ComputeCapability.NONE, 0)
    assert not config.set_compute_capability(driver.trt.ComputeCapability.SM75, 7)
    with pytest.warns(DeprecationWarning, match="Timing caches"):
        config.create_timing_cache(b"")


def test_setters_that_strong_typing_forbids_only_log(driver):
    network = driver.network(conv(), strong=True)
    network.get_input(0).dtype = driver.trt.float16
    refused(driver, "setType is not allowed")
    network.get_layer(0).precision = driver.trt.float16
    refused(driver, "setPrecision is not allowed")
    network.get_layer(0).set_output_type(0, driver.trt.float16)
    refused(driver, "setOutputType is not allowed")
    assert network.get_input(0).dtype == driver.trt.float32


def test_indices_out_of_range_give_none(driver):
    network = driver.network(conv())
    assert network.get_input(5) is None and network.get_output(5) is None and network.get_layer(-1) is None
    assert len(driver.log.texts()) == 3
    with pytest.raises(IndexError):
        _ = network[9]


def test_an_input_cannot_be_an_output(driver):
    network = driver.network(conv())
    network.mark_output(network.get_input(0))
    assert network.num_outputs == 1
    refused(driver, "network-level input")


# Plans.


def load(driver, data):
    return driver.trt.Runtime(driver.logger).deserialize_cuda_engine(data)


def test_a_plan_of_another_version_is_refused():
    old, new = Driver("tensorrt-10.0.1"), Driver("tensorrt-10.13")
    assert load(new, old.plan(conv(), profile=PROFILE)) is None
    refused(new, "expecting library version 10.13.3.9 got 10.0.1")


def test_a_version_compatible_plan_needs_host_code_allowed():
    old, new = Driver("tensorrt-10.0.1"), Driver("tensorrt-11.4")
    plan = old.plan(conv(), flags=("VERSION_COMPATIBLE",), profile=PROFILE)
    runtime = new.trt.Runtime(new.logger)
    assert runtime.deserialize_cuda_engine(plan) is None
    refused(new, "engine_host_code_allowed")
    runtime.engine_host_code_allowed = True
    assert runtime.deserialize_cuda_engine(plan) is not None
    eight = Driver("tensorrt-8.6.1")
    plan = eight.plan(conv(), flags=("VERSION_COMPATIBLE",), profile=PROFILE)
    assert runtime.deserialize_cuda_engine(plan) is None


def test_a_plan_of_another_gpu_is_refused():
    here, there = Driver(gpu="t4"), Driver(gpu="a100")
    assert load(here, there.plan(conv(), profile=PROFILE)) is None
    refused(here, "incompatible device, expecting compute 7.5 got compute 8.0")


def test_an_ampere_plus_plan_runs_on_newer_gpus():
    builder = Driver(gpu="a100")
    config = builder.config(profile=PROFILE)
    config.hardware_compatibility_level = builder.trt.HardwareCompatibilityLevel.AMPERE_PLUS
    plan = builder.builder.build_serialized_network(builder.network(conv()), config)
    engine = load(Driver(gpu="l4"), plan)
    assert engine.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert load(Driver(gpu="t4"), plan) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "short"])
def test_a_damaged_plan_is_refused_in_words(driver, damage):
    data = bytearray(bytes(driver.plan(conv(), profile=PROFILE)))
    if damage == "cut":
        data = data[:-10]
    elif damage == "flipped":
        data[-5] ^= 1
    elif damage == "foreign":
        data = bytearray(b"not a plan at all" * 20)
    else:
        data = data[:10]
    assert load(driver, bytes(data)) is None
    refused(driver, "Serialization assertion failed")


def test_rtx_tells_the_validity_of_a_plan():
    driver = Driver("tensorrt_rtx-1.7", gpu="a10")
    trt, runtime = driver.trt, driver.trt.Runtime(driver.logger)
    valid, diagnostics = trt.EngineValidity, trt.EngineInvalidityDiagnostics
    plan = bytes(driver.plan(conv(), profile=PROFILE))
    assert runtime.engine_header_size == 64
    assert runtime.get_engine_validity(plan) == (valid.VALID, 0)
    assert runtime.get_engine_validity(plan[:-1]) == (valid.INVALID, 0)
    assert runtime.get_engine_validity(b"x") == (valid.INVALID, int(diagnostics.MALFORMED_ENGINE))
    other = Driver("tensorrt_rtx-1.7", gpu="l4")
    answer = other.trt.Runtime(other.logger).get_engine_validity(plan)
    assert answer[1] == int(diagnostics.UNSUPPORTED_CC)


# Contexts.


@pytest.fixture
def context(driver):
    return driver.engine(conv(), profile=PROFILE).create_execution_context()


def test_shapes_outside_the_profile_are_refused(driver, context):
    assert context.set_input_shape("x", (5, 5, 6, 6)) is False
    refused(driver, "does not satisfy any optimization profiles")
    assert context.set_input_shape("x", (2, 5, 7, 6)) is False
    refused(driver, "Static dimension mismatch")
    assert context.set_input_shape("nope", (1,)) is False
    assert context.infer_shapes() == ["x"] and not context.all_binding_shapes_specified
    assert context.get_tensor_shape("y") == (-1, 7, 5, 6)
    assert context.set_input_shape("x", [3, 5, 6, 6])
    assert context.infer_shapes() == [] and context.get_tensor_shape("y") == (3, 7, 5, 6)
    assert context.get_tensor_strides("y") == (210, 30, 6, 1)
    assert context.get_max_output_size("y") == 3 * 210 * 4


def test_enqueue_wants_shapes_addresses_and_a_stream(driver, context):
    streams = driver.trt.emulated_streams
    stream = streams.create_stream()
    assert context.execute_async_v3(stream) is False
    refused(driver, "shapes are not specified: x")
    x, y = sample(2), np.zeros((2, 7, 5, 6), "f4")
    context.set_input_shape("x", x.shape)
    assert context.execute_async_v3(stream) is False
    refused(driver, "Neither address or allocator is set for input tensor x")
    context.set_tensor_address("x", x.ctypes.data)
    assert context.execute_async_v3(stream) is False
    refused(driver, "output tensor y")
    assert context.set_tensor_address("nope", 8) is False
    context.set_tensor_address("y", y.ctypes.data)
    assert context.get_tensor_address("y") == y.ctypes.data
    assert context.execute_async_v3(12345) is False
    refused(driver, "not a stream")
    assert context.execute_async_v3(stream)
    streams.synchronize(stream)
    assert y.any()


def test_the_default_stream_works_with_a_warning(driver, context):
    x, y = sample(1), np.zeros((1, 7, 5, 6), "f4")
    context.set_input_shape("x", x.shape)
    context.set_tensor_address("x", x.ctypes.data)
    context.set_tensor_address("y", y.ctypes.data)
    assert context.execute_async_v3(0)
    assert "default stream" in driver.log.texts("WARNING")[-1]
    driver.trt.emulated_streams.synchronize(0)
    assert y.any()


def two_profiles(driver):
    config = driver.config()
    for low, high in ((1, 2), (3, 4)):
        profile = driver.builder.create_optimization_profile()
        profile.set_shape("x", (low, 5, 6, 6), (low, 5, 6, 6), (high, 5, 6, 6))
        config.add_optimization_profile(profile)
    plan = driver.builder.build_serialized_network(driver.network(conv()), config)
    return driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)


def test_profiles_are_chosen_by_the_context(driver):
    engine = two_profiles(driver)
    assert engine.num_optimization_profiles == 2
    assert engine.get_tensor_profile_shape("x", 1)[2] == (4, 5, 6, 6)
    assert engine.get_tensor_profile_shape("x", 2) == []
    context = engine.create_execution_context()
    stream = driver.trt.emulated_streams.create_stream()
    assert context.active_optimization_profile == 0 and not context.set_input_shape("x", (4, 5, 6, 6))
    assert context.set_optimization_profile_async(1, stream) and context.set_input_shape("x", (4, 5, 6, 6))
    assert not context.set_optimization_profile_async(2, stream)
    refused(driver, "Invalid profile index")


def test_8_6_gives_a_profile_to_one_context_at_a_time():
    driver = Driver("tensorrt-8.6.1")
    engine = two_profiles(driver)
    first, second = engine.create_execution_context(), engine.create_execution_context()
    stream = driver.trt.emulated_streams.create_stream()
    assert first.active_optimization_profile == 0 and second.active_optimization_profile == -1
    assert not second.set_input_shape("x", (1, 5, 6, 6))
    assert not second.set_optimization_profile_async(0, stream)
    refused(driver, "chosen for another IExecutionContext")
    assert second.set_optimization_profile_async(1, stream)
    second.active_optimization_profile = 1  # writable in 8.6 only: trap 6
    del first
    assert engine.create_execution_context().active_optimization_profile == 0


def test_user_managed_memory_must_be_given():
    driver = Driver("tensorrt-10.13")
    engine = driver.engine(conv(), profile=PROFILE)
    strategy = driver.trt.ExecutionContextAllocationStrategy.USER_MANAGED
    config = engine.create_runtime_config()
    config.set_execution_context_allocation_strategy(strategy)
    x, y = sample(2), np.zeros((2, 7, 5, 6), "f4")
    for context in (engine.create_execution_context(strategy), engine.create_execution_context(config)):
        context.set_input_shape("x", x.shape)
        context.set_tensor_address("x", x.ctypes.data)
        context.set_tensor_address("y", y.ctypes.data)
        stream = driver.trt.emulated_streams.create_stream()
        assert not context.execute_async_v3(stream)
        refused(driver, "no device memory")
        context.set_device_memory(4096, 1)
        refused(driver, "too few")
        context.set_device_memory(4096, engine.device_memory_size_v2)
        assert context.execute_async_v3(stream)


def test_wrong_arguments_are_type_errors(driver, context):
    trt = driver.trt
    config = driver.config()
    for call in (
        lambda: trt.Builder(),
        lambda: trt.Builder(None),
        lambda: config.set_flag(3),
        lambda: driver.builder.create_network("x"),
        lambda: driver.builder.build_serialized_network(driver.network(conv())),
        lambda: context.set_input_shape("x", 5),
        lambda: context.set_input_shape(name="x", size=(1,)),
        lambda: trt.Runtime(driver.logger).deserialize_cuda_engine("plan"),
        lambda: setattr(config, "flags", "x"),
    ):
        with pytest.raises(TypeError, match="incompatible"):
            call()
    assert context.set_input_shape(name="x", shape=trt.Dims([1, 5, 6, 6]))


def test_a_logger_must_call_the_base_constructor(driver):
    class Forgetful(driver.trt.ILogger):
        def __init__(self):
            self.lines = []

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        Forgetful()
    with pytest.raises(TypeError):
        driver.trt.Builder(object())
    assert driver.trt.Builder(logger_of(driver.trt)[0]) is not None


def _quantized(zero, weights=None):
    constants = {"s": np.float32(0.1), "z": zero}
    first = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])
    if weights is not None:
        constants["w"] = weights
    nodes = [first, helper.make_node("DequantizeLinear", ["q" if weights is None else "w", "s", "z"], ["y"])]
    return make(nodes, {"x": [4]}, {"y": [4]}, constants)


def _errors(driver, model):
    parser = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    return None if parser.parse(model.SerializeToString()) else parser.get_error(0)


@pytest.mark.parametrize("zero", [np.uint8(128), np.int8(3)])
def test_asymmetric_quantization_is_refused_as_tensorrt_does(driver, zero):
    error = _errors(driver, _quantized(zero))
    assert error.code() == driver.trt.ErrorCode.INVALID_NODE and error.node_operator() == "QuantizeLinear"
    assert "Non-zero zero point is not supported" in error.desc()
    constant = _quantized(zero)
    for tensor in list(constant.graph.initializer):
        if tensor.name == "z":
            constant.graph.initializer.remove(tensor)
            constant.graph.node.insert(0, helper.make_node("Constant", [], ["z"], value=tensor))
    assert "Non-zero zero point" in _errors(driver, constant).desc()


def test_unsigned_weights_are_refused(driver):
    error = _errors(driver, _quantized(np.uint8(0), np.arange(4, dtype=np.uint8)))
    assert error.code() == driver.trt.ErrorCode.UNSUPPORTED_NODE and "UINT8" in error.desc()


@pytest.mark.parametrize("zero", [np.uint8(0), np.int8(0)])
def test_symmetric_quantization_is_taken(driver, zero):
    assert _errors(driver, _quantized(zero)) is None


def test_sparse_initializers_are_not_registered(driver):
    model = make([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [2, 4]}, {"y": [2, 3]})
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([5]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 3]))
    error = _errors(driver, model)
    assert error.code() == driver.trt.ErrorCode.INVALID_GRAPH
    assert "Node input was not registered" in error.desc()
