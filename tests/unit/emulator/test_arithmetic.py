"""What each precision computes, against numpy written for the test."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.emulator import dtypes, graph
from pytest_trt.emulator.integer import parts_of
from pytest_trt.emulator.lowering import Policy
from pytest_trt.emulator.program import Program, cpu_session

from .driver import PROFILE, Driver, sample
from .models import conv, make, quantized_conv


def program(model, **policy):
    parsed = graph.load(model)
    return Program(parsed, Policy(**policy), parsed.outputs)


def awkward() -> np.ndarray:
    """Float32 values: random bits, ties of both 16-bit types, the edge of overflow, subnormals, infinities."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 50_000, dtype=np.uint32)
    ties = np.concatenate([(bits[:5000] & 0xFFFF0000) | 0x8000, (bits[:5000] & 0xFFFFE000) | 0x1000])
    edges = np.array(
        [65504, 65519.99, 65520, -65520, 2.0**-24, 2.0**-25, 1.5 * 2.0**-24, np.inf, -np.inf, -0.0], "f4"
    )
    values = np.concatenate([bits.view("f4"), ties.astype(np.uint32).view("f4"), edges])
    return values[~np.isnan(values)]


@pytest.mark.parametrize(("short", "elem"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)])
def test_onnx_runtime_rounds_as_numpy_does(short, elem):
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=elem),
        helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT),
    ]
    session = cpu_session(make(nodes, {"x": [None]}, {"y": [None]}))
    x = awkward()
    assert session.run(None, {"x": x})[0].tobytes() == dtypes.round_to(x, elem).tobytes()


def test_bfloat16_is_the_upper_half_rounded_to_even():
    x = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, np.inf, np.nan, 3.4e38], "f4")
    want = np.array([1.0, 1.0, 1 + 2**-6, 1 + 2**-7, np.inf, np.nan, np.inf], "f4")
    np.testing.assert_array_equal(dtypes.from_bf16_bits(dtypes.bf16_bits(x)), want)


def test_tf32_keeps_ten_bits_and_breaks_ties_to_even():
    x = np.array(
        [1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-23, -np.inf, np.nan, 1.6 * 2.0**-136], "f4"
    )
    want = np.array([1.0, 1.0, 1 + 2**-9, 1 + 2**-10, -np.inf, np.nan, 2.0**-135], "f4")
    np.testing.assert_array_equal(dtypes.round_tf32(x), want)


def test_tf32_rounds_both_operands_of_a_convolution():
    x, model = sample(2), conv()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    rounded = conv()
    for tensor in rounded.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(onnx.numpy_helper.from_array(dtypes.round_tf32(weights["w"]), "w"))
    want = program(rounded).run({"x": dtypes.round_tf32(x)})["y"]
    assert program(conv(), tf32=True).run({"x": x})["y"].tobytes() == want.tobytes()


@pytest.mark.parametrize(("gpu", "differs"), [("a100", True), ("t4", False)])
def test_the_tf32_flag_counts_from_ampere_on(gpu, differs):
    x = sample(2)
    driver = Driver(gpu=gpu)
    on = driver.run(driver.engine(conv(), clear=(), profile=PROFILE).create_execution_context(), x=x)["y"]
    off = driver.run(driver.engine(conv(), profile=PROFILE).create_execution_context(), x=x)["y"]
    assert (on.tobytes() != off.tobytes()) == differs


def test_fp16_computes_in_float32_and_rounds_once_a_node():
    model = conv(bias=True)
    x = sample(2)
    step = program(model, weak="fp16").run({"x": x})["y"]
    halves = {
        t.name: onnx.numpy_helper.to_array(t).astype("f2").astype("f4") for t in model.graph.initializer
    }
    plain = conv()
    for tensor in plain.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(halves[tensor.name], tensor.name))
    want = program(plain).run({"x": x.astype("f2").astype("f4")})["y"]
    np.testing.assert_array_equal(step, want.astype("f2").astype("f4"))


