from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_trt.errors import PrecisionError
from pytest_trt.precision.sixteen import retype, round_weights
from pytest_trt.strategies import conv_cases, gemm_cases, motif_cases

from .models import build, constant, conv_relu, evaluate, feed, kinds, node, run, value

needs_22 = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() < 22, reason="this onnx has no operator set 22: pip install onnx>=1.17"
)


def types_of(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    return {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}


@settings(max_examples=40, deadline=None, database=None, derandomize=True)
@given(st.one_of(conv_cases(), gemm_cases(), motif_cases()))
def test_it_computes_what_onnx_runtimes_own_converter_does(case):
    converter = pytest.importorskip("onnxruntime.transformers.float16")
    model = case.model()
    rng = np.random.default_rng(0)
    data = {k: rng.standard_normal(s).astype(np.float32) for k, s in case.input_shapes.items()}
    ours, kept = retype(model, "fp16")
    theirs = converter.convert_float_to_float16(model, keep_io_types=True)
    assert kept == ()
    got, want = run(ours, data)["y"], run(theirs, data)["y"]
    assert got.dtype == want.dtype == np.float32
    # Two programs, one function: BatchNormalization is folded here and not there.
    folded = "BatchNormalization" in kinds(model)
    np.testing.assert_allclose(got, want, rtol=4e-3 if folded else 0, atol=2e-2 if folded else 0)


def test_every_float_tensor_between_the_casts_is_16_bit():
    made, kept = retype(conv_relu(), "fp16")
    assert kinds(made) == ["Cast", "Conv", "Relu", "Cast"]
    assert kept == ()
    assert set(types_of(made).values()) == {TensorProto.FLOAT16}
    assert constant(made, "w").dtype == np.float16


@needs_22
def test_bf16_lifts_the_model_to_the_set_that_has_it():
    made, kept = retype(conv_relu(), "bf16")
    assert made.opset_import[0].version == 22 and kept == ()
    assert set(types_of(made).values()) == {TensorProto.BFLOAT16}


def test_bf16_without_the_operator_set_says_so(monkeypatch):
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 20)
    with pytest.raises(PrecisionError, match="bf16 needs ONNX operator set 22") as caught:
        retype(conv_relu(), "bf16")
    assert "pip install --upgrade onnx" in str(caught.value)


def test_an_operator_that_onnx_has_only_in_float32_is_kept_and_named():
    model = build(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("CumSum", ["r", "axis"], ["s"], name="sum"),
            helper.make_node("Relu", ["s"], ["y"]),
        ],
        [value("x", [2, 3])],
        [value("y", [2, 3])],
        {"axis": np.int64(1)},
        opset=13,
    )
    made, kept = retype(model, "fp16")
    assert kept == ("sum",)
    assert kinds(made) == ["Cast", "Relu", "Cast", "CumSum", "Cast", "Relu", "Cast"]
    np.testing.assert_allclose(
        evaluate(made, {"x": np.ones((2, 3), np.float32)})["y"], [[1, 2, 3], [1, 2, 3]]
    )


def test_an_input_that_is_float32_by_definition_stays_so():
    model = build(
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
        [value("x", [1, 1, 2, 2])],
        [value("y", [1, 1, 4, 4])],
        {"scales": np.array([1, 1, 2, 2], np.float32)},
    )
    made, kept = retype(model, "fp16")
    assert kept == ()
    assert constant(made, node(made, "y_fp16").input[2]).dtype == np.float32


def test_a_tensor_that_is_read_and_given_back_is_cast_once_each_way():
    model = build(
        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])],
        [value("x", [2])],
        [value("y", [2]), value("z", [2])],
    )
    made, _ = retype(model, "fp16")
    out = evaluate(made, {"x": np.array([0.1, -1], np.float32)})
    assert kinds(made).count("Cast") == 3
    assert out["y"][0] == np.float32(np.float16(0.1)) and out["z"][0] == -out["y"][0]


def test_an_input_given_back_directly_keeps_every_bit():
    model = build(
        [helper.make_node("Identity", ["x"], ["y"])], [value("x", [1])], [value("y", [1])], opset=13
    )
    made, _ = retype(model, "fp16")
    assert evaluate(made, {"x": np.array([0.5], np.float32)})["y"][0] == 0.5


