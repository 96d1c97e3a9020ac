"""What a dump of layers holds and says, and what cannot be dumped."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.check import bisect
from pytest_trt.check.bisect import Bisection, Search
from pytest_trt.check.dump import dump_layers
from pytest_trt.check.final import FinalLimits
from pytest_trt.check.graph import Graph
from pytest_trt.check.views import cut_model, describe_unseen, tensors_to_see
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import UnsupportedError, UsageError
from pytest_trt.numerics.bounds import Contract
from pytest_trt.records import Settings
from pytest_trt.report.sections import make_section
from pytest_trt.runtime.load import discover

from .deep_models import SHAPE, deep_model
from .models import make_model

X = {"x": np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)}


def bench(emulate="tensorrt-10.13", **settings):
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate, **settings)
    return Workbench(made, discover(made))


@pytest.fixture(scope="module")
def found():
    return dump_layers(bench(), deep_model(), X, precision="fp32")


def test_it_holds_every_tensor_as_the_reference_has_it(found):
    graph = Graph(deep_model())
    assert list(found.tensors) == [name for node in graph.nodes for name in node.outputs]
    np.testing.assert_array_equal(found.tensors["r0"], np.maximum(found.tensors["c0"], 0))
    np.testing.assert_allclose(found.outputs["y"], found.tensors["y"], rtol=1e-5)
    row = found.row("c0")
    assert (row.layer, row.op, row.kind, row.status, row.bad) == ("conv0", "Conv", "fp32", "conforms", 0)
    assert 0 < row.error <= row.limit
    with pytest.raises(UsageError, match="no tensor 'nope'"):
        found.row("nope")


def test_it_reads_as_a_table(found):
    lines = str(found).splitlines()
    assert lines[0].startswith("Layers in fp32: 17 tensors, 0 outside of their limits; emulator")
    head = next(line for line in lines if line.split()[:2] == ["layer", "tensor"])
    assert "min" in head and "worst error" in head and "limit" in head
    conv = next(line for line in lines if line.split()[:1] == ["conv0"])
    assert "4x12x8x8" in conv and "conforms" in conv
    section = make_section(found.section())
    assert len(section["rows"]) == 17 and json.dumps(section)


def test_not_finite_values_and_shapes_are_told():
    model = make_model([helper.make_node("Log", ["x"], ["y"], name="log")], SHAPE, {})
    found = dump_layers(bench(), model, X, precision="fp32")
    assert "not finite)" in str(found)


@pytest.mark.parametrize(
    ("emulate", "how", "words"),
    [
        ("tensorrt-8.6", "debug", "has no debug tensors"),
        ("tensorrt-10.0", "unfused", "without breaking fusion"),
    ],
)
def test_what_a_tensorrt_lacks_is_refused_in_words(emulate, how, words):
    with pytest.raises(UnsupportedError, match=words):
        dump_layers(bench(emulate), deep_model(), X, precision="fp32", how=how)


def test_another_way_to_see_is_refused():
    with pytest.raises(UsageError, match="how='xray'"):
        dump_layers(bench(), deep_model(), X, precision="fp32", how="xray")


def test_implicit_int8_is_dumped_from_marks_alone():
    workbench = bench(int8="implicit")
    found = dump_layers(workbench, deep_model(), X, precision="int8")
    assert found.how == "marked outputs" and found.passed and len(found.rows) > 10
    with pytest.raises(UnsupportedError, match="implicit INT8"):
        dump_layers(workbench, deep_model(), X, precision="int8", how="debug")


def test_a_tensor_that_is_not_seen_has_its_reason():
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["inner"])],
        "then",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [2, 3])],
    )
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Relu", ["x"], ["a"], name="first"),
        helper.make_node("If", ["c"], ["b"], name="choice", then_branch=body, else_branch=body),
        helper.make_node("Reshape", ["b", "s"], ["y"], name="again"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    flag = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = Graph(
        helper.make_model(
            helper.make_graph(nodes, "g", [ends[0], flag], ends[1:]),
            opset_imports=[helper.make_opsetid("", 17)],
        )
    )
    told = dict(describe_unseen(graph, {"y"}, "unfused debug tensors"))
    assert "loop or conditional" in told["inside of If 'choice'"]
    assert told["s"].startswith("int64") and told["a"] == "nobody reads it"
    assert told["b"].startswith("fused away")
    assert tensors_to_see(graph, {"x"}) == ()
    assert dict(describe_unseen(graph, (), "marked outputs", {"y"}))["b"].startswith("the typed graph has it")


def test_a_network_can_be_cut_off_at_a_tensor():
    graph = Graph(deep_model())
    cut = cut_model(deep_model(), "r1", graph)
    onnx.checker.check_model(cut, full_check=True)
    assert [node.name for node in cut.graph.node] == ["conv0", "relu0", "conv1", "relu1"]
    assert [one.name for one in cut.graph.output] == ["r1"] and len(cut.graph.initializer) == 4


def limits(model, precision="fp32"):
    return FinalLimits(Graph(model), X, Contract(statistics=True), ("direct", "unfused"), precision)


def noisy_model():
    """Return a deep network with an operator that the variance model does not know: noise has to do."""
    model = deep_model()
    for node in model.graph.node:
        if node.name == "pool":
            node.op_type = "GlobalLpPool"
    return model


@pytest.mark.parametrize("make", [deep_model, noisy_model])
def test_outputs_are_judged_from_the_inputs_alone(make):
    from pytest_trt.check.reference import OnnxRuntime

    want = OnnxRuntime(Graph(make())).run(X)
    judge = limits(make())
    assert judge.describe_wrong(want) == ""
    assert "40 of 40 values" in judge.describe_wrong({"y": want["y"] + 0.1})
    assert "shape (3, 10)" in judge.describe_wrong({"y": want["y"][:3]})


class Counting:
    """Views of a network that is wrong unless all of some tensors are marked."""

    def __init__(self):
        self.graph, self.builds = Graph(deep_model()), 0


def search(needed, names, most=64, monkeypatch=None):
    views = Counting()

    def is_wrong(marks):
        views.builds += 1
        return "" if set(needed) <= set(marks) else "wrong"

    if monkeypatch is not None:
        monkeypatch.setattr(bisect, "MOST_BUILDS", most)
    return Search(views, is_wrong, lambda *_: None).run(names, "it is wrong", ends=False)


@pytest.mark.parametrize("needed", [("t0",), ("t15",), ("t3", "t4"), ("t1", "t7", "t14")])
def test_the_fewest_marks_are_found(needed):
    found = search(needed, [f"t{n}" for n in range(16)])
    assert found.mends == needed and found.complete and found.builds <= 16


def test_a_search_that_takes_too_long_is_given_up(monkeypatch):
    found = search(("t1", "t7", "t14"), [f"t{n}" for n in range(16)], most=5, monkeypatch=monkeypatch)
    assert not found.complete and set(found.mends) >= {"t1", "t7", "t14"}
    assert "given up at 5 engines" in "\n".join(found.describe())


def test_marks_that_are_refused_mend_nothing():
    views = Counting()

    def refuse(marks):
        raise UnsupportedError("no")

    assert not Search(views, refuse, lambda *_: None)._mends(("a",))
    assert Bisection("it is wrong").describe() == [
        "without marks: it is wrong",
        "0 engines were built to find that",
    ]
