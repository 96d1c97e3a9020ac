"""INT8 with a 16-bit type for all that is not INT8."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.errors import PrecisionError, SettingsError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.graph import array_of, element_types, infer
from pytest_trt.precision.int8 import is_normal, on_grid
from pytest_trt.precision.sixteen import retype

from .models import build, conv_relu, feed, kinds, node, run, value

ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
needs_22 = pytest.mark.skipif(onnx.defs.onnx_opset_version() < 22, reason="this onnx has no operator set 22")
BOTH = ["fp16", pytest.param("bf16", marks=needs_22)]


def hybrid(kind="fp16", strong=True, model=None, data=None):
    model = conv_relu() if model is None else model
    return prepare(model, "int8", strong=strong, ranges=measure_ranges(model, [data or feed()]), hybrid=kind)


@pytest.mark.parametrize("kind", BOTH)
def test_dequantised_tensors_have_the_type_of_their_readers(kind):
    ready = hybrid(kind)
    types = element_types(infer(ready.model))
    conv = node(ready.model, "c")
    assert [types[name] for name in conv.input] == [ELEMENTS[kind]] * 3
    assert types["c"] == ELEMENTS[kind]
    assert kinds(ready.model).count("Cast") == 0
    assert (ready.hybrid, ready.kept_fp32, ready.flags) == (kind, (), frozenset())


@pytest.mark.parametrize("kind", BOTH)
def test_the_ends_of_the_graph_stay_in_float32(kind):
    ready = hybrid(kind)
    types = element_types(infer(ready.model))
    first = next(made for made in ready.model.graph.node if made.op_type == "QuantizeLinear")
    last = next(made for made in ready.model.graph.node if made.output[0] == "y")
    assert first.input[0] == "x" and types[first.input[1]] == TensorProto.FLOAT
    assert last.op_type == "DequantizeLinear" and types[last.input[1]] == TensorProto.FLOAT


@pytest.mark.parametrize("kind", BOTH)
def test_scales_are_numbers_of_the_type_in_every_graph(kind):
    strong, weak = hybrid(kind), hybrid(kind, strong=False)
    assert strong.scales.keys() == weak.scales.keys() == {"x", "w", "y"}
    for name, scale in strong.scales.items():
        np.testing.assert_array_equal(scale, weak.scales[name])
        np.testing.assert_array_equal(scale, on_grid(scale, kind))
    stored = [array_of(t).astype(np.float32) for t in strong.model.graph.initializer if t.name == "w_scale"]
    np.testing.assert_array_equal(stored, [strong.scales["w"]])
    assert weak.flags == {"INT8", kind.upper()} and "Cast" not in kinds(weak.model)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_a_scale_is_rounded_up_so_that_nothing_is_clipped(kind):
    given = np.random.default_rng(0).uniform(1e-4, 3.0, 500).astype(np.float32)
    made = on_grid(given, kind)
    digits = {"fp16": 10, "bf16": 7}[kind]
    assert np.all(made >= given) and np.all(made <= given * np.float32(1 + 2.0**-digits))
    if kind == "fp16":
        np.testing.assert_array_equal(made, made.astype(np.float16).astype(np.float32))
    else:
        assert not np.any(made.view(np.uint32) & 0xFFFF)
    np.testing.assert_array_equal(on_grid(made, kind), made)
    assert on_grid(np.float32(0.3).reshape(()), kind).shape == ()


def test_scales_below_the_normal_numbers_stay_in_float32():
    tiny = np.array([1.0, 1e-5], np.float32)
    assert not is_normal(tiny, "fp16") and is_normal(tiny, "bf16")
    assert on_grid(tiny, "fp16") is tiny
    model = conv_relu()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "w")
    small = np.array(onnx.numpy_helper.to_array(weights))
    small[1] *= 1e-5
    weights.CopyFrom(onnx.numpy_helper.from_array(small, "w"))
    ready = hybrid(model=model)
    types = element_types(infer(ready.model))
    dequantised = next(made for made in ready.model.graph.node if made.input[0] == "w_int8")
    assert types[dequantised.input[1]] == TensorProto.FLOAT
    reader = next(made for made in ready.model.graph.node if dequantised.output[0] in made.input)
    assert reader.op_type == "Cast" and ready.kept_fp32 == ()


def test_an_int32_bias_keeps_its_scale():
    constants = {
        "sx": np.float32(0.02),
        "zx": np.int8(0),
        "w": np.ones((4, 3, 1, 1), np.int8),
        "sw": np.full(4, 0.01, np.float32),
        "b": np.arange(4, dtype=np.int32),
        "sb": np.full(4, 2e-4, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "sx", "zx"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "sw"], ["dw"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "sb"], ["db"], axis=0),
        helper.make_node("Conv", ["d", "dw", "db"], ["y"]),
    ]
    model = build(nodes, [value("x", [1, 3, 4, 4])], [value("y", [1, 4, 4, 4])], constants, opset=19)
    made, _ = retype(model, "fp16")
    types = element_types(infer(made))
    bias = next(entry for entry in made.graph.node if entry.input[0] == "b")
    assert types[bias.input[1]] == types[bias.output[0]] == TensorProto.FLOAT
    assert types[node(made, "y_fp16").input[2]] == TensorProto.FLOAT16


@pytest.mark.parametrize("strong", [True, False])
def test_it_stays_near_the_float_model(strong):
    data = feed()
    model = conv_relu()
    got = run(hybrid(strong=strong).matched, data)["y"]
    want = run(model, data)["y"]
    assert np.abs(got - want).max() < 0.03 * np.abs(want).max()


def test_a_model_of_an_old_operator_set_is_lifted():
    ready = hybrid(model=conv_relu(opset=13))
    assert max(entry.version for entry in ready.model.opset_import) >= 19
    weak = hybrid(model=conv_relu(opset=13), strong=False)
    assert max(entry.version for entry in weak.model.opset_import) == 13


def test_an_unknown_type_is_refused():
    with pytest.raises(SettingsError, match="unknown hybrid type 'fp8'"):
        hybrid("fp8")


def test_constraints_and_hybrid_exclude_each_other():
    with pytest.raises(
        PrecisionError, match="one type for every layer, and INT8 with fp16 has two"
    ) as caught:
        prepare(conv_relu(), "int8", strong=False, ranges={}, hybrid="fp16", constraints="obey")
    assert "--trt-typing=strong" in caught.value.mend
