"""Plans, attributes and shapes, each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from pytest_trt.emulator import program
from pytest_trt.emulator.arguments import parse
from pytest_trt.emulator.attributes import filled
from pytest_trt.emulator.plan import Plan, PlanError

from .driver import Driver, sample
from .models import make

PLAN = Plan("tensorrt", "10.13.3.9", (75, 80), b"model", settings={"a": [1, 2]})


def test_a_plan_packs_and_unpacks():
    assert Plan.unpack(PLAN.pack()) == PLAN
    assert PLAN.pack() == replace(PLAN).pack() != replace(PLAN, sms=(75,)).pack()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"x", "padded"),
        (lambda data: data[:-1] + b"L", "checksum"),
        (lambda data: b"X" + data[1:], "magic"),
        (lambda data: b"", "magic"),
    ],
)
def test_a_plan_that_is_not_whole_is_refused(change, word):
    with pytest.raises(PlanError, match=word):
        Plan.unpack(change(PLAN.pack()))


def test_signatures_are_read():
    names = [
        (p.name, p.kind) for p in parse("(a: int, b: List[Tuple[int, str]] = None, c: E = <E.X: 0>) -> bool")
    ]
    assert names == [("a", "int"), ("b", "List[Tuple[int, str]]"), ("c", "E")]
    assert parse("() -> None") == ()


@pytest.mark.parametrize(
    ("auto", "strides", "size", "want"),
    [
        ("SAME_UPPER", [2, 2], (6, 6), [0, 0, 1, 1]),
        ("SAME_LOWER", [2, 2], (6, 6), [1, 1, 0, 0]),
        ("SAME_UPPER", [1, 1], (6, 6), [1, 1, 1, 1]),
        ("VALID", [1, 1], (6, 6), [0, 0, 0, 0]),
    ],
)
def test_automatic_pads_are_worked_out_as_onnx_runtime_does(auto, strides, size, want):
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=auto, strides=strides)
    found = filled(node, (1, 2, *size), (3, 2, 3, 3))
    assert found["pads"] == want and "auto_pad" not in found
    x, w = sample(1, shape=(2, *size)), sample(3, shape=(2, 3, 3))
    explicit = helper.make_node("Conv", ["x", "w"], ["y"], pads=want, strides=strides)
    results = [
        program.cpu_session(make([n], {"x": [1, 2, *size]}, {"y": None}, {"w": w})).run(None, {"x": x})[0]
        for n in (node, explicit)
    ]
    np.testing.assert_array_equal(*results)


def test_pads_of_a_transposed_convolution_follow_from_its_output_shape():
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], output_shape=[8, 7], strides=[2, 2])
    found = filled(node, (1, 2, 4, 4), (2, 3, 3, 3))
    assert found["output_padding"] == [0, 0] and [
        found["pads"][i] + found["pads"][i + 2] for i in (0, 1)
    ] == [1, 2]
    plain = filled(
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], pads=[1, 0, 0, 1]), (1, 2, 4, 4), (2, 3, 3, 3)
    )
    assert plain["pads"] == [1, 0, 0, 1] and plain["group"] == 1


def test_defaults_of_other_nodes_are_filled_in():
    gemm = filled(helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (2, 3), (4, 3))
    assert gemm == {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
    pool = filled(helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2]), (1, 1, 4), None)
    assert pool["pads"] == [0, 0] and pool["count_include_pad"] == 0 and pool["strides"] == [1]


def test_shapes_that_follow_from_values_of_shapes_are_known_before_the_run():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"first": np.array([0]), "rest": np.array([-1])}
    driver, x = Driver(), sample(3)
    got = driver.once(make(nodes, {"x": ["N", 5, 6, 6]}, {"y": ["A", "B"]}, constants), x=x)["y"]
    assert got.tobytes() == x.reshape(3, -1).tobytes()


def test_a_declared_output_shape_is_not_believed():
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=0)
    x = sample(3)
    got = Driver().once(make([node], {"x": ["N", 5, 6, 6]}, {"y": ["N", 5, 6, 6]}), x=x)["y"]
    assert got.shape == (6, 5, 6, 6)


def test_constants_and_inputs_may_be_outputs():
    nodes = [helper.make_node("Identity", ["k"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    model = make(nodes, {"x": [3]}, {"y": [2], "z": [3]}, {"k": np.array([1, 2], "f4")})
    got = Driver().once(model, x=sample(1, shape=())[:1].repeat(3))
    assert got["y"].tolist() == [1, 2] and got["z"].shape == (3,)
