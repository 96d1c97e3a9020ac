"""The rewrites: what they change, that every bit stays, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.errors import ModelError
from pytest_trt.hardware import get
from pytest_trt.lint import lint, mend, rewrite
from tests.unit.precision.models import run

from . import models
from .models import F16, F32, IMAGE, POSITIVE, build, normal, through

MENDABLE = ("prelu-uniform", "noop", "cast-removable", "transpose-pair")


def kinds(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("rule", MENDABLE)
def test_a_fixable_defect_is_gone_and_the_outputs_are_the_same(rule):
    model = POSITIVE[rule]()
    made = mend(model)
    assert made.changes == {rule: 1} and made.compared > 1000
    assert lint(made.model, gpu=get("t4"), precisions=["fp16", "int8"]) == ()
    feed = {"x": normal(*IMAGE)}
    np.testing.assert_array_equal(run(made.model, feed)["y"], run(model, feed)["y"])


@pytest.mark.parametrize("rule", sorted(set(POSITIVE) - set(MENDABLE) - {"weights-beside"}))
def test_everything_else_is_left_alone(rule):
    model = POSITIVE[rule]()
    made = mend(model)
    assert made.changes == {} and made.compared == 0
    assert kinds(made.model) == kinds(model)
    assert not any(a.fixable for a in lint(model, gpu=get("t4"), precisions=["fp16"]))


def test_chains_go_as_a_whole():
    model = through(
        ("Identity", "c", "i"),
        ("Dropout", "i", "o"),
        ("Cast", "o", "k", {"to": F32}),
        ("Transpose", "k", "t", {"perm": [0, 2, 3, 1]}),
        ("Transpose", "t", "d", {"perm": [0, 3, 1, 2]}),
    )
    made = mend(model)
    assert kinds(made.model) == ["Conv", "Relu"]
    assert made.changes == {"noop": 2, "cast-removable": 1, "transpose-pair": 1}


def test_an_output_keeps_its_name():
    made = mend(build([("Relu", "x", "r"), ("Exp", "r", "e"), ("Identity", "e", "y")]))
    assert kinds(made.model) == ["Relu", "Exp"] and made.model.graph.node[1].output[0] == "y"


def test_an_output_that_needs_its_node_keeps_it():
    for nodes in ([("Identity", "x", "y")], [("Relu", "x", "y"), ("Identity", "y", "z")]):
        model = build(nodes, outputs=("y", "z")[: len(nodes)])
        assert kinds(mend(model).model) == kinds(model)


def test_readers_inside_of_an_if_follow():
    branches = {}
    for branch in ("then_branch", "else_branch"):
        output = helper.make_tensor_value_info(f"{branch}_y", F32, None)
        inner = helper.make_node("Exp", ["i"], [f"{branch}_y"])
        branches[branch] = helper.make_graph([inner], branch, [], [output])
    model = build(
        [("Relu", "x", "r"), ("Identity", "r", "i"), ("If", "k", "y", branches)], {"k": np.bool_(True)}
    )
    made = mend(model)
    assert kinds(made.model) == ["Relu", "If"] and made.changes == {"noop": 1}


def test_a_cast_pair_goes_and_so_does_the_cast_that_only_fed_it():
    model = build(
        [
            ("Cast", "x", "l", {"to": F16}),
            ("Cast", "l", "h", {"to": F32}),
            ("Cast", "h", "b", {"to": F16}),
            ("Cast", "b", "y", {"to": F32}),
        ]
    )
    made = mend(model)
    assert kinds(made.model) == ["Cast", "Cast"] and made.changes == {"cast-removable": 1}
    feed = {"x": normal(*IMAGE)}
    np.testing.assert_array_equal(run(made.model, feed)["y"], run(model, feed)["y"])


def test_what_rounds_stays():
    model = POSITIVE["cast-rounds"]()
    assert kinds(mend(model).model) == kinds(model)


def test_dynamic_sizes_are_tried_or_given():
    model = build(
        [("Identity", "x", "i"), ("Reshape", "i n", "r"), ("MatMul", "r w", "y")],
        {"n": np.array([0, -1]), "w": normal(3 * 5 * 5, 4)},
        ["N", 3, "H", "W"],
    )
    with pytest.raises(ModelError, match="cannot be shown to compute the same") as caught:
        mend(model)
    assert "--shape" in str(caught.value)
    assert mend(model, shapes={"x": (2, 3, 5, 5)}).compared == 3 * 2 * 4


def test_integers_and_truths_are_drawn_too():
    model = build(
        [("Identity", "x", "i"), ("Not", "i", "y")],
        None,
        ["N", 8],
        TensorProto.BOOL,
        out_kind=TensorProto.BOOL,
    )
    assert mend(model).changes == {"noop": 1}


def to_leaky(slope):
    def change(node, _):
        node.op_type = "LeakyRelu"
        del node.input[1:]
        node.attribute.append(helper.make_attribute("alpha", slope))

    return change


def test_a_rewrite_that_is_not_the_same_is_refused(monkeypatch):
    next_one = float(np.nextafter(np.float32(0.25), np.float32(1)))
    monkeypatch.setattr(rewrite, "_to_leaky", to_leaky(next_one))
    with pytest.raises(ModelError, match="computes another output 'y'") as caught:
        mend(models.prelu([0.25]))
    assert "values differ, by up to" in str(caught.value)


def test_a_rewrite_that_is_not_valid_is_refused(monkeypatch):
    monkeypatch.setattr(rewrite, "_to_leaky", lambda node, _: setattr(node, "op_type", "LeakyRelu"))
    with pytest.raises(ModelError, match="the rewritten model is not valid"):
        mend(models.prelu([0.25]))


def test_another_shape_or_type_is_another_output():
    from pytest_trt.lint.same import compare_outputs

    a, b = build([("Relu", "x", "y")]), build([("Cast", "x", "y", {"to": F16})], out_kind=F16)
    with pytest.raises(ModelError, match="want float16"):
        compare_outputs(a, b, {}, 0)


def test_weights_that_are_not_here_are_not_rewritten():
    with pytest.raises(ModelError, match="weights are not in it"):
        mend(POSITIVE["weights-beside"]())


def test_sequences_are_compared_one_by_one():
    nodes = [("Identity", "x", "i"), ("Relu", "i", "r"), ("SplitToSequence", "r n", "y", {"axis": 1})]
    model = build(nodes, {"n": np.array([5, 27])})
    element = helper.make_tensor_type_proto(F32, None)
    model.graph.output[0].CopyFrom(helper.make_value_info("y", helper.make_sequence_type_proto(element)))
    assert mend(model).compared == 3 * 32 * 8 * 8
