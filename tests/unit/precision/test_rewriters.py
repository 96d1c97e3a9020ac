"""Three rewriters, one meaning: the same typed tensors and scales, outputs that agree, and words for what cannot be."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ModelError, PrecisionError, SettingsError
from pytest_trt.hardware import get
from pytest_trt.lint import lint
from pytest_trt.precision import library_calls, measure_ranges, prove, rewriters
from pytest_trt.precision.draw import draw_feed, find_shapes
from pytest_trt.precision.int8 import quantize
from pytest_trt.precision.library_calls import MODELOPT_COMMAND, find_library_lack
from pytest_trt.precision.ordering import sort_nodes
from pytest_trt.precision.rewriters import REWRITERS, rewrite
from pytest_trt.precision.sixteen import retype
from pytest_trt.precision.support import find_lack
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, build_plan
from pytest_trt.runtime.load import discover, find_builder
from pytest_trt.runtime.modules import RTX_COMMAND

from .models import build, constant, conv_relu, evaluate, feed, kinds, node, run, value

MODELOPT = pytest.param(
    "modelopt",
    marks=pytest.mark.skipif(
        find_library_lack("modelopt", "fp16") is not None, reason=f"ModelOpt is not here: {MODELOPT_COMMAND}"
    ),
)
LIBRARIES = ["onnxruntime", MODELOPT]
X = feed((2, 16, 8, 8))


def net() -> ModelProto:
    """Return two convolutions with a residual, a pool, a transposed one, a Gemm, a MatMul; with biases."""
    rng = np.random.default_rng(0)
    shapes = {
        "w1": (16, 16, 3, 3),
        "b1": (16,),
        "w2": (16, 16, 3, 3),
        "b2": (16,),
        "wt": (16, 8, 3, 3),
        "bt": (8,),
        "wg": (10, 8),
        "bg": (10,),
        "wm": (10, 6),
    }
    constants = {name: 0.2 * rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    constants["w1"][0, 0, 0, :2] = (1e-8, 4e-8)
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1] * 4),
        make("Relu", ["c1"], ["r1"], name="relu1"),
        make("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", pads=[1] * 4),
        make("Add", ["c2", "r1"], ["a"], name="add"),
        make("Relu", ["a"], ["r2"], name="relu2"),
        make("MaxPool", ["r2"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        make("ConvTranspose", ["p", "wt", "bt"], ["t"], name="up"),
        make("GlobalAveragePool", ["t"], ["g"], name="gap"),
        make("Reshape", ["g", "shape"], ["f"], name="flat"),
        make("Gemm", ["f", "wg", "bg"], ["l"], name="gemm", transB=1),
        make("MatMul", ["l", "wm"], ["y"], name="matmul"),
    ]
    constants["shape"] = np.array([0, 8])
    return build(nodes, [value("x", ["N", 16, 8, 8])], [value("y", ["N", 6])], constants)


def eight(model, rewriter, data=None, **more):
    return rewrite(
        model, "int8", rewriter, ranges=measure_ranges(model, [X if data is None else data]), **more
    )


class TestSixteen:
    @pytest.mark.parametrize("rewriter", LIBRARIES)
    def test_fp16_is_the_builtin_graph_bit_for_bit(self, rewriter):
        mine, theirs = rewrite(net(), "fp16", "builtin"), rewrite(net(), "fp16", rewriter)
        assert mine.kept_fp32 == theirs.kept_fp32 == ()
        assert Counter(kinds(mine.model)) == Counter(kinds(theirs.model))
        for name in ("w1", "b1", "w2", "wt", "wg", "wm"):
            assert constant(mine.model, name).dtype == np.float16
            assert constant(mine.model, name).tobytes() == constant(theirs.model, name).tobytes()
        np.testing.assert_array_equal(evaluate(mine.model, X)["y"], evaluate(theirs.model, X)["y"])

    @pytest.mark.parametrize("rewriter", [MODELOPT])
    @pytest.mark.skipif(find_lack("bf16") is not None, reason="bf16 needs onnx 1.17 and onnxruntime 1.21")
    def test_bf16_is_the_builtin_graph(self, rewriter):
        mine, theirs = rewrite(net(), "bf16", "builtin"), rewrite(net(), "bf16", rewriter)
        assert mine.kept_fp32 == theirs.kept_fp32 == ()
        assert Counter(kinds(mine.model)) == Counter(kinds(theirs.model))
        raw = [
            {t.name: t.raw_data for t in made.model.graph.initializer if t.data_type == TensorProto.BFLOAT16}
            for made in (mine, theirs)
        ]
        assert raw[0] == raw[1] and len(raw[0]) == 9

    @pytest.mark.parametrize("rewriter", LIBRARIES)
    def test_weights_below_the_range_are_rounded_and_not_lifted(self, rewriter):
        weights = constant(rewrite(net(), "fp16", rewriter).model, "w1")
        assert weights[0, 0, 0, :2].tolist() == [0.0, 2.0**-24]

    def test_onnxruntime_keeps_what_it_blocks_and_says_so(self):
        model = build(
            [
                helper.make_node("Relu", ["x"], ["r"], name="relu"),
                helper.make_node("Max", ["r", "c"], ["m"], name="max"),
                helper.make_node("Exp", ["m"], ["y"], name="exp"),
            ],
            [value("x", ["N", 4])],
            [value("y", ["N", 4])],
            {"c": np.float32([0.5])},
        )
        made = rewrite(model, "fp16", "onnxruntime")
        assert made.kept_fp32 == ("max",)
        types = {v.name: v.type.tensor_type.elem_type for v in made.model.graph.value_info}
        assert types[node(made.model, "y").input[0]] == TensorProto.FLOAT16
        assert retype(model, "fp16")[1] == ()  # ONNX has Max in float16

    def test_what_no_type_has_stays_with_each(self):
        model = build(
            [
                helper.make_node("Relu", ["x"], ["r"], name="relu"),
                helper.make_node("Det", ["r"], ["d"], name="det"),
                helper.make_node("Range", ["z", "n", "o"], ["i"], name="range"),
                helper.make_node("Add", ["d", "s"], ["y"], name="add"),
            ],
            [value("x", [2, 2])],
            [value("y", []), value("i", None)],
            {"s": np.float32(1), "z": np.float32(0), "n": np.float32(3), "o": np.float32(1)},
        )
        assert retype(model, "fp16")[1] == ("range",)
        assert rewrite(model, "fp16", "onnxruntime").kept_fp32 == ("range",)

    def test_single_nodes_can_be_kept(self):
        made = rewrite(conv_relu(), "fp16", "onnxruntime", keep=["relu"])
        assert made.kept_fp32 == ()
        types = {v.name: v.type.tensor_type.elem_type for v in made.model.graph.value_info}
        relu = next(n for n in made.model.graph.node if n.name == "relu")
        assert types[relu.input[0]] == TensorProto.FLOAT

    def test_normalisations_are_folded_as_in_the_builtin(self):
        parts = {"s": np.ones(4), "b": np.zeros(4), "m": np.zeros(4), "v": np.full(4, 1e8)}
        base = conv_relu()
        model = build(
            [
                base.graph.node[0],
                helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["y"], name="bn"),
            ],
            list(base.graph.input),
            list(base.graph.output),
            {"w": constant(base, "w"), "b": constant(base, "b")[:4]}
            | {k: np.float32(a) for k, a in parts.items()},
        )
        made = rewrite(model, "fp16", "onnxruntime")
        assert np.isfinite(evaluate(made.model, feed())["y"]).all()
        assert all(np.isfinite(numpy_helper.to_array(t)).all() for t in made.model.graph.initializer)
        mine = rewrite(model, "fp16", "builtin")
        np.testing.assert_array_equal(evaluate(made.model, feed())["y"], evaluate(mine.model, feed())["y"])

    def test_nodes_stand_behind_what_they_read(self):
        made = rewrite(net(), "fp16", "onnxruntime").model
        seen = {v.name for v in made.graph.input} | {t.name for t in made.graph.initializer}
        for each in made.graph.node:
            assert set(each.input) <= seen
            seen.update(each.output)


class TestEight:
    @pytest.mark.parametrize("rewriter", LIBRARIES)
    def test_scales_and_weights_are_those_of_the_builtin(self, rewriter):
        mine, theirs = eight(net(), "builtin"), eight(net(), rewriter)
        shared = mine.scales.keys() & theirs.scales.keys()
        assert {"x", "r1", "w1", "w2", "wt"} <= shared
        for name in shared:
            assert mine.scales[name].dtype == theirs.scales[name].dtype == np.float32
            assert mine.scales[name].tobytes() == theirs.scales[name].tobytes(), name
        for name in ("w1_int8", "w2_int8", "wt_int8"):
            assert constant(mine.model, name).tobytes() == constant(theirs.model, name).tobytes()

    @pytest.mark.parametrize("rewriter", LIBRARIES)
    def test_outputs_agree_with_the_builtin_and_the_float_model(self, rewriter):
        want = run(net(), X)["y"]
        for made in (eight(net(), "builtin"), eight(net(), rewriter)):
            assert np.abs(run(made.model, X)["y"] - want).max() < 0.05 * np.abs(want).max()

    @pytest.mark.parametrize("rewriter", LIBRARIES)
    def test_the_lint_finds_no_error_in_it(self, rewriter):
        found = lint(eight(net(), rewriter).model, gpu=get("a100"), precisions=["int8"])
        assert [advice for advice in found if advice.severity == "error"] == []

    @pytest.mark.parametrize("rewriter", ["builtin", *LIBRARIES])
    def test_weights_behind_a_q_of_their_own_compute_the_same(self, rewriter):
        folded, apart = eight(net(), rewriter), eight(net(), rewriter, folded=False)
        np.testing.assert_array_equal(run(folded.model, X)["y"], run(apart.model, X)["y"])
        assert kinds(apart.model).count("QuantizeLinear") > kinds(folded.model).count("QuantizeLinear")
        assert {t.name for t in apart.model.graph.initializer} >= {"w1", "w2"}

    def test_biases_stay_in_float32(self):
        made = eight(net(), "onnxruntime").model
        assert not [t.name for t in made.graph.initializer if t.data_type == TensorProto.INT32]
        for name, bias in (("conv1", "b1"), ("up", "bt"), ("gemm", "bg")):
            assert next(n for n in made.graph.node if n.name == name).input[2] == bias
            np.testing.assert_array_equal(constant(made, bias), constant(net(), bias))

    def test_an_int32_bias_of_an_older_library_is_put_back(self, monkeypatch):
        def placed(model, keep):
            made = library_calls._place_by_onnxruntime(model, keep)
            made.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b_i", "b_s"], ["b_dq"], axis=0))
            made.graph.initializer.append(numpy_helper.from_array(np.ones(16, np.int32), "b_i"))
            made.graph.initializer.append(numpy_helper.from_array(np.ones(16, np.float32), "b_s"))
            next(n for n in made.graph.node if n.name == "conv1").input[2] = "b_dq"
            return made

        monkeypatch.setitem(rewriters.PLACERS, "onnxruntime", placed)
        made = eight(net(), "onnxruntime").model
        assert next(n for n in made.graph.node if n.name == "conv1").input[2] == "b1"
        assert "b_i" not in {t.name for t in made.graph.initializer}

    def test_scales_are_numbers_of_the_type_beside_int8(self):
        made = eight(net(), "onnxruntime", grid="fp16")
        for scale in made.scales.values():
            np.testing.assert_array_equal(scale, scale.astype(np.float16).astype(np.float32))

    def test_single_nodes_can_stay_in_float(self):
        made = eight(net(), "onnxruntime", keep=["conv2"])
        assert "w2" not in made.scales and "w1" in made.scales
        assert next(n for n in made.model.graph.node if n.name == "conv2").input[1] == "w2"

    def test_what_the_library_leaves_in_float_is_declared(self, monkeypatch):
        monkeypatch.setitem(
            rewriters.PLACERS,
            "onnxruntime",
            lambda model, _: library_calls._place_by_onnxruntime(model, ["conv2", "gemm"]),
        )
        assert eight(net(), "onnxruntime").kept_fp32 == ("conv2", "gemm")
        assert eight(net(), "onnxruntime", keep=["gemm"]).kept_fp32 == ("conv2",)

    def test_nothing_is_left_in_float_by_onnxruntime(self):
        assert eight(net(), "onnxruntime").kept_fp32 == ()

    def test_one_scale_on_both_sides_of_what_only_moves(self):
        make = helper.make_node
        model = build(
            [
                make("Conv", ["x", "w"], ["c"], name="c1"),
                make("MaxPool", ["c"], ["p"], name="p", kernel_shape=[2, 2], strides=[5, 5]),
                make("Conv", ["p", "v"], ["y"], name="c2"),
                make("Conv", ["c", "v"], ["z"], name="c3"),
            ],
            [value("x", [1, 3, 9, 9])],
            [value("y", None), value("z", None)],
            {"w": np.ones((4, 3, 1, 1), np.float32), "v": np.ones((2, 4, 1, 1), np.float32)},
        )
        made = eight(model, "onnxruntime", feed((1, 3, 9, 9)))
        assert made.scales["c"] == made.scales["p"]

    @pytest.mark.parametrize("operator", ["Relu", "GlobalAveragePool"])
    def test_a_graph_without_products_is_quantised_as_by_the_builtin(self, operator):
        nodes = [helper.make_node(operator, ["x"], ["y"], name="only")]
        model = build(nodes, [value("x", [1, 2, 4, 4])], [value("y", None)])
        assert set(eight(model, "onnxruntime", feed((1, 2, 4, 4))).scales) == {"x", "y"}

    def test_a_graph_with_pairs_of_its_own_is_left_alone(self):
        own, _ = quantize(net(), measure_ranges(net(), [X]), folded=True)
        assert rewrite(own, "int8", "onnxruntime").model is own


class TestRefusals:
    def test_unknown_names(self):
        with pytest.raises(SettingsError, match="'torch'"):
            rewrite(net(), "fp16", "torch")
        with pytest.raises(SettingsError, match="'fp32'"):
            rewrite(net(), "fp32", "builtin")

    def test_onnxruntime_has_no_bf16(self):
        with pytest.raises(PrecisionError, match="onnxruntime has no converter to bf16") as caught:
            rewrite(net(), "bf16", "onnxruntime")
        assert "--trt-rewriter=builtin" in str(caught.value)

    def test_modelopt_that_is_not_installed_says_how_to_get_it(self, monkeypatch):
        def absent(name):
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(library_calls, "find_spec", absent)
        with pytest.raises(PrecisionError, match="modelopt is not installed") as caught:
            rewrite(net(), "int8", "modelopt")
        assert 'pip install "nvidia-modelopt[onnx]"' in str(caught.value)

    def test_a_tensor_without_a_range(self):
        ranges = measure_ranges(net(), [X])
        del ranges["r1"]
        with pytest.raises(PrecisionError, match="'r1' needs an INT8 scale and has no range"):
            rewrite(net(), "int8", "onnxruntime", ranges=ranges)

    def test_a_library_that_fails_is_told_in_words(self, monkeypatch):
        def broken(*_):
            raise KeyError("inside")

        monkeypatch.setitem(rewriters.PLACERS, "onnxruntime", broken)
        monkeypatch.setitem(rewriters.RETYPERS, "onnxruntime", broken)
        for precision in ("fp16", "int8"):
            with pytest.raises(PrecisionError, match="onnxruntime fails on this model") as caught:
                rewrite(net(), precision, "onnxruntime", ranges={})
            assert "KeyError: 'inside'" in str(caught.value)

    def test_a_library_that_gives_nothing(self, monkeypatch):
        monkeypatch.setitem(rewriters.PLACERS, "onnxruntime", lambda *_: None)
        with pytest.raises(PrecisionError, match="gives no model"):
            rewrite(net(), "int8", "onnxruntime", ranges={})

    def test_a_library_that_quantises_nothing(self, monkeypatch):
        monkeypatch.setitem(rewriters.PLACERS, "onnxruntime", lambda model, _: model)
        with pytest.raises(PrecisionError, match="puts no Q/DQ pair into this model"):
            rewrite(net(), "int8", "onnxruntime", ranges={})

    def test_a_library_that_makes_an_invalid_model(self, monkeypatch):
        def spoil(model, *_):
            model.graph.node[0].op_type = "NoSuchOperator"
            return model

        monkeypatch.setitem(rewriters.RETYPERS, "onnxruntime", spoil)
        with pytest.raises(ModelError):
            rewrite(net(), "fp16", "onnxruntime")

    def test_sixteen_bits_around_pairs(self):
        own, _ = quantize(net(), measure_ranges(net(), [X]), folded=True)
        with pytest.raises(PrecisionError, match="does not write fp16 around Q/DQ pairs"):
            rewrite(own, "fp16", "onnxruntime")

    def test_modelopt_keeps_no_single_node(self, monkeypatch):
        monkeypatch.setattr(rewriters, "find_library_lack", lambda *_: None)
        with pytest.raises(PrecisionError, match="with single nodes in float32"):
            rewrite(net(), "fp16", "modelopt", keep=["relu1"])


def test_logging_is_as_it_was():
    before = logging.root.manager.disable
    eight(net(), "onnxruntime")
    assert logging.root.manager.disable == before


def test_a_ring_is_no_graph():
    graph = build(
        [
            helper.make_node("Relu", ["b"], ["a"], name="one"),
            helper.make_node("Relu", ["a"], ["b"], name="two"),
        ],
        [],
        [value("b", [1])],
    ).graph
    with pytest.raises(ModelError, match="read each other in a ring"):
        sort_nodes(graph)


def test_drawn_inputs_fit_the_model():
    shapes = find_shapes(net())
    assert shapes == {"x": (2, 16, 8, 8)}
    assert draw_feed(net(), shapes, np.random.default_rng(0))["x"].dtype == np.float32
    with pytest.raises(ModelError, match="does not load"):
        find_shapes(build([helper.make_node("NoSuch", ["x"], ["y"])], [value("x", [1])], [value("y", [1])]))


@pytest.mark.parametrize("typing", ["strong", "weak"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("rewriter", LIBRARIES)
def test_a_rewritten_network_conforms_on_the_emulator(rewriter, precision, typing):
    made = Settings(runtime="emulator", rewriter=rewriter, typing=typing, gpu="a100", seed=0)
    shapes = [(n, 16, 8, 8) for n in (1, 2, 3)]
    with closing(Workbench(made, discover(made))) as bench:
        verdict = bench.judge(net(), precision=precision, profile={"x": tuple(shapes)})
    assert verdict.passed and verdict.compared > 1000


@pytest.fixture(scope="module")
def rtx():
    found = find_builder(Settings(gpu="a100", log="ERROR"))
    if found is None:
        pytest.skip(f"TensorRT-RTX is not here: {RTX_COMMAND}")
    return found


@pytest.mark.parametrize("rewriter", LIBRARIES)
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_real_tensorrt_builds_it_in_that_type(rtx, rewriter, precision):
    model = net() if precision == "fp16" else conv_relu(32, 32)
    data = feed((2, 32, 5, 5))
    made = rewrite(model, "fp16", rewriter) if precision == "fp16" else eight(model, rewriter, data)
    shape = X["x"].shape if precision == "fp16" else data["x"].shape
    plan = build_plan(rtx, BuildRequest(made.model.SerializeToString(), profile={"x": (shape,) * 3}, sm=80))
    proof = prove(plan.layers, precision)
    assert proof.ran.get(precision, 0) >= 1 and proof.fallback == ()


def test_every_rewriter_is_known():
    assert REWRITERS == ("builtin", "onnxruntime", "modelopt")
    assert set(rewriters.PLACERS) == set(rewriters.RETYPERS) == set(REWRITERS) - {"builtin"}
