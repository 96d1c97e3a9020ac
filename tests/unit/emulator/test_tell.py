"""What an engine tells of itself: inspector, build log, refit, timing cache, host memory, small values."""

from __future__ import annotations

import io
import json
import operator

import numpy as np
import pytest

from .driver import PROFILE, Driver, sample
from .models import conv, quantized_conv


def told(driver, model, **settings):
    engine = driver.engine(model, profile=PROFILE, **settings)
    inspector = engine.create_engine_inspector()
    return (
        engine,
        inspector,
        json.loads(inspector.get_engine_information(driver.trt.LayerInformationFormat.JSON)),
    )


@pytest.mark.parametrize("name", ["tensorrt-8.6.1", "tensorrt-10.13"])
def test_the_old_dialect_names_bindings(name):
    _, _, value = told(Driver(name), conv())
    assert value["Bindings"] == ["x", "y"]
    layer = value["Layers"][0]
    assert layer["Name"] == "conv" and layer["LayerType"] == "Convolution"
    assert layer["Inputs"][0]["Format/Datatype"] == "Row major linear FP32"
    assert layer["Outputs"][0]["Dimensions"][1] == 7 and "direct" in layer["TacticName"]


@pytest.mark.parametrize("name", ["tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_the_new_dialect_has_io_tensors(name):
    _, _, value = told(Driver(name), conv())
    tensor = value["I/O Tensors"][0]
    assert tensor["Name"] == "x" and tensor["IOMode"] == "Input" and tensor["DataType"] == "Float"
    assert tensor["ProfileInfo"][0]["Max"] == [4, 5, 6, 6]
    assert value["Layers"][0]["Outputs"][0]["Datatype"] == "Float"


@pytest.mark.parametrize(("flag", "word"), [("FP16", "FP16"), ("BF16", "BF16")])
def test_layers_show_the_type_that_ran(flag, word):
    _, _, value = told(Driver(), conv(), flags=(flag,))
    working = [layer for layer in value["Layers"] if layer["LayerType"] != "Reformat"]
    assert len(working) == 2
    assert all(word in t["Format/Datatype"] for layer in working for t in layer["Inputs"] + layer["Outputs"])


def test_a_quantized_layer_shows_int8_on_both_sides():
    engine, _, value = told(Driver(), quantized_conv(), strong=True)
    layer = next(layer for layer in value["Layers"] if layer["Name"] == "conv")
    assert (
        "Int8" in layer["Inputs"][0]["Format/Datatype"] and "Int8" in layer["Outputs"][0]["Format/Datatype"]
    )
    assert "qy" not in {layer["Name"] for layer in value["Layers"]} and engine.num_layers == len(
        value["Layers"]
    )


def test_verbosity_limits_what_is_told():
    driver = Driver()
    config = driver.config(profile=PROFILE)
    for verbosity, want in (("LAYER_NAMES_ONLY", ["conv", "relu"]), ("NONE", [])):
        config.profiling_verbosity = getattr(driver.trt.ProfilingVerbosity, verbosity)
        plan = driver.builder.build_serialized_network(driver.network(conv()), config)
        engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
        assert engine.profiling_verbosity.name == verbosity
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(driver.trt.LayerInformationFormat.JSON)
        assert json.loads(text)["Layers"] == want


def test_single_layers_and_lines():
    driver = Driver()
    _, inspector, _ = told(driver, conv())
    formats = driver.trt.LayerInformationFormat
    assert json.loads(inspector.get_layer_information(0, formats.JSON))["Name"] == "conv"
    assert inspector.get_layer_information(1, formats.ONELINE).startswith("Name: relu, LayerType: Activation")
    assert "Bindings:\nx\ny" in inspector.get_engine_information(formats.ONELINE)
    assert inspector.get_layer_information(9, formats.JSON) == "" and driver.log.texts()


def test_the_detailed_build_log_lists_the_layers():
    driver = Driver("tensorrt_rtx-1.7")
    driver.plan(conv(), profile=PROFILE)
    text = next(text for text in driver.log.texts("VERBOSE") if text.startswith("Layers:\n"))
    assert (
        "Name: conv, LayerType: Convolution, Inputs: [ { Name: x, Dimensions: [-1,5,6,6], Datatype: Float"
        in text
    )


def test_a_network_tells_of_its_tensors_and_layers():
    driver = Driver()
    network = driver.network(conv())
    x, layer = network.get_input(0), network.get_layer(0)
    assert (x.name, x.shape, x.dtype) == ("x", (-1, 5, 6, 6), driver.trt.float32)
    assert x.is_network_input and not x.is_network_output and x.get_dimension_name(0) == "N"
    assert x.location == driver.trt.TensorLocation.DEVICE and x.is_execution_tensor and not x.is_shape_tensor
    assert layer.type == driver.trt.LayerType.CONVOLUTION and layer.metadata == "[ONNX Layer: conv]"
    assert (
        layer.num_inputs == layer.num_outputs == 1 and layer.get_input(0) == x and layer.get_input(3) is None
    )
    assert len(network) == 2 and network[1].name == "relu" and network.name.startswith("Unnamed")
    parser_named = driver.trt.OnnxParser(driver.builder.create_network(1), driver.logger)
    assert parser_named.get_layer_output_tensor("conv", 0) is None


def test_inputs_can_be_renamed_and_reshaped():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    tensor = network.get_input(0)
    tensor.name = "image"
    tensor.shape = (2, 5, 6, 6)
    network.get_layer(0).name = "first"
    plan = driver.builder.build_serialized_network(network, driver.config())
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    assert engine.get_tensor_name(0) == "image" and engine.get_tensor_shape("y") == (2, 7, 5, 6)
    got = driver.run(engine.create_execution_context(), image=x)["y"]
    want = driver.once(conv(), x=x)["y"]
    assert got.tobytes() == want.tobytes()


def test_an_engine_tells_of_its_tensors():
    driver = Driver()
    engine = driver.engine(conv(), profile=PROFILE)
    trt = driver.trt
    assert engine.num_io_tensors == 2 and engine[1] == "y" and engine.get_tensor_name(7) == ""
    assert (
        engine.get_tensor_mode("x") == trt.TensorIOMode.INPUT
        and engine.get_tensor_mode("q") == trt.TensorIOMode.NONE
    )
    assert engine.get_tensor_dtype("x") == trt.float32 and engine.get_tensor_shape("x") == (-1, 5, 6, 6)
    assert engine.get_tensor_location("x") == trt.TensorLocation.DEVICE
    assert engine.get_tensor_format(
        "x"
    ) == trt.TensorFormat.LINEAR and "FP32" in engine.get_tensor_format_desc("x")
    assert engine.get_tensor_bytes_per_component("x") == 4 and engine.get_tensor_vectorized_dim("x") == -1
    assert engine.device_memory_size_v2 > 0 and engine.streamable_weights_size == 0 and not engine.refittable
    assert engine.get_tensor_shape("q") == () and "invalid tensor name: q" in driver.log.texts()[-1]


@pytest.fixture
def refittable():
    driver = Driver()
    return driver, driver.engine(conv(), flags=("REFIT",), profile=PROFILE)


def test_refit_changes_the_weights(refittable):
    driver, engine = refittable
    refitter = driver.trt.Refitter(engine, driver.logger)
    assert sorted(refitter.get_all_weights()) == ["b", "w"] and refitter.get_missing_weights() == []
    layers, roles = refitter.get_all()
    assert layers == ["conv", "conv"] and [role.name for role in roles] == ["KERNEL", "BIAS"]
    context, x = engine.create_execution_context(), sample(2)
    before = driver.run(context, x=x)["y"]
    assert refitter.refit_cuda_engine()
    assert driver.run(context, x=x)["y"].tobytes() == before.tobytes()
    bias = np.full(7, 100, "f4")
    assert refitter.set_named_weights("b", driver.trt.Weights(bias))
    np.testing.assert_array_equal(refitter.get_named_weights("b").numpy(), bias)
    assert refitter.refit_cuda_engine()
    assert driver.run(context, x=x)["y"].min() > 50
    again = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(engine.serialize())
    assert driver.run(again.create_execution_context(), x=x)["y"].min() > 50
    assert refitter.set_weights("conv", driver.trt.WeightsRole.BIAS, np.zeros(7, "f4"))


def test_refit_refuses_wrong_weights(refittable):
    driver, engine = refittable
    refitter = driver.trt.Refitter(engine, driver.logger)
    assert not refitter.set_named_weights("nope", np.zeros(7, "f4"))
    assert not refitter.set_named_weights("b", np.zeros(8, "f4"))
    assert not refitter.set_named_weights("b", np.full(7, np.nan, "f4"))
    assert not refitter.set_weights("relu", driver.trt.WeightsRole.BIAS, np.zeros(7, "f4"))
    refitter.weights_validation = False
    assert refitter.set_named_weights("b", np.full(7, np.nan, "f4")) and refitter.unset_named_weights("b")
    assert refitter.get_named_weights("b") is None and len(driver.log.texts()) == 4
    assert refitter.get_weights_prototype("b").size == 7


def test_only_refittable_engines_are_refitted():
    driver = Driver()
    refitter = driver.trt.Refitter(driver.engine(conv(), profile=PROFILE), driver.logger)
    assert refitter.get_all_weights() == [] and not refitter.refit_cuda_engine()
    assert "not refittable" in driver.log.texts()[-1]


def test_weights_can_be_marked_one_by_one():
    driver = Driver()
    network = driver.network(conv())
    assert network.mark_weights_refittable("b") and not network.mark_weights_refittable("nope")
    assert network.are_weights_marked_refittable("b")
    plan = driver.builder.build_serialized_network(
        network, driver.config(("REFIT_INDIVIDUAL",), profile=PROFILE)
    )
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    assert driver.trt.Refitter(engine, driver.logger).get_all_weights() == ["b"]


def test_a_timing_cache_remembers_and_combines():
    driver = Driver()
    config = driver.config(profile=PROFILE)
    cache = config.create_timing_cache(b"")
    assert config.set_timing_cache(cache, False) and config.get_timing_cache() is cache
    empty = bytes(cache.serialize())
    driver.builder.build_serialized_network(driver.network(conv()), config)
    filled = bytes(cache.serialize())
    assert filled != empty and filled.startswith(b"tensorrt-10.13.3.9")
    other = driver.config().create_timing_cache(filled)
    assert bytes(other.serialize()) == filled and other.reset() and bytes(other.serialize()) == empty
    assert other.combine(cache, False) and bytes(other.serialize()) == filled
    foreign = Driver("tensorrt-10.0.1").config().create_timing_cache(b"")
    mixed = config.create_timing_cache(bytes(foreign.serialize()))
    assert not config.set_timing_cache(mixed, False) and config.set_timing_cache(mixed, True)


def test_host_memory_is_read_as_a_buffer():
    driver = Driver()
    plan = driver.plan(conv(), profile=PROFILE)
    stream = io.BytesIO()
    stream.write(plan)
    assert (
        stream.getvalue() == bytes(plan) == bytes(memoryview(plan)) == np.frombuffer(plan, np.uint8).tobytes()
    )
    assert plan.nbytes == len(bytes(plan)) and plan.dtype == driver.trt.int8
    assert not hasattr(plan, "hex") and not hasattr(driver.trt.IHostMemory, "split")
    assert "IHostMemory" in repr(plan)


def test_dims_behave_as_a_shape():
    trt = Driver().trt
    dims = trt.Dims([1, 2, 3])
    assert dims == (1, 2, 3) and dims != (1, 2) and tuple(dims) == (1, 2, 3) and len(dims) == 3
    assert dims[-1] == 3 and dims[0:2] == (1, 2) and repr(dims) == "(1, 2, 3)" and dims.MAX_DIMS == 8
    dims[0] = 9
    dims[1:3] = [7, 8]
    assert dims == trt.Dims((9, 7, 8)) and not isinstance(dims, tuple)
    with pytest.raises(ValueError, match="different sizes"):
        dims[0:2] = [1]
    size = trt.DimsHW(3, 4)
    assert (size.h, size.w) == (3, 4) and size == (3, 4)


def test_weights_hold_an_array_or_an_address():
    trt = Driver().trt
    array = np.arange(6, dtype="f4")
    weights = trt.Weights(array)
    assert weights.dtype == trt.float32 and len(weights) == weights.size == 6 and weights.nbytes == 24
    pointed = trt.Weights(trt.float32, array.ctypes.data, 6)
    np.testing.assert_array_equal(pointed.numpy(), array)
    assert trt.Weights().size == 0 and trt.Weights().numpy().size == 0


def test_helpers_of_the_bindings():
    trt, old = Driver().trt, Driver("tensorrt-8.6.1").trt
    assert trt.volume((2, 3)) == 6 and trt.volume(()) == 1
    assert trt.nptype(trt.float16) is np.float16 and trt.nptype(trt.int64) is np.int64
    for kind in (trt.bfloat16, trt.fp8):
        with pytest.raises(TypeError, match="numpy datatype"):
            trt.nptype(kind)
    assert not hasattr(old, "int64") and trt.int4.itemsize == 0.5 and trt.e8m0.itemsize is None
    assert trt.init_libnvinfer_plugins(None, "") is True and old.get_nv_onnx_parser_version() == 8601


def test_members_of_enumerations_are_no_integers():
    trt = Driver().trt
    kind = trt.DataType
    assert kind(1) == kind.HALF and int(kind.HALF) == 1 and kind.HALF != 1 and hash(kind.HALF) == 1
    assert repr(kind.FLOAT) == "<DataType.FLOAT: 0>" and kind.FLOAT != trt.LayerType.CONVOLUTION
    assert kind(99).name == "???" and str(kind.HALF) == "DataType.HALF" and kind.HALF.value == 1
    with pytest.raises(TypeError):
        1 << trt.BuilderFlag.TF32
    with pytest.raises(TypeError, match="incompatible constructor"):
        kind("HALF")
    assert trt.Logger.ERROR < trt.Logger.WARNING <= trt.Logger.WARNING and trt.Logger.INFO > trt.Logger.ERROR
    assert trt.Logger.INFO >= trt.Logger.WARNING
    with pytest.raises(TypeError, match="matching type"):
        _ = trt.Logger.ERROR < 2
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(TypeError, match="not supported between"):
            compare(kind.FLOAT, kind.HALF)


def test_tf32_is_on_by_default():
    for name in ("tensorrt-8.6.1", "tensorrt-11.4", "tensorrt_rtx-1.7"):
        driver = Driver(name)
        config = driver.builder.create_builder_config()
        assert config.flags == 1 << int(driver.trt.BuilderFlag.TF32)
        config.set_flag(driver.trt.BuilderFlag.REFIT)
        config.reset()
        assert config.flags == 1 << int(driver.trt.BuilderFlag.TF32)


def test_settings_are_kept_and_read_back():
    driver = Driver()
    config = driver.config()
    for name, value in (
        ("builder_optimization_level", 5), ("avg_timing_iterations", 4), ("max_aux_streams", 2), ("max_num_tactics", 3),
        ("l2_limit_for_tiling", 1 << 20), ("profile_stream", 8), ("DLA_core", 0),
    ):  # fmt: skip
        setattr(config, name, value)
        assert getattr(config, name) == value
    config.set_preview_feature(driver.trt.PreviewFeature.PROFILE_SHARING_0806, False)
    assert not config.get_preview_feature(driver.trt.PreviewFeature.PROFILE_SHARING_0806)
    assert config.set_tactic_sources(1) and config.get_tactic_sources() == 1
    assert config.tiling_optimization_level.name == "NONE"
    config.runtime_platform = driver.trt.RuntimePlatform.WINDOWS_AMD64
    assert config.runtime_platform.name == "SAME_AS_BUILD" and driver.log.texts()


def test_the_builder_tells_of_the_platform():
    old, new = Driver(gpu="t4").builder, Driver(gpu="a100").builder
    assert not old.platform_has_tf32 and new.platform_has_tf32 and old.platform_has_fast_int8
    assert new.num_DLA_cores == 0 and new.max_threads == 1
    new.max_threads = 4
    assert new.max_threads == 4
    new.reset()
    assert new.max_threads == 1