def test_constant_nodes_casts_and_shapes_are_retyped():
    model = build(
        [
            helper.make_node("Constant", [], ["k"], value_float=0.1),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["f", "k"], ["s"]),
            helper.make_node("Add", ["s", "zeros"], ["y"]),
        ],
        [value("i", [2], TensorProto.INT32)],
        [value("y", [2])],
        {"shape": np.array([2], np.int64)},
    )
    made, kept = retype(model, "fp16")
    assert kept == ()
    got = evaluate(made, {"i": np.array([1, 2], np.int32)})["y"]
    np.testing.assert_array_equal(got, (np.array([1, 2], np.float16) + np.float16(0.1)).astype(np.float32))


def test_a_branch_reads_float32_and_its_owner_is_kept():
    def branch(op):
        return helper.make_graph(
            [helper.make_node(op, ["r"], [f"{op}_out"])], op, [], [value(f"{op}_out", [2])]
        )

    model = build(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node(
                "If", ["flag"], ["y"], name="fork", then_branch=branch("Neg"), else_branch=branch("Abs")
            ),
        ],
        [value("x", [2]), value("flag", [], TensorProto.BOOL)],
        [value("y", [2])],
    )
    made, kept = retype(model, "fp16")
    assert kept == ("fork",)
    got = evaluate(made, {"x": np.array([0.1, 2], np.float32), "flag": np.array(True)})["y"]
    np.testing.assert_array_equal(got, -np.array([0.1, 2], np.float16).astype(np.float32))


def test_batch_normalization_is_folded_before_a_variance_overflows():
    variance = np.array([9.8e7, 1.0], np.float32)
    model = build(
        [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], name="bn")],
        [value("x", [1, 2, 1])],
        [value("y", [1, 2, 1])],
        {
            "s": np.array([9000.0, 2.0], np.float32),
            "b": np.array([1.0, 0.5], np.float32),
            "m": np.array([3.0, 1.0], np.float32),
            "v": variance,
        },
    )
    data = {"x": np.array([[[5.0], [3.0]]], np.float32)}
    made, _ = retype(model, "fp16")
    np.testing.assert_allclose(evaluate(made, data)["y"], run(model, data)["y"], rtol=2e-3)
    assert kinds(made) == ["Cast", "BatchNormalization", "Cast"]


class TestRounding:
    @pytest.mark.parametrize(
        "number, want", [(1 + 2**-11, 1.0), (1 + 3 * 2**-11, 1 + 2**-9), (2**-25, 0.0), (1e9, 65504.0)]
    )
    def test_fp16_rounds_to_nearest_even_and_holds_at_the_largest(self, number, want):
        assert round_weights(np.array([number, -number]), "fp16").tolist() == [want, -want]

    def test_fp16_keeps_infinities_and_nan(self):
        got = round_weights(np.array([np.inf, -np.inf, np.nan]), "fp16")
        assert got[0] == np.inf and got[1] == -np.inf and np.isnan(got[2])

    @pytest.mark.parametrize(
        "number, bits",
        [(1 + 2**-8, 0x3F80), (1 + 3 * 2**-8, 0x3F82), (3.4e38, 0x7F7F), (np.inf, 0x7F80), (np.nan, 0x7FC0)],
    )
    def test_bf16_rounds_to_nearest_even_in_bit_patterns(self, number, bits):
        assert round_weights(np.array([number], np.float32), "bf16").tolist() == [bits]

    def test_the_callers_array_is_not_changed(self):
        array = np.array([1e9], np.float32)
        round_weights(array, "fp16")
        assert array[0] == np.float32(1e9)


def test_a_model_run_twice_through_gives_the_same_bytes():
    model = conv_relu()
    first, second = (retype(model, "fp16")[0].SerializeToString() for _ in range(2))
    assert first == second
    assert run(retype(model, "fp16")[0], feed())["y"].dtype == np.float32


@pytest.mark.parametrize("read", [False, True])
def test_a_constant_that_is_an_output_keeps_its_values(read):
    constants = {"k": np.array([1.0001, 2, 3], np.float32)}
    nodes = [helper.make_node("Mul", ["x", "k"] if read else ["x", "x"], ["y"])]
    model = build(nodes, [value("x", ["N", 3])], [value("y", ["N", 3]), value("k", [3])], constants)
    rewritten, _ = retype(model, "fp16")
    got = evaluate(rewritten, {"x": np.ones((2, 3), np.float32)})
    assert np.array_equal(got["k"], constants["k"]) and got["y"].shape == (2, 3)