def test_fp16_overflows_to_infinity():
    model = make(
        [helper.make_node("Mul", ["x", "k"], ["y"])], {"x": [2]}, {"y": [2]}, {"k": np.float32(60000)}
    )
    np.testing.assert_array_equal(
        program(model, weak="fp16").run({"x": np.array([2.0, 1.0], "f4")})["y"],
        np.array([np.inf, 60000.0], "f4"),
    )


def typed_half() -> onnx.ModelProto:
    """A model whose own input and output are float16."""
    return make(
        [helper.make_node("Add", ["x", "k"], ["y"])], {"x": [3]}, {"y": [3]},
        {"k": np.array([2.0**-11], "f2")}, elem=TensorProto.FLOAT16,
    )  # fmt: skip


def test_a_half_input_and_output_are_laid_out_as_half():
    driver = Driver()
    got = driver.once(typed_half(), strong=True, x=np.array([1.0, 1 + 2**-10, 2.0], "f2"))["y"]
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, np.array([1.0, 1 + 2**-9, 2.0], "f2"))


def test_an_input_may_be_set_to_half_under_weak_typing():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    network.get_input(0).dtype = driver.trt.float16
    network.get_output(0).dtype = driver.trt.float16
    config = driver.config(flags=("FP16",), profile=PROFILE)
    plan = driver.builder.build_serialized_network(network, config)
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    assert engine.get_tensor_dtype("x") == driver.trt.float16
    half = driver.run(engine.create_execution_context(), x=x.astype("f2"))["y"]
    full = driver.engine(conv(), flags=("FP16",), profile=PROFILE)
    want = driver.run(full.create_execution_context(), x=x)["y"]
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half.astype("f4"), want)


def int8_reference(model, x):
    """The quantized convolution in numpy: integers, then scales in float64."""
    c = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    xq = np.clip(np.rint(x / c["sx"]), -128, 127).astype(np.int64)
    w = c["w"].astype(np.int64)
    pad = w.shape[2] // 2
    padded = np.pad(xq, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    view = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    acc = np.einsum("nchwij,mcij->nmhw", view, w)
    spread = (1, -1, 1, 1)
    value = acc * (np.float64(c["sx"]) * c["sw"].astype("f8")).reshape(spread) + c["b"].reshape(spread)
    return np.maximum(value, 0) / np.float64(c["sy"]), c["sy"]


def judge_int8(got, value, scale):
    steps = got.astype("f8") / np.float64(scale)
    error = 8 * 2.0**-24 * (np.abs(value) + 128)
    low, high = (np.clip(np.rint(value + sign * error), -128, 127) for sign in (-1, 1))
    assert np.all((np.rint(steps) >= low) & (np.rint(steps) <= high))
    assert np.abs(steps - np.rint(steps)).max() < 1e-3


def test_int8_convolution_accumulates_integers():
    model, x = quantized_conv(), sample(2)
    judge_int8(Driver().once(model, strong=True, x=x)["y"], *int8_reference(model, x))


def test_int8_sums_beyond_the_float32_mantissa_stay_exact():
    weights = np.full((2, 128, 5, 5), 127, np.int8)
    weights[1, ::2] = -127
    weights[1, 0] += 1
    model = quantized_conv(5, weights=weights)
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.float32(40.0), "sy"))
    x = np.full((1, 128, 6, 6), 3.81, "f4")
    x[0, 5, 2, 2] = 1.05
    assert len(parts_of(weights, False, 1, 128.0)) > 1
    judge_int8(Driver().once(model, strong=True, x=x)["y"], *int8_reference(model, x))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_parts_add_up_and_each_is_exact(transposed, groups):
    rng = np.random.default_rng(1)
    weights = rng.integers(-127, 128, (600, 4, 3, 3))
    if not transposed:
        weights = weights.transpose(1, 0, 2, 3)
    parts = parts_of(weights, transposed, groups, 128.0)
    assert len(parts) > 1
    np.testing.assert_array_equal(sum(parts), weights)
    for part in parts:
        size = np.abs(part) * 128.0
        sums = (
            size.reshape(groups, weights.shape[0] // groups, *weights.shape[1:]).sum(axis=(1, 3, 4))
            if transposed
            else size.sum(axis=(1, 2, 3))
        )
        assert sums.max() <= 2**24


def quantized_product(
    op: str, weights: np.ndarray, axis: int | None, x_shape, **attributes
) -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    channels = 1 if axis is None else weights.shape[axis]
    constants = {
        "sx": np.float32(0.05), "z": np.int8(0), "w": weights,
        "sw": np.float32(0.01) if axis is None else rng.uniform(0.005, 0.02, channels).astype("f4"),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["wd"], **({} if axis is None else {"axis": axis})),
        helper.make_node(op, ["xd", "wd"], ["y"], **attributes),
    ]
    return make(nodes, {"x": x_shape}, {"y": None}, constants)


