"""Limits of Resize: each mode as ONNX Runtime computes it, and never one mode in place of another."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.numerics.bounds import Bound, Contract
from tests.unit.check.nodes import OneNode, refused

RNG = np.random.default_rng(12)
X = RNG.standard_normal((1, 2, 5, 7))
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
RULES = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
SCALES = [(2.0, 2.0), (3.0, 2.0), (0.6, 1.5), (1.0, 3.7)]


def node(mode, coordinates, scales=None, sizes=None, x=X, **more):
    given = [
        None,
        None if scales is None else np.array([1, 1, *scales], np.float32),
        None if sizes is None else np.array([*x.shape[:2], *sizes], np.int64),
    ]
    return OneNode(
        "Resize",
        x,
        constants=given if sizes is not None else given[:2],
        mode=mode,
        coordinate_transformation_mode=coordinates,
        **more,
    )


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("sizes", [(10, 14), (7, 7), (11, 3), (1, 20)])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes(mode, coordinates, sizes, kind):
    made = node(mode, coordinates, sizes=sizes)
    limits, honest = made.limits(kind), made.run(kind)
    assert limits.mid.shape == honest.shape
    assert refused(honest, limits, kind) == 0
    assert refused(honest * 1.01, limits, kind) > honest.size / 4


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_scales(mode, coordinates, scales):
    made = node(mode, coordinates, scales)
    assert refused(made.run(), made.limits()) == 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("sizes", [(10, 14), (3, 21), (8, 12)])
def test_rules_of_nearest(rule, coordinates, sizes):
    made = node("nearest", coordinates, sizes=sizes, nearest_mode=rule)
    limits = made.limits()
    assert refused(made.run(), limits) == 0
    assert (limits.low == limits.high).mean() > 0.3, "only coordinates at a boundary leave two pixels"


@pytest.mark.parametrize("kind", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(
    ("mode", "right", "wrong"),
    [
        ("linear", "half_pixel", "align_corners"),
        ("linear", "half_pixel", "asymmetric"),
        ("linear", "align_corners", "half_pixel"),
        ("cubic", "half_pixel", "align_corners"),
        ("nearest", "asymmetric", "align_corners"),
    ],
)
def test_another_coordinate_mode_is_refused(mode, right, wrong, kind):
    rule = {"nearest_mode": "floor"} if mode == "nearest" else {}
    limits = node(mode, right, sizes=(10, 14), **rule).limits(kind)
    assert refused(node(mode, wrong, sizes=(10, 14), **rule).run(kind), limits, kind) > 280 / 4


def test_another_mode_or_rule_or_coefficient_is_refused():
    limits = node("linear", "half_pixel", (2.0, 2.0)).limits("fp16")
    assert refused(node("cubic", "half_pixel", (2.0, 2.0)).run("fp16"), limits, "fp16") > 140
    assert refused(node("nearest", "half_pixel", (2.0, 2.0)).run("fp16"), limits, "fp16") > 140
    limits = node("nearest", "asymmetric", (2.0, 2.0), nearest_mode="floor").limits()
    assert refused(node("nearest", "asymmetric", (2.0, 2.0), nearest_mode="ceil").run(), limits) > 100
    limits = node("cubic", "half_pixel", (2.0, 2.0)).limits()
    other = node("cubic", "half_pixel", (2.0, 2.0), cubic_coeff_a=-0.5)
    assert refused(other.run(), limits) > 140
    assert refused(other.run(), other.limits()) == 0


def test_whole_numbers_and_halves_are_exact():
    limits = node("linear", "half_pixel", (2.0, 2.0), x=np.rint(X * 8)).limits()
    assert np.array_equal(limits.low, limits.high)
    limits = node("nearest", "asymmetric", (2.0, 2.0)).limits()
    assert np.array_equal(limits.low, limits.high)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_inputs_that_are_not_known_exactly(mode):
    x = X.astype(np.float32).astype(np.float64)
    made = node(mode, "half_pixel", sizes=(7, 10))
    limits = made.limits(x0=Bound(x, x - 0.01, x + 0.01, "fp32"))
    for number in range(5):
        shift = np.random.default_rng(number).choice([-0.01, 0.01], X.shape)
        assert refused(node(mode, "half_pixel", sizes=(7, 10), x=x + shift).run(), limits) == 0
    assert refused(node(mode, "half_pixel", sizes=(7, 10), x=x + 0.1).run(), limits) > 100


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_special_values(mode):
    x = X.copy()
    x[0, 0, 1, 1], x[0, 1, 3, 3] = np.nan, np.inf
    for sizes in ((7, 10), (10, 14)):  # with a scale of 2 the first pixel reads the second one with weight 0
        made = node(mode, "half_pixel", sizes=sizes, x=x)
        assert refused(made.run(), made.limits()) == 0
    x[0, 0, 0, 1] = np.nan
    made = node(mode, "half_pixel", sizes=(10, 14), x=x)
    assert refused(made.run(), made.limits()) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"antialias": 1},
        {"exclude_outside": 1},
        {"keep_aspect_ratio_policy": "not_larger"},
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
    ],
)
def test_what_is_not_laid_down_has_no_limit(more):
    attributes = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", **more}
    sizes = np.array([1, 2, 10, 14], np.int64)
    assert OneNode("Resize", X, constants=[None, None, sizes], **attributes).limits() is None


def test_corners_that_do_not_fall_on_pixels_have_no_limit():
    assert node("linear", "align_corners", (0.6, 1.5)).limits() is None
    assert node("linear", "align_corners", (2.0, 3.0)).limits() is not None


def test_upsample_and_the_first_resize_are_asymmetric():
    scales = np.array([1, 1, 2, 3], np.float32)
    for op, opset in (("Upsample", 9), ("Resize", 10)):
        for mode in ("nearest", "linear"):
            made = OneNode(op, X, constants=[scales], opset=opset, mode=mode)
            assert refused(made.run(), made.limits()) == 0


def test_axes_name_what_is_resized():
    made = OneNode(
        "Resize", X, constants=[None, None, np.array([9], np.int64)], opset=18, mode="linear", axes=[3]
    )
    assert made.limits().mid.shape == (1, 2, 5, 9)
    assert refused(made.run(), made.limits()) == 0


def test_a_dequantised_tensor_that_nearest_moves_keeps_its_scale():
    tensors = {"s": np.float32(0.05), "z": np.int8(0), "f": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Resize", ["d", "", "f"], ["r"], mode="nearest"),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()],
    )
    read = Graph(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))
    x = X.astype(np.float32)
    found = interpret(read, {"x": Bound.exact(x.astype(np.float64), "fp32")}, Contract())
    assert found.tensors["r"].scale is not None
    assert refused(OnnxRuntime(read).run({"x": x})["y"], found.tensors["y"]) == 0
