from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.errors import InputError, ModelError, PrecisionError, SettingsError
from pytest_trt.precision import measure_ranges, prepare

from .models import build, conv_relu, feed, kinds, run, value


@pytest.mark.parametrize("strong", [True, False])
def test_fp32_changes_nothing_and_clears_tf32(strong):
    model = conv_relu()
    ready = prepare(model, "fp32", strong=strong)
    assert ready.model is model and ready.matched is model
    assert ready.flags == frozenset() and ready.clear == {"TF32"}


def test_tf32_is_a_flag_and_nothing_else():
    ready = prepare(conv_relu(), "tf32", strong=True)
    assert ready.flags == {"TF32"} and ready.clear == frozenset()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_strong_typing_builds_the_graph_that_is_checked(precision):
    model = conv_relu()
    ready = prepare(model, precision, strong=True, ranges=measure_ranges(model, [feed()]))
    assert ready.model is ready.matched
    assert ready.flags == frozenset() and ready.clear == {"TF32"}


def test_weak_16_bit_is_a_flag_on_the_users_graph():
    model = conv_relu()
    ready = prepare(model, "fp16", strong=False)
    assert ready.model is model and ready.flags == {"FP16"}
    assert kinds(ready.matched) == ["Cast", "Conv", "Relu", "Cast"]


def test_weak_int8_has_float_weights_behind_their_own_q():
    model = conv_relu()
    ready = prepare(model, "int8", strong=False, ranges=measure_ranges(model, [feed()]))
    assert ready.flags == {"INT8"}
    assert kinds(ready.model).count("QuantizeLinear") == 3
    assert kinds(ready.matched).count("QuantizeLinear") == 2
    np.testing.assert_array_equal(run(ready.model, feed())["y"], run(ready.matched, feed())["y"])


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
@pytest.mark.parametrize("strong", [True, False])
def test_the_users_model_and_its_io_stay_as_they_are(precision, strong):
    if precision == "bf16" and onnx.defs.onnx_opset_version() < 22:
        pytest.skip("this onnx has no operator set 22")
    model = conv_relu()
    before = model.SerializeToString()
    ready = prepare(model, precision, strong=strong, ranges=measure_ranges(model, [feed()]))
    assert model.SerializeToString() == before
    for made in (ready.model, ready.matched):
        onnx.checker.check_model(made)
        for side in ("input", "output"):
            got = [(v.name, v.type.tensor_type.elem_type) for v in getattr(made.graph, side)]
            want = [(v.name, v.type.tensor_type.elem_type) for v in getattr(model.graph, side)]
            assert got == want


def test_an_unknown_precision_is_refused_with_the_good_ones():
    with pytest.raises(SettingsError, match="unknown precision 'fp64'") as caught:
        prepare(conv_relu(), "fp64", strong=True)
    assert "fp32, tf32, fp16, bf16, int8" in str(caught.value)


def test_int8_without_ranges_says_how_to_get_them():
    with pytest.raises(PrecisionError, match="needs the range of each tensor") as caught:
        prepare(conv_relu(), "int8", strong=True)
    assert "measure_ranges" in str(caught.value)


def test_int8_names_the_tensor_without_a_range():
    with pytest.raises(PrecisionError, match="tensor 'y' needs an INT8 scale"):
        prepare(conv_relu(), "int8", strong=True, ranges={"x": 1.0})


def test_a_graph_that_contradicts_itself_is_refused():
    model = conv_relu()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 9
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"not valid|contradicts"):
        prepare(model, "fp16", strong=True)


class TestRanges:
    def test_each_float_tensor_has_the_largest_magnitude_over_all_feeds(self):
        model = conv_relu()
        feeds = [feed(seed=1), feed(seed=2)]
        reach = measure_ranges(model, iter(feeds))
        assert set(reach) == {"x", "c", "y"}
        assert reach["x"] == max(float(np.abs(f["x"]).max()) for f in feeds)
        assert reach["y"] == max(float(np.abs(run(model, f)["y"]).max()) for f in feeds)

    def test_what_is_not_finite_does_not_count(self):
        data = feed()
        data["x"][0, 0, 0, :3] = (np.inf, -np.inf, np.nan)
        assert 0 < measure_ranges(conv_relu(), [data])["x"] < 10

    def test_integer_tensors_have_no_range(self):
        model = build(
            [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Relu", ["x"], ["y"])],
            [value("x", [2])],
            [value("y", [2]), value("s", [1], TensorProto.INT64)],
        )
        assert set(measure_ranges(model, [{"x": np.ones(2, np.float32)}])) == {"x", "y"}

    def test_no_data_is_an_error_that_says_what_to_pass(self):
        with pytest.raises(InputError, match="no calibration data") as caught:
            measure_ranges(conv_relu(), [])
        assert "calibration=" in str(caught.value)

    def test_data_that_does_not_fit_is_our_own_error(self):
        with pytest.raises(InputError, match="does not fit"):
            measure_ranges(conv_relu(), [{"x": np.zeros((2, 9, 5, 5), np.float32)}])


def qdq_model():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0)}
    return build(nodes, [value("x", ["N", 4])], [value("y", ["N", 4])], constants)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_qdq_of_the_models_own_needs_the_int8_flag_under_weak_typing(precision):
    assert "INT8" in prepare(qdq_model(), precision, strong=False).flags
    assert "INT8" not in prepare(qdq_model(), precision, strong=True).flags


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.BOOL])
def test_ranges_of_a_model_without_float32_results(kind):
    node = (
        helper.make_node("ArgMax", ["x"], ["y"], axis=1)
        if kind == TensorProto.INT64
        else helper.make_node("IsNaN", ["x"], ["y"])
    )
    model = build([node], [value("x", ["N", 4])], [value("y", ["N", None], kind)])
    assert measure_ranges(model, [{"x": np.array([[1, -5, 2, 0]], np.float32)}]) == {"x": 5.0}


def test_a_model_that_onnx_runtime_lacks_has_no_ranges():
    model = build(
        [helper.make_node("Own", ["x"], ["y"], domain="mine")], [value("x", [4])], [value("y", [4])]
    )
    model.opset_import.append(helper.make_opsetid("mine", 1))
    with pytest.raises(ModelError, match="INT8 scales cannot be measured") as caught:
        measure_ranges(model, [{"x": np.ones(4, np.float32)}])
    assert "Own" in caught.value.why[0]