@pytest.mark.parametrize(
    ("op", "shape", "axis", "attributes"),
    [
        ("Gemm", (64, 9), 1, {}),
        ("Gemm", (9, 64), 0, {"transB": 1, "alpha": 0.5}),
        ("MatMul", (64, 9), 1, {}),
        ("MatMul", (64, 9), None, {}),
    ],
)
def test_int8_matrix_products_are_exact(op, shape, axis, attributes):
    weights = np.random.default_rng(4).integers(-127, 128, shape).astype(np.int8)
    model = quantized_product(op, weights, axis, [3, 64], **attributes)
    parsed = program(model)
    assert [step.working for step in parsed.steps if step.product] == ["int8"]
    x = sample(3, shape=(64,))
    c = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    xq = np.clip(np.rint(x / c["sx"]), -128, 127)
    w = weights.T if attributes.get("transB") else weights
    want = (xq @ w.astype("f8")) * (np.float64(c["sx"]) * c["sw"].astype("f8")) * attributes.get("alpha", 1.0)
    np.testing.assert_array_equal(parsed.run({"x": x})["y"], want.astype("f4"))


def test_scales_on_the_reduction_axis_are_not_integer_arithmetic():
    weights = np.random.default_rng(4).integers(-127, 128, (64, 9)).astype(np.int8)
    parsed = program(quantized_product("MatMul", weights, 0, [3, 64]))
    assert not any(step.product for step in parsed.steps)
    assert parsed.run({"x": sample(3, shape=(64,))})["y"].shape == (3, 9)


def test_transposed_convolution_with_groups_takes_its_scales_a_channel():
    rng = np.random.default_rng(7)
    weights = rng.integers(-127, 128, (4, 3, 2, 2)).astype(np.int8)
    model = quantized_product("ConvTranspose", weights, 1, [1, 4, 3, 3], group=2, strides=[2, 2])
    parsed = program(model)
    assert parsed.steps[-1].product is not None
    plain = make(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], group=2, strides=[2, 2])],
        {"x": [1, 4, 3, 3]}, {"y": None},
        {"w": weights * onnx.numpy_helper.to_array(model.graph.initializer[3]).reshape(1, 3, 1, 1)},
    )  # fmt: skip
    x = sample(1, shape=(4, 3, 3))
    xq = (np.clip(np.rint(x / np.float32(0.05)), -128, 127) * np.float32(0.05)).astype("f4")
    np.testing.assert_allclose(
        parsed.run({"x": x})["y"], program(plain).run({"x": xq})["y"], rtol=1e-4, atol=1e-4
    )


def test_float_weights_behind_quantize_count_as_integers():
    rng = np.random.default_rng(8)
    constants = {
        "sx": np.float32(0.05), "z": np.int8(0), "sw": np.array([0.01, 0.02], "f4"), "zw": np.zeros(2, np.int8),
        "w": rng.standard_normal((2, 3, 1, 1)).astype("f4") * 0.5,
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd"], ["y"]),
    ]
    parsed = program(make(nodes, {"x": [1, 3, 2, 2]}, {"y": None}, constants))
    assert parsed.steps[-1].product is not None
    assert np.isfinite(parsed.run({"x": sample(1, shape=(3, 2, 2))})["y"]).all()


