"""Which networks are asked for relations between rows: those that mix their batch on purpose are not."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.check import relations
from pytest_trt.check.graph import Graph
from pytest_trt.check.workbench import Workbench
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from tests.unit.check.models import conv_model, make_model

ROWS = {relations.IDENTICAL_ROWS, relations.PERMUTATION, relations.BATCH_ONE}
PROFILE = {"x": ((1, 6), (4, 6), (8, 6))}


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, inputs, [output], name=output, **attributes)


def judge(model, profile=PROFILE, precision="fp32"):
    made = Settings(runtime="emulator", gpu="t4")
    return Workbench(made, discover(made)).judge(model, precision=precision, profile=profile)


MIXED = {
    "gram": [node("Transpose", ["x"], "t", perm=[1, 0]), node("MatMul", ["x", "t"])],
    "softmax over the batch": [node("Softmax", ["x"], axis=0)],
    "minus the first row": [node("Gather", ["x", "zero"], "g"), node("Sub", ["x", "g"])],
    "minus the mean": [node("ReduceMean", ["x", "zero1"], "m"), node("Sub", ["x", "m"])],
    "doubled": [node("Concat", ["x", "x"], axis=0)],
}


@pytest.mark.parametrize("name", sorted(MIXED))
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_network_that_mixes_its_batch_is_not_asked_for_rows(name, precision):
    constants = {"zero": np.zeros(1, np.int64), "zero1": np.zeros(1, np.int64)}
    used = {n for made in MIXED[name] for n in made.input}
    model = make_model(MIXED[name], ("N", 6), {k: v for k, v in constants.items() if k in used}, opset=18)
    if name in ("gram", "doubled"):  # the second axis, or the first, is another one
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N" if name == "gram" else "M"
    verdict = judge(model, precision=precision)
    assert verdict.passed, verdict.findings
    assert not ROWS & set(verdict.relations)
    assert relations.REPEAT in verdict.relations


ROW_WISE = {
    "activation": [node("Tanh", ["x"])],
    "bias": [node("Add", ["x", "b"])],
    "matrix": [node("MatMul", ["x", "w"])],
    "reduction within rows": [node("ReduceMean", ["x", "one"], "m"), node("Sub", ["x", "m"])],
}


@pytest.mark.parametrize("name", sorted(ROW_WISE))
def test_a_network_that_works_row_by_row_is(name):
    constants = {
        "b": np.ones(6, np.float32),
        "w": np.eye(6, dtype=np.float32),
        "one": np.ones(1, np.int64),
    }
    used = {n for made in ROW_WISE[name] for n in made.input}
    model = make_model(ROW_WISE[name], ("N", 6), {k: v for k, v in constants.items() if k in used}, opset=18)
    assert set(judge(model).relations) >= ROWS


@pytest.mark.parametrize(
    ("nodes", "constants", "rows"),
    [
        ([node("Add", ["x", "b"])], {"b": np.ones(6)}, True),
        ([node("Add", ["x", "b"])], {"b": np.ones((4, 6))}, False),
        ([node("Gemm", ["x", "w"], transA=1)], {"w": np.ones((6, 6))}, False),
        ([node("Softmax", ["x"], axis=1)], {}, True),
        ([node("Softmax", ["x"], axis=-2)], {}, False),
        ([node("MatMul", ["x", "x"])], {}, False),
        ([node("ReduceSum", ["x"])], {}, False),
    ],
)
def test_row_wise_by_construction(nodes, constants, rows):
    made = {name: values.astype(np.float32) for name, values in constants.items()}
    graph = Graph(make_model(nodes, ("N", 6), made))
    assert relations.works_row_by_row(graph) is rows


def test_convolutions_are_row_wise():
    assert relations.works_row_by_row(Graph(conv_model(relu=True)))
    assert relations.works_row_by_row(Graph(make_model([node("Erf", ["x"])], ("N", 6))))
