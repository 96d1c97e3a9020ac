"""A model goes from bytes to outputs through the raw API of each version."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from pytest_trt import emulator

from .driver import PROFILE, Driver, sample
from .models import conv, make

VERSIONS = [f"{product}-{version}" for product, version in emulator.known()]


def reference(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", VERSIONS)
def test_fp32_runs_on_every_version(name):
    driver, model, x = Driver(name), conv(), sample(3)
    engine = driver.engine(model, profile=PROFILE)
    got = driver.run(engine.create_execution_context(), x=x)["y"]
    np.testing.assert_allclose(got, reference(model, x), rtol=1e-5, atol=1e-5)
    assert not driver.log.texts("ERROR") and not driver.log.texts("WARNING")


@pytest.mark.parametrize("name", VERSIONS)
def test_plans_repeat_byte_for_byte(name):
    driver = Driver(name)
    assert bytes(driver.plan(conv(), profile=PROFILE)) == bytes(driver.plan(conv(), profile=PROFILE))


def test_a_batch_equals_its_rows_bit_for_bit():
    driver, x = Driver(), sample(4)
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    whole = driver.run(context, x=x)["y"]
    for row in range(4):
        assert driver.run(context, x=x[row : row + 1])["y"].tobytes() == whole[row : row + 1].tobytes()


def test_execute_v2_gives_what_execute_async_v3_gives():
    driver, x = Driver(), sample(2)
    context = driver.engine(conv(), profile=PROFILE).create_execution_context()
    want = driver.run(context, x=x)["y"]
    got = np.zeros_like(want)
    assert context.execute_v2([x.ctypes.data, got.ctypes.data])
    assert got.tobytes() == want.tobytes()
    assert not context.execute_v2([x.ctypes.data])
    assert "bindings" in driver.log.texts()[-1]


def test_a_serialized_engine_loads_again():
    driver, x = Driver(), sample(2)
    engine = driver.engine(conv(), profile=PROFILE)
    again = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(engine.serialize())
    want = driver.run(engine.create_execution_context(), x=x)["y"]
    assert driver.run(again.create_execution_context(), x=x)["y"].tobytes() == want.tobytes()


def test_a_marked_output_comes_out_too():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    network.mark_output(network.get_layer(0).get_output(0))
    plan = driver.builder.build_serialized_network(network, driver.config(profile=PROFILE))
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    got = driver.run(engine.create_execution_context(), x=x)
    assert set(got) == {"c", "y"}
    np.testing.assert_array_equal(np.maximum(got["c"], 0), got["y"])


def test_a_real_rtx_name_set_needs_a_capability_for_the_gpu():
    driver = Driver("tensorrt_rtx-1.7", gpu="t4")
    config = driver.builder.create_builder_config()
    profile = driver.builder.create_optimization_profile()
    profile.set_shape("x", *PROFILE["x"])
    config.add_optimization_profile(profile)
    plan = driver.builder.build_serialized_network(driver.network(conv()), config)
    assert plan is not None  # the portable set: Ampere and newer
    assert driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan) is None
    assert "incompatible device" in driver.log.texts()[-1]
    with_sm75 = driver.plan(conv(), profile=PROFILE)
    assert driver.trt.Runtime(driver.logger).deserialize_cuda_engine(with_sm75) is not None


def test_rtx_has_no_kernels_for_hopper():
    driver = Driver("tensorrt_rtx-1.7", gpu="h100")
    assert driver.plan(conv(), profile=PROFILE) is None
    assert "90 is not supported by TensorRT-RTX" in driver.log.texts()[-1]


def test_a_shape_that_follows_the_values_of_an_input_is_not_promised():
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    model = make([node], {"x": [2, 8]}, {"y": ["a", "b"]})
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.INT64, [2]))
    driver = Driver()
    engine = driver.engine(model)
    context = engine.create_execution_context()
    assert context.infer_shapes() == [] and tuple(context.get_tensor_shape("y")) == (-1, -1)