MODELS = {
    "conv": (conv, {}),
    "fp16": (conv, {"weak": "fp16"}),
    "bf16": (conv, {"weak": "bf16"}),
    "tf32": (conv, {"tf32": True}),
    "int8": (quantized_conv, {}),
    "int8+fp16": (quantized_conv, {"weak": "fp16"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_step_by_step_gives_the_bits_of_the_whole(name):
    make_model, policy = MODELS[name]
    made = program(make_model(), **policy)
    x = sample(3)
    assert made.run({"x": x})["y"].tobytes() == made.run_steps({"x": x})["y"].tobytes()


def test_a_layer_kept_in_fp32_is_not_rounded():
    driver, x = Driver(), sample(2)
    network = driver.network(conv())
    for index in range(network.num_layers):
        network.get_layer(index).precision = driver.trt.float32
    config = driver.config(flags=("FP16", "OBEY_PRECISION_CONSTRAINTS"), profile=PROFILE)
    plan = driver.builder.build_serialized_network(network, config)
    engine = driver.trt.Runtime(driver.logger).deserialize_cuda_engine(plan)
    got = driver.run(engine.create_execution_context(), x=x)["y"]
    assert np.any(got != got.astype("f2").astype("f4"))


def test_a_loop_with_half_values_runs_as_it_is():
    body = helper.make_graph(
        [
            helper.make_node("Add", ["a", "one"], ["b"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT16, [2]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT16, [2]),
        ],
        [onnx.numpy_helper.from_array(np.array([1.0, 2.0], "f2"), "one")],
    )
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Loop", ["count", "yes", "h"], ["out"], body=body),
        helper.make_node("Cast", ["out"], ["y"], to=TensorProto.FLOAT),
    ]
    model = make(nodes, {"x": [2]}, {"y": [2]}, {"count": np.int64(3), "yes": np.array(True)})
    made = program(model)
    x = np.array([0.5, 1.0], "f4")
    np.testing.assert_array_equal(made.run({"x": x})["y"], [3.5, 7.0])
    np.testing.assert_array_equal(made.run_steps({"x": x})["y"], [3.5, 7.0])


def test_what_follows_a_node_kept_in_fp32_is_rounded_again():
    parsed = program(conv(), weak="fp16", fp32_nodes=frozenset({"conv"}))
    y = parsed.run({"x": sample(2)})["y"]
    np.testing.assert_array_equal(y, y.astype("f2").astype("f4"))
    assert [step.working for step in parsed.lowered.steps] == ["fp32", "fp16"]
    assert parsed.elem("c") == dtypes.FLOAT and parsed.elem("y") == dtypes.FLOAT16


def test_nothing_rounds_between_an_integer_convolution_and_its_quantizer():
    x, model = sample(2), quantized_conv()
    model.graph.output[0].name = "yq"
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    del model.graph.node[-1]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    wide, weak = program(model), program(copy, weak="fp16")
    assert {
        step.node.op_type: dtypes.short_of(step.elems["c"]) for step in weak.steps if "c" in step.elems
    } == {"Conv": "fp32"}
    exact, rounded = ({t: p.lowered.constants.array(t) for t in ("b",)} for p in (wide, weak))
    np.testing.assert_array_equal(rounded["b"], exact["b"].astype("f2").astype("f4"))
    assert weak.run({"x": x})["yq"].dtype == np.int8


@pytest.mark.parametrize("weak", ["", "fp16"])
def test_weights_in_constant_nodes_are_constants(weak):
    """ONNX Runtime packs constant weights: a product with packed and with plain ones differs in the last bits."""
    rng = np.random.default_rng(0)
    weights = onnx.numpy_helper.from_array(rng.standard_normal((120, 61)).astype("f4"), "v")
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weights),
        helper.make_node("Constant", [], ["k"], value_float=0.5),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Mul", ["p", "k"], ["y"]),
    ]
    made = program(make(nodes, {"x": ["N", 7, 120]}, {"y": None}), weak=weak)
    x = sample(3, shape=(7, 120))
    whole = made.run({"x": x})["y"]
    assert whole.tobytes() == made.run_steps({"x": x})["y"].tobytes()
    assert [step.node.op_type for step in made.lowered.steps] == ["MatMul", "Mul"]
    stored = made.lowered.constants.array("w")
    assert np.array_equal(stored, stored.astype("f2")) == bool(weak)
