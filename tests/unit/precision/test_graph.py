from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import PrecisionError
from pytest_trt.precision import graph as graphs

from .models import build, conv_relu, value


def test_names_are_never_given_twice():
    names = graphs.Names(conv_relu().graph)
    assert [names.fresh("x"), names.fresh("x"), names.fresh("new")] == ["x_2", "x_3", "new"]
    assert names.fresh("conv") == "conv_2", "a node's name is taken too"


def test_an_old_model_is_lifted_and_a_new_one_is_left():
    old = conv_relu(opset=11)
    assert graphs.opset(graphs.at_least(old, 13, "INT8")) == 13
    assert graphs.at_least(old, 11, "INT8") is old


def test_a_model_that_onnx_cannot_lift_is_our_own_error():
    model = build(
        [helper.make_node("NoSuchOperator", ["x"], ["y"])], [value("x", [1])], [value("y", [1])], opset=11
    )
    with pytest.raises(PrecisionError, match="INT8 needs ONNX operator set 13, and the model is at 11"):
        graphs.at_least(model, 13, "INT8")


def test_settling_makes_constants_initializers_and_names_nodes():
    model = build(
        [
            helper.make_node("Constant", [], ["a"], value=numpy_helper.from_array(np.ones(2, np.float32))),
            helper.make_node("Constant", [], ["b"], value_floats=[1.0, 2.0]),
            helper.make_node("Constant", [], ["i"], value_int=1),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ],
        [],
        [value("y", [2])],
    )
    graphs.settle(model)
    assert [(n.op_type, n.name) for n in model.graph.node] == [("Constant", "Constant_0"), ("Add", "Add_1")]
    assert {t.name for t in model.graph.initializer} == {"a", "b"}
    onnx.checker.check_model(model)


def test_settling_keeps_a_constant_that_is_an_output():
    model = build([helper.make_node("Constant", [], ["y"], value_float=1.0)], [], [value("y", [])])
    graphs.settle(model)
    assert model.graph.node[0].op_type == "Constant"


def test_settling_frees_initializers_of_old_models_from_the_inputs():
    model = conv_relu()
    model.ir_version = 3
    model.graph.input.extend([value("w", [4, 3, 3, 3]), value("b", [4])])
    graphs.settle(model)
    assert [v.name for v in model.graph.input] == ["x"] and model.ir_version == 4


def test_what_no_input_changes_is_found():
    model = build(
        [
            helper.make_node("Neg", ["k"], ["m"]),
            helper.make_node("Add", ["x", "m"], ["y"]),
        ],
        [value("x", [1])],
        [value("y", [1])],
        {"k": np.ones(1, np.float32)},
    )
    assert graphs.computed_constants(model.graph) == {"k", "m"}


def test_subgraphs_are_readers_of_what_they_capture():
    inner = helper.make_graph([helper.make_node("Neg", ["r"], ["o"])], "inner", [], [value("o", [1])])
    fork = helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner)
    model = build(
        [helper.make_node("Relu", ["x"], ["r"]), fork],
        [value("x", [1]), value("flag", [], TensorProto.BOOL)],
        [value("y", [1])],
    )
    assert graphs.captured(fork) == {"r"}
    assert [n.op_type for n in graphs.consumers(model.graph)["r"]] == ["If"]


@pytest.mark.parametrize("raw", [True, False])
def test_bf16_is_read_as_its_values_by_every_onnx(raw):
    bits = np.array([0x3F80, 0xC040, 0x0001, 0x7F7F], np.uint16)
    tensor = TensorProto(name="t", data_type=TensorProto.BFLOAT16, dims=[2, 2])
    if raw:
        tensor.raw_data = bits.astype("<u2").tobytes()
    else:
        tensor.int32_data.extend(bits.tolist())
    got = graphs.array_of(tensor)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.float32([[1, -3], [2**-133, 3.3895313892515355e38]]))
