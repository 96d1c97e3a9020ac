"""What the rules count and say, beyond the planted defect of each."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import ModelError, SettingsError
from pytest_trt.hardware import get
from pytest_trt.lint import RULES, Advice, lint, worst
from pytest_trt.lint.registry import rule

from . import models
from .models import F16, F32, PAIR, W, build, int8_weight, normal, pair, quantized, through


def find(model, name, gpu="t4", precisions=("fp16", "int8")) -> list[Advice]:
    return [advice for advice in lint(model, gpu=get(gpu), precisions=precisions) if advice.rule == name]


def names(model, **more) -> list[str]:
    return [advice.rule for advice in lint(model, gpu=get("t4"), precisions=["fp16", "int8"], **more)]


class TestActivation:
    def test_one_slope_for_all_is_uniform_too(self):
        (advice,) = find(models.prelu([0.25]), "prelu-uniform")
        assert advice.numbers == {"slopes": 1, "slope": 0.25} and advice.fixable
        assert "1 slope, all 0.25" in advice.what

    def test_a_slope_from_a_constant_node_is_read(self):
        constant = helper.make_node("Constant", [], ["s"], value_float=0.25)
        model = build([("PRelu", "x s", "y")])
        model.graph.node.insert(0, constant)
        assert find(model, "prelu-uniform")

    def test_a_computed_slope_stays(self):
        model = build([("Sigmoid", "x", "s"), ("PRelu", "x s", "y")])
        (advice,) = find(model, "prelu-per-channel")
        assert "computed slopes" in advice.what and not advice.fixable

    def test_one_slope_that_differs_by_a_bit_stays(self):
        slopes = np.full(32, 0.25, np.float32).reshape(32, 1, 1)
        slopes[5] = np.nextafter(np.float32(0.25), np.float32(1))
        (advice,) = find(models.prelu(slopes), "prelu-per-channel")
        assert advice.numbers["slopes"] == 32 and advice.numbers["least"] == 0.25

    def test_float16_is_told_and_not_rewritten(self):
        model = build([("PRelu", "x s", "y")], {"s": np.float16([0.1])}, kind=F16, out_kind=F16)
        (advice,) = find(model, "prelu-uniform")
        assert not advice.fixable


class TestChannels:
    def test_the_cost_of_padding_is_counted(self):
        (advice,) = find(models.conv(60, 30), "channels-off-multiple")
        assert advice.numbers == {
            "read": 30,
            "made": 60,
            "fp16_multiple": 8,
            "fp16_cost_percent": round(100 * (64 * 32 / (60 * 30) - 1), 2),
            "int8_multiple": 32,
            "int8_cost_percent": round(100 * (64 * 32 / (60 * 30) - 1), 2),
        }
        assert advice.mend == "use 32 -> 64 channels"

    def test_the_class_decides(self):
        assert not find(
            models.conv(60, 60), "channels-off-multiple", "p100", ["fp16"]
        )  # half2 takes even ones
        assert not find(models.conv(60, 60), "channels-off-multiple", "v100", ["int8"])  # DP4A takes fours
        assert find(models.conv(60, 60), "channels-off-multiple", "v100", ["fp16"])
        assert not find(models.conv(61, 61), "channels-off-multiple", "t4", ["fp32"])
        assert find(models.conv(61, 61), "channels-off-multiple", "a100", ["tf32"])

    def test_channels_of_the_callers_data_do_not_count(self):
        assert not find(
            build([("Conv", "x w", "y")], {"w": models.weight(32, 3)}, [1, 3, 8, 8]), "channels-off-multiple"
        )

    def test_grouped_convolutions_are_left_out(self):
        model = build(
            [("Relu", "x", "r"), ("Conv", "r w", "y", {"group": 30})],
            {"w": models.weight(30, 1)},
            [1, 30, 8, 8],
        )
        assert not find(model, "channels-off-multiple")

    @pytest.mark.parametrize(
        ("node", "shape", "counts"),
        [
            (("Gemm", "r w", "y"), (60, 64), (60, 64)),
            (("Gemm", "r w", "y", {"transB": 1}), (64, 60), (60, 64)),
            (("MatMul", "r w", "y"), (60, 64), (60, 64)),
        ],
    )
    def test_products_are_counted_by_their_layout(self, node, shape, counts):
        (advice,) = find(
            build([("Relu", "x", "r"), node], {"w": normal(*shape)}, [8, 60]), "channels-off-multiple"
        )
        assert (advice.numbers["read"], advice.numbers["made"]) == counts


class TestFusion:
    def test_a_noop_elsewhere_is_only_advice(self):
        model = build([("Relu", "x", "r"), ("Dropout", "r", "d"), ("Exp", "d", "y")])
        (advice,) = find(model, "noop")
        assert advice.severity == "advice" and advice.fixable

    @pytest.mark.parametrize(
        ("node", "constants", "found"),
        [
            (("Dropout", "c k t", "d"), {"k": np.float32(0.5), "t": np.bool_(True)}, False),
            (("Dropout", "c k t", "d"), {"k": np.float32(0.5), "t": np.bool_(False)}, True),
            (("Reshape", "c n", "d"), {"n": np.array([1, 32, 6, 6])}, True),
            (("Reshape", "c n", "d"), {"n": np.array([1, 32, 36])}, False),
            (("Transpose", "c", "d", {"perm": [0, 1, 2, 3]}), {}, True),
            (("Transpose", "c", "d", {"perm": [0, 1, 3, 2]}), {}, False),
            (("Concat", "c", "d", {"axis": 1}), {}, True),
        ],
    )
    def test_what_changes_nothing(self, node, constants, found):
        assert bool(find(through(node, constants=constants), "noop")) is found

    def test_a_mask_of_dropout_that_is_read_keeps_it(self):
        model = through(("Dropout", "c", "d m"), outputs=("y", "m"))
        model.graph.output[1].type.tensor_type.elem_type = TensorProto.BOOL
        assert not find(model, "noop")

    def test_casts_there_and_back_through_a_wider_type(self):
        model = models.half(
            ("Conv", "x w", "c"),
            ("Cast", "c", "h", {"to": F32}),
            ("Cast", "h", "l", {"to": F16}),
            ("Relu", "l", "y"),
        )
        (advice,) = find(model, "cast-removable")
        assert advice.fixable and "undoes" in advice.what

    def test_a_softmax_in_float32_is_meant(self):
        model = models.half(
            ("Conv", "x w", "c"),
            ("Cast", "c", "h", {"to": F32}),
            ("Softmax", "h", "s"),
            ("Cast", "s", "y", {"to": F16}),
        )
        assert names(model) == []

    def test_transposes_that_do_not_cancel(self):
        perm = {"perm": [0, 2, 3, 1]}
        model = build([("Transpose", "x", "t", perm), ("Transpose", "t", "y", perm)])
        (advice,) = find(model, "transpose-pair")
        assert not advice.fixable

    def test_a_constant_over_places_is_no_bias(self):
        model = through(("Add", "c b", "d"), constants={"b": normal(1, 32, 6, 6)})
        (advice,) = find(model, "bias-apart")
        assert "cannot be a bias" in advice.what

    def test_a_batch_norm_behind_int8_weights_is_worse(self):
        parts = {name: np.ones(32, np.float32) for name in ("g", "b", "m", "v")}
        (advice,) = find(
            quantized(("BatchNormalization", "c g b m v", "y"), constants=parts), "batch-norm-unfolded"
        )
        assert advice.severity == "warning"


class TestReach:
    def test_counts_are_told(self):
        (advice,) = find(models.huge(-1e6), "fp16-overflow")
        assert advice.numbers["beyond"] == 1 and advice.numbers["values"] == W.size
        assert advice.numbers["largest"] == pytest.approx(1e6)

    def test_nothing_is_said_where_float16_is_not_wanted(self):
        for model in (models.huge(7e4), models.attention(np.where(np.tri(8), 0, -1e9)), models.norm(1e-12)):
            assert lint(model, gpu=get("a100"), precisions=["fp32", "bf16", "int8", "tf32"]) == () or not any(
                advice.rule.startswith("fp16") for advice in lint(model, gpu=get("a100"), precisions=["bf16"])
            )

    def test_bounds_of_a_clip_are_no_operands(self):
        model = build([("Clip", "x l h", "y")], {"l": np.float32(-3.4e38), "h": np.float32(3.4e38)})
        assert names(model) == []

    def test_a_mask_by_where_is_followed_through_reshapes(self):
        model = build(
            [
                ("Cast", "x", "b", {"to": TensorProto.BOOL}),
                ("Where", "b x m", "a"),
                ("Reshape", "a n", "r"),
                ("Softmax", "r", "y"),
            ],
            {"m": np.float32(-1e9), "n": np.array([32, 64])},
        )
        (advice,) = find(model, "fp16-mask")
        assert advice.severity == "warning" and advice.numbers == {"value": -1e9}

    def test_a_mask_without_a_softmax_is_advice(self):
        (advice,) = find(build([("Add", "x m", "y")], {"m": np.float32(-1e9)}), "fp16-mask")
        assert advice.severity == "advice"

    def test_negligible_weights_are_no_warning(self):
        (advice,) = find(models.scaled(1e-8, 1.0), "fp16-vanish")
        assert advice.severity == "advice" and advice.numbers["share"] == pytest.approx(1 / 3)

    def test_an_infinite_mask_is_meant(self):
        assert names(models.attention(np.where(np.tri(8), 0, -np.inf))) == []


class TestQuantized:
    @pytest.mark.parametrize("kind", [np.uint8, np.int32])
    def test_constants_that_the_parser_refuses(self, kind):
        weights, constants = int8_weight(kind=np.uint8, zero=np.uint8)
        if kind == np.int32:
            weights, constants = int8_weight()
            weights.append(("DequantizeLinear", "b ws", "bd", {"axis": 0}))
            constants["b"] = np.ones(32, np.int32)
        model = quantized(weights=(weights, constants))
        (advice,) = find(model, "qdq-unsigned")
        assert advice.severity == "error" and ("uint8" if kind == np.uint8 else "int32") in advice.what

    def test_activations_in_uint8(self):
        model = quantized(constants={"z": np.uint8(0)})
        (advice,) = find(model, "qdq-unsigned")
        assert advice.what == "QuantizeLinear makes uint8"

    def test_float_weights_and_float_data(self):
        weights, constants = int8_weight()
        (advice,) = find(build([*weights, ("Conv", "x wd", "y")], constants), "qdq-missing")
        assert "its data come" in advice.what and advice.severity == "warning"
        model = build([*pair("x", "d"), ("Abs", "d", "a"), ("Conv", "a w", "y")], {**PAIR, "w": W})
        (advice,) = find(model, "qdq-missing")
        assert "its data and weights come" in advice.what and advice.severity == "advice"

    def test_one_scale_for_all_channels(self):
        (advice,) = find(quantized(weights=int8_weight(scales=None)), "qdq-weight-scale")
        assert advice.severity == "advice" and advice.numbers == {"channels": 32}

    def test_the_axis_of_a_transposed_convolution(self):
        (advice,) = find(quantized(operator="ConvTranspose"), "qdq-weight-scale")
        assert advice.severity == "error" and advice.numbers == {"axis": 0, "wanted": 1}

    def test_a_negative_axis_is_counted_from_behind(self):
        weights = int8_weight(axis=-1, shape=(8, 32), scales=32)
        model = build([*pair("x", "d"), *weights[0], ("MatMul", "d wd", "y")], {**PAIR, **weights[1]}, [4, 8])
        assert not find(model, "qdq-weight-scale")

    def test_a_quantised_output_is_only_a_warning(self):
        model = build([("QuantizeLinear", "x s z", "y")], PAIR, out_kind=TensorProto.INT8)
        (advice,) = find(model, "qdq-unpaired")
        assert advice.severity == "warning"

    def test_a_residual_of_two_convolutions_wants_one_pair(self):
        weights, constants = int8_weight()
        nodes = [*pair("x", "d"), *weights, ("Conv", "d wd", "c"), ("Conv", "d wd", "e"), ("Add", "c e", "y")]
        assert len(find(build(nodes, {**PAIR, **constants}), "qdq-residual")) == 1

    def test_a_float_graph_is_not_told_to_have_pairs(self):
        assert names(models.conv(64, 64)) == []


class TestInterface:
    def test_an_axis_that_the_weights_fix(self):
        model = build([("Conv", "x w", "y")], {"w": W}, ["N", "C", 8, 8])
        (advice,) = find(model, "dynamic-axis")
        assert advice.severity == "warning" and advice.numbers == {"axis": 1, "length": 32}

    @pytest.mark.parametrize(
        ("node", "shape", "dims", "length"),
        [
            (("ConvTranspose", "x w", "y"), (32, 16, 3, 3), ["N", "C", 8, 8], 32),
            (("MatMul", "x w", "y"), (24, 8), ["N", "K"], 24),
            (("Gemm", "x w", "y"), (24, 8), ["N", "K"], 24),
            (("Gemm", "x w", "y", {"transB": 1}), (8, 24), ["N", "K"], 24),
            (("Conv", "x w", "y", {"group": 2}), (32, 16, 3, 3), ["N", "C", 8, 8], 32),
        ],
    )
    def test_which_operators_fix_it(self, node, shape, dims, length):
        found = find(build([node], {"w": normal(*shape)}, dims), "dynamic-axis")
        assert [advice.numbers["length"] for advice in found if "length" in advice.numbers] == [length]

    def test_bf16_wants_a_newer_set_for_convolutions_alone(self):
        assert find(models.conv(), "opset-old", "a100", ["bf16"])[0].numbers == {"opset": 17, "needed": 22}
        assert not find(build([("Add", "x x", "y")]), "opset-old", "a100", ["bf16"])

    def test_float64_is_wide(self):
        model = build([("Cast", "x", "y", {"to": F32})], None, [8], TensorProto.DOUBLE)
        assert "float64" in find(model, "wide-input")[0].what


class TestAnyGraph:
    def test_an_empty_graph(self):
        assert names(build([], outputs=())) == []

    def test_no_shapes_at_all(self):
        model = models.conv(60, 60)
        model.graph.input[0].type.tensor_type.ClearField("shape")
        assert names(model) == ["channels-off-multiple"]

    def test_a_graph_that_cannot_be_inferred(self):
        model = models.conv(60, 60)
        model.graph.node.add(op_type="Nonsense", domain="some.where", input=["y"], output=["z"])
        assert "channels-off-multiple" in names(model)

    def test_nodes_inside_of_an_if_are_read_with_the_constants_around(self):
        branches = {}
        for branch in ("then_branch", "else_branch"):
            inner = helper.make_node("PRelu", ["x", "s"], [f"{branch}_y"])
            output = helper.make_tensor_value_info(f"{branch}_y", F32, None)
            branches[branch] = helper.make_graph([inner], branch, [], [output])
        model = build([("If", "k", "y", branches)], {"s": np.float32([0.25]), "k": np.bool_(True)})
        assert names(model) == ["prelu-uniform"] * 2

    def test_functions_are_written_out(self):
        body = [helper.make_node("PRelu", ["a", "b"], ["c"])]
        sets = [helper.make_opsetid("", 17)]
        model = build([], {"s": np.float32([0.25])})
        model.graph.node.add(op_type="Mine", domain="mine", input=["x", "s"], output=["y"])
        model.functions.append(helper.make_function("mine", "Mine", ["a", "b"], ["c"], body, sets))
        model.opset_import.append(helper.make_opsetid("mine", 1))
        assert names(model) == ["prelu-uniform"]

    def test_every_model_is_left_as_it_was(self):
        for make in models.POSITIVE.values():
            model = make()
            before = model.SerializeToString(deterministic=True)
            lint(model, gpu=get("t4"), precisions=["fp16"])
            assert model.SerializeToString(deterministic=True) == before

    def test_types_that_numpy_has_not(self):
        tensor = helper.make_tensor("t", TensorProto.STRING, [1], [b"a"])
        model = build([("Relu", "x", "y")])
        model.graph.initializer.append(tensor)
        model.graph.initializer.append(helper.make_tensor("e", TensorProto.FLOAT8E4M3FN, [2], [1.0, 2.0]))
        assert names(model) == []


class TestInput:
    def test_bytes_and_paths(self, tmp_path):
        path = tmp_path / "m.onnx"
        path.write_bytes(models.prelu([0.25]).SerializeToString())
        assert names(path) == names(path.read_bytes()) == ["prelu-uniform"]

    def test_weights_beside_the_file_are_read(self, tmp_path):
        model = models.huge(7e4)
        (tmp_path / "w.bin").write_bytes(model.graph.initializer[0].raw_data)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        assert names(tmp_path / "m.onnx") == ["fp16-overflow"]
        (tmp_path / "w.bin").unlink()
        with pytest.raises(ModelError, match="weights in a file that cannot be read"):
            names(tmp_path / "m.onnx")

    @pytest.mark.parametrize("data", [b"no model", b"", b"\xff" * 20])
    def test_no_model(self, data):
        with pytest.raises(ModelError, match="is not an ONNX model"):
            names(data)

    def test_no_file(self, tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            names(tmp_path / "absent.onnx")

    def test_an_unknown_precision(self):
        with pytest.raises(SettingsError, match="unknown precision 'fp17'"):
            lint(models.conv(), gpu=get("t4"), precisions=["fp17"])


def test_the_severest_comes_first():
    model = quantized(constants={"z": np.int8(3)}, weights=int8_weight(scales=None))
    found = lint(model, gpu=get("t4"), precisions=["int8"])
    assert [advice.severity for advice in found] == ["error"] * (len(found) - 1) + ["advice"]
    assert worst(found) == "error" and worst(()) is None


def test_a_rule_has_one_name_and_a_line_of_words():
    assert all(entry.doc.endswith(".") for entry in RULES.values())
    with pytest.raises(ValueError, match="two rules are named 'noop'"):
        rule("noop")(RULES["noop"].check)


def test_initializer_names_of_a_tensor_do_not_hide_the_inputs():
    model = models.conv(64, 64)  # old exporters list weights as inputs too
    model.graph.input.append(helper.make_tensor_value_info("w", F32, [64, 64, 3, 3]))
    assert names(model) == []
    assert numpy_helper.to_array(model.graph.initializer[0]).shape == (64, 64, 3, 3)
