"""Types of single layers in the emulated builder: what they compute, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.emulator import dtypes

from .driver import Driver, sample
from .models import conv, make


def engine(driver, model, flags, precisions=(), outputs=(), profile=None):
    """Return the engine of a weakly typed network with types set on its layers and tensors, or None."""
    network = driver.network(model)
    layers = {layer.name: layer for layer in network}
    for name, kind in dict(precisions).items():
        layers[name].precision = getattr(driver.trt.DataType, kind)
    for name, kind in dict(outputs).items():
        layers[name].set_output_type(0, getattr(driver.trt.DataType, kind))
    config = driver.config(flags, profile=profile)
    return driver.builder.build_serialized_network(network, config)


def chain(opset=17):
    """x times w, plus b, times v: three layers on (2, 8)."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.standard_normal((8, 8)).astype("f4"),
        "b": rng.standard_normal(8).astype("f4"),
        "v": rng.standard_normal((8, 8)).astype("f4"),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="first"),
        helper.make_node("Add", ["p", "b"], ["q"], name="add"),
        helper.make_node("MatMul", ["q", "v"], ["y"], name="last"),
    ]
    return make(nodes, {"x": [2, 8]}, {"y": [2, 8]}, constants, opset=opset)


X = np.random.default_rng(1).standard_normal((2, 8)).astype(np.float32)
OBEY = "OBEY_PRECISION_CONSTRAINTS"


def low(values, kind="fp16"):
    return dtypes.round_to(values.astype(np.float32), dtypes.elem_of_short(kind))


def arrays(model):
    return {
        tensor.name: np.frombuffer(tensor.raw_data, "f4").reshape(tensor.dims)
        for tensor in model.graph.initializer
    }


def answer(driver, plan):
    assert plan is not None, driver.log.texts()
    runtime = driver.trt.Runtime(driver.logger)
    return driver.run(runtime.deserialize_cuda_engine(plan).create_execution_context(), x=X)["y"]


def expected(first, add, last, keep_p=False):
    """Return the answer when each layer works in its type, `fp32` or a 16-bit one, and stores in it."""
    found = arrays(chain())

    def read(values, kind):
        return values if kind == "fp32" else low(values, kind)

    p = read(X, first).astype("f8") @ read(found["w"], first).astype("f8")
    p = p.astype("f4") if keep_p else read(p.astype("f4"), first)
    q = read(read(p, add) + read(found["b"], add), add)
    y = read(q, last).astype("f8") @ read(found["v"], last).astype("f8")
    return read(y.astype("f4"), last)


@pytest.mark.parametrize("strictness", ["OBEY", "PREFER"])
@pytest.mark.parametrize(
    "types",
    [
        ("fp32", "fp16", "fp16"),
        ("fp16", "fp32", "fp16"),
        ("fp16", "fp16", "fp32"),
        ("fp32", "fp32", "fp32"),
        ("bf16", "fp16", "fp32"),
        ("fp16", "bf16", "bf16"),
    ],
)
def test_each_layer_works_in_its_own_type(types, strictness):
    driver = Driver()
    members = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}
    precisions = dict(zip(("first", "add", "last"), (members[kind] for kind in types), strict=True))
    flags = ["FP16", "BF16", f"{strictness}_PRECISION_CONSTRAINTS"]
    got = answer(driver, engine(driver, chain(), flags, precisions))
    np.testing.assert_allclose(got, expected(*types), rtol=3e-6, atol=1e-6)
    if types[0] != types[1]:
        assert not np.allclose(got, expected("fp16", "fp16", "fp16"), rtol=3e-6, atol=1e-6)


def test_without_a_constraint_flag_types_are_no_more_than_a_wish():
    driver = Driver()
    got = answer(driver, engine(driver, chain(), ["FP16"], {"first": "FLOAT"}))
    np.testing.assert_array_equal(got, expected("fp16", "fp16", "fp16"))


def test_an_output_type_says_how_a_tensor_is_stored():
    driver = Driver()
    plan = engine(driver, chain(), ["FP16", OBEY], {"add": "FLOAT"}, {"first": "FLOAT"})
    np.testing.assert_allclose(
        answer(driver, plan), expected("fp16", "fp32", "fp16", keep_p=True), rtol=3e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "word"), [("HALF", "fp16 precision"), ("BF16", "bf16 precision"), ("INT8", "Int8 precision")]
)
@pytest.mark.parametrize("where", ["precisions", "outputs"])
def test_a_type_whose_flag_is_not_set_is_refused(kind, word, where):
    driver = Driver()
    assert engine(driver, chain(), [OBEY], **{where: {"first": kind}}) is None
    assert any(word in text and "is not configured in the builder" in text for text in driver.log.texts())


def test_a_layer_kept_in_float_is_not_quantised():
    """Implicit INT8: its neighbours are."""
    driver = Driver()
    network = driver.network(chain())
    network.get_input(0).set_dynamic_range(-3, 3)
    for layer in network:
        layer.get_output(0).set_dynamic_range(-20, 20)
    network.get_layer(0).precision = driver.trt.DataType.FLOAT
    plan = driver.builder.build_serialized_network(network, driver.config(["INT8", OBEY]))
    runtime = driver.trt.Runtime(driver.logger)
    inspector = runtime.deserialize_cuda_engine(plan).create_engine_inspector()
    text = inspector.get_engine_information(driver.trt.LayerInformationFormat.JSON)
    assert '"emulated_direct_fp32"' in text and '"emulated_direct_int8"' in text
    got, found = answer(driver, plan), arrays(chain())
    q = X @ found["w"] + found["b"]
    levels = np.clip(np.rint(q / np.float32(20 / 127)), -128, 127) * np.float32(20 / 127)
    scale = np.abs(found["v"]).max(axis=0) / np.float32(127)
    want = levels @ (np.rint(found["v"] / scale) * scale)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_int8_alone_is_no_permission_for_fp16():
    driver = Driver()
    network = driver.network(chain())
    network.get_input(0).set_dynamic_range(-3, 3)
    plan = driver.builder.build_serialized_network(network, driver.config(["INT8"]))
    inspector = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan).create_engine_inspector()
    text = inspector.get_engine_information(driver.trt.LayerInformationFormat.JSON)
    assert "FP16" not in text and '"emulated_direct_int8"' in text


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_bf16_of_a_model_below_operator_set_13(opset):
    driver = Driver()
    got = answer(driver, engine(driver, chain(opset), ["BF16"]))
    np.testing.assert_allclose(got, expected("bf16", "bf16", "bf16"), rtol=1e-6)


def test_names_and_shapes_survive_the_lift():
    driver = Driver()
    profile = {"x": ((1, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6))}
    model = conv()
    model.opset_import[0].version = 11
    plan = engine(driver, model, ["BF16"], profile=profile)
    context = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan).create_execution_context()
    got = driver.run(context, x=sample())["y"]
    assert got.shape == (2, 7, 5, 6)
    np.testing.assert_array_equal(got, low(got, "bf16"))
