"""Limits of arithmetic, rectifiers, comparisons and moves of single nodes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import interpret
from pytest_trt.numerics.bounds import Bound, Contract
from tests.unit.check.models import make_model
from tests.unit.check.nodes import OneNode, refused

RNG = np.random.default_rng(21)
A, B, C = (RNG.standard_normal((2, 3, 4, 6)) for _ in range(3))
KINDS = ("fp32", "fp16", "bf16")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min"])
def test_two_inputs(op, kind):
    made = OneNode(op, A, B[:, :1])
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(honest * 1.01, limits, kind) > A.size / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min"])
def test_many_inputs(op, kind):
    made = OneNode(op, A, B, C[:1])
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(OneNode(op, A, B).run(kind), limits, kind) > A.size / 8, "an input is left out"


def test_a_mean_of_one_input_is_that_input():
    assert refused(OneNode("Mean", A).run(), OneNode("Mean", A).limits()) == 0


@pytest.mark.parametrize("op", ["Sum", "Mean", "PRelu"])
def test_intervals_of_two_inputs(op):
    bounds = {
        f"x{i}": Bound(v, v - 0.02, v + 0.02, "fp32")
        for i, v in enumerate(np.asarray(v, np.float32).astype(np.float64) for v in (A, B))
    }
    limits = OneNode(op, A, B).limits(**bounds)
    for number in range(8):
        rng = np.random.default_rng(number)
        near = OneNode(op, *(b.mid + rng.choice([-0.0199, 0, 0.0199], A.shape) for b in bounds.values()))
        assert refused(near.run(), limits) == 0
    assert refused(OneNode(op, A + 0.5, B).run(), limits) > A.size / 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round", "Sign"])
def test_steps_are_exact(op, kind):
    x = np.concatenate([A.reshape(-1) * 4, np.arange(-5, 6) / 2, [np.inf, -np.inf]])
    made = OneNode(op, x)
    limits = made.limits(kind)
    assert np.array_equal(limits.low, limits.high)
    assert refused(made.run(kind), limits, kind) == 0
    if op == "Round":
        away = np.sign(x) * np.floor(np.abs(x) + 0.5)
        assert refused(away, limits, kind) >= 4, "ties go to the even neighbour"


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round", "Sign"])
def test_steps_between_intervals(op):
    x = A.astype(np.float32).astype(np.float64)
    limits = OneNode(op, x).limits(x0=Bound(x, x - 0.3, x + 0.3, "fp32"))
    for shift in (-0.3, 0.0, 0.3):
        assert refused(OneNode(op, x + shift).run(), limits) == 0
    assert refused(OneNode(op, x).run() + 3, limits) == x.size


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_of_negative_numbers(kind):
    slope = RNG.uniform(0.1, 1, (3, 1, 1))
    made = OneNode("PRelu", A, slope, opset=16)
    limits, honest = made.limits(kind), made.run(kind)
    assert refused(honest, limits, kind) == 0
    assert refused(OneNode("PRelu", A, slope[::-1], opset=16).run(kind), limits, kind) > A.size / 5
    assert refused(np.maximum(honest, 0), limits, kind) > A.size / 5
    assert refused([1.0, 0.0], OneNode("PRelu", [np.nan, -1.0], [0.5]).limits()) == 1


def test_a_threshold_is_met_by_what_lies_above_it():
    made = OneNode("ThresholdedRelu", [0.3, 0.5, 0.7, -1.0], alpha=0.5)
    limits = made.limits()
    assert refused([0.0, 0.0, 0.7, 0.0], limits) == 0
    assert refused([0.0, 0.5, 0.7, 0.0], limits) == 1
    # Half precision holds 0.3 either as the FP32 number or rounded.
    near = float(np.float16(0.3))
    limits = OneNode("ThresholdedRelu", [near, 0.2], alpha=0.3).limits("fp16")
    assert refused([0.0, 0.0], limits, "fp16") == 0 and refused([near, 0.0], limits, "fp16") == 0
    assert refused([0.0, 0.2], limits, "fp16") == 1


COMPARISONS = {
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Equal": np.equal,
}


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparisons_are_exact_and_open_where_intervals_meet(op):
    a, b = np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, 2.0, 2.0])
    made = OneNode(op, a, b)
    assert refused(COMPARISONS[op](a, b), made.limits()) == 0
    assert refused(~COMPARISONS[op](a, b), made.limits()) == 4
    wide = Bound(a, a - 0.5, a + 0.5, "fp32")
    limits = made.limits(x0=wide)
    assert limits.low[1] == 0 and limits.high[1] == 1, "2 +- 0.5 against 2 is not decided"
    assert limits.low[0] == limits.high[0] and limits.low[2] == limits.high[2]


def boolean(op, *parts):
    """Return the bound of a boolean operator on booleans given as bounds."""
    made = OneNode(op, *(np.zeros(p.mid.shape) for p in parts))
    return made.limits(**{f"x{i}": p for i, p in enumerate(parts)})


@pytest.mark.parametrize(
    ("op", "function"), [("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor)]
)
def test_gates(op, function):
    a, b = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    found = boolean(op, Bound.exact(a, "bool"), Bound.exact(b, "bool"))
    assert np.array_equal(found.mid, function(a, b)) and found.is_exact
    either = Bound(a, np.zeros(4), np.ones(4), "bool")
    found = boolean(op, either, Bound.exact(b, "bool"))
    for guess in (np.zeros(4), np.ones(4)):
        assert refused(function(guess, b), found) == 0
    decided = {"And": [1, 0, 1, 0], "Or": [0, 1, 0, 1], "Xor": [0, 0, 0, 0]}[op]
    assert np.array_equal(found.low == found.high, np.array(decided, bool))


def test_not_and_is_nan():
    x = Bound(np.array([0.0, 1.0, 0.0]), np.zeros(3), np.array([0.0, 1.0, 1.0]), "bool")
    found = boolean("Not", x)
    assert found.low.tolist() == [1, 0, 0] and found.high.tolist() == [1, 1, 1]
    made = OneNode("IsNaN", [np.nan, 1.0, np.inf])
    assert refused([1, 0, 0], made.limits()) == 0 and refused([0, 0, 0], made.limits()) == 1


def test_where_takes_one_and_the_hull_of_both_where_the_condition_is_open():
    test = A > 0
    made = OneNode("Where", A, B, constants=[test])
    assert refused(np.where(test, A, B).astype(np.float32), made.limits()) == 0
    assert refused(np.where(test, B, A).astype(np.float32), made.limits()) == A.size
    open_ = Bound(test * 1.0, np.zeros(A.shape), np.ones(A.shape), "bool")
    limits = made.limits(c0=open_)
    for other in (A, B):
        assert refused(other.astype(np.float32), limits) == 0
    assert refused(np.maximum(A, B) + 0.1, limits) == A.size


def test_where_takes_only_the_loose_elements_of_what_it_takes():
    test = np.array([1.0, 0.0, 1.0])
    a = Bound(np.zeros(3), np.zeros(3), np.zeros(3), "fp32", loose=np.array([True, True, False]))
    limits = OneNode("Where", np.zeros(3), np.ones(3), constants=[test > 0]).limits(x0=a)
    assert limits.loose.tolist() == [True, False, False]


MOVES = [
    ("Tile", [np.array([1, 2, 1, 3], np.int64)], {}),
    ("Expand", [np.array([2, 2, 4, 4, 6], np.int64)], {}),
    ("GatherElements", [np.array([[[[0, -1, 1, 5, 2, 2]]]], np.int64)], {"axis": 3}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "DCR"}),
    ("DepthToSpace", [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [], {"blocksize": 2}),
    ("Trilu", [], {"upper": 1}),
    ("Trilu", [np.array(-1, np.int64)], {"upper": 0}),
    ("Gather", [np.array([2, 0, -1], np.int64)], {"axis": 1}),
]


@pytest.mark.parametrize(("op", "constants", "attributes"), MOVES)
def test_moves(op, constants, attributes):
    x = np.concatenate([A, B[:, :1]], axis=1)
    made = OneNode(op, x, constants=constants, **attributes)
    limits, honest = made.limits(), made.run()
    assert limits.mid.shape == honest.shape and limits.is_exact
    assert refused(honest, limits) == 0
    assert refused(np.roll(honest, 1, axis=-1), limits) > honest.size / 8


def test_depth_to_space_in_the_other_order_is_refused():
    x = np.concatenate([A, B, C[:, :2]], axis=1)
    first, other = (OneNode("DepthToSpace", x, blocksize=2, mode=mode) for mode in ("DCR", "CRD"))
    assert refused(other.run(), first.limits()) > x.size / 2


def test_integers_are_exact_and_their_division_truncates():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["d"], axis=0),
        helper.make_node("Div", ["d", "n"], ["q"]),
        helper.make_node("Range", ["zero", "d0", "one"], ["i"]),
        helper.make_node("Squeeze", ["q"], ["d0"]),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    constants = {
        "two": np.array([1], np.int64),
        "n": np.array([2], np.int64),
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
    }
    model = make_model(nodes, (1, 7), constants)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.shape.dim.add()
    found = interpret(Graph(model), {"x": Bound.exact(np.zeros((1, 7)), "fp32")}, Contract())
    assert found.tensors["q"].mid.tolist() == [3] and found.tensors["q"].is_exact
    assert found.tensors["y"].mid.tolist() == [0, 1, 2]
