"""The table of known limits: what it expects of a model, and what contradicts it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.cases import limits
from pytest_trt.cases.limits import (
    BUILDS,
    FALLS_BACK,
    FALLS_BACK_16,
    REFUSED,
    Expectation,
    compare,
    expected_outcome,
    parse,
)
from pytest_trt.errors import SettingsError

RTX = {"product": "tensorrt_rtx", "version": "1.7.1.116"}
ROW = """
[{name}]
product = "tensorrt_rtx"
since = "1.7"
until = "{until}"
operators = ["Conv"]
precisions = ["{precision}"]
sm = [75, 75]
when = ["{when}"]
outcome = "{outcome}"
message = {message}
reason = "no kernel"
seen = "1.7.1.116, 2026-11-22"
"""


def row(name="a", until="", precision="fp32", when="3d", outcome=REFUSED, message='["no"]'):
    return ROW.format(
        name=name, until=until, precision=precision, when=when, outcome=outcome, message=message
    )


def model(operator, *, weights=None, name="node", **attributes):
    inputs, tensors = ["x"], []
    if weights is not None:
        inputs.append("w")
        tensors.append(numpy_helper.from_array(np.ones(weights, np.float32), "w"))
    node = helper.make_node(operator, inputs, ["y"], name=name, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_table_is_read():
    names = [limit.name for limit in limits.table()]
    assert names == sorted(names)
    assert "turing-gemm-fp32" in names


@pytest.mark.parametrize(
    ("operator", "weights", "attributes", "precision", "sm", "outcome", "name"),
    [
        ("Gemm", (4, 4), {}, "fp32", 75, REFUSED, "turing-gemm-fp32"),
        ("Gemm", (4, 4), {}, "fp16", 75, BUILDS, None),
        ("MatMul", (4, 4), {}, "int8", 75, REFUSED, "turing-gemm-fp32"),
        ("Gemm", (4, 4), {}, "fp32", 86, BUILDS, None),
        ("Conv", (4, 4, 3, 3), {}, "int8", 75, FALLS_BACK, "turing-conv-int8-float"),
        ("Conv", (4, 4, 3, 3), {}, "int8", 80, BUILDS, None),
        ("Conv", (4, 4, 3, 3, 3), {}, "fp32", 75, REFUSED, "turing-conv3d-fp32"),
        ("Conv", (4, 4, 3, 3), {"dilations": [1, 1]}, "fp32", 75, BUILDS, None),
        ("ConvTranspose", (4, 4, 3, 3), {}, "int8", 120, FALLS_BACK, "deconv-int8-float"),
        ("ConvTranspose", (4, 4, 3, 3), {"strides": [2, 2]}, "fp16", 89, BUILDS, None),
        ("ConvTranspose", (4, 4, 3, 3), {"dilations": [2, 2]}, "fp16", 89, BUILDS, None),
        # A stride on one axis and a dilation on the other are enough.
        (
            "ConvTranspose",
            (4, 4, 3, 3),
            {"strides": [2, 1], "dilations": [1, 2]},
            "fp16",
            89,
            REFUSED,
            "deconv-strided-dilated",
        ),
        ("ConvTranspose", (4, 4, 3, 3), {}, "bf16", 89, REFUSED, "deconv-bf16"),
        ("Relu", None, {}, "bf16", 75, REFUSED, "bf16-needs-ampere"),
        ("Relu", None, {}, "int8", 75, BUILDS, None),
        ("MaxPool", None, {"kernel_shape": [2, 2], "dilations": [1, 2]}, "fp32", 89, REFUSED, "pool-dilated"),
    ],
)
def test_expected_outcome(operator, weights, attributes, precision, sm, outcome, name):
    expected = expected_outcome(model(operator, weights=weights, **attributes), precision, sm=sm, **RTX)
    assert expected.outcome == outcome
    assert name in [limit.name for limit in expected.limits] or name is None
    assert expected.known


@pytest.mark.parametrize(
    ("operator", "shape", "hybrid", "sm", "outcome", "name"),
    [
        ("MatMul", (4, 4), "fp16", 75, BUILDS, None),  # refused as INT8 alone, which is FP32 there
        ("Conv", (4, 4, 3, 3, 3), "fp16", 75, FALLS_BACK_16, "turing-conv-int8-fp16"),
        ("Conv", (4, 4, 3, 3), "fp16", 80, BUILDS, None),
        ("ConvTranspose", (4, 4, 3, 3), "fp16", 89, FALLS_BACK_16, "deconv-int8-fp16"),
        ("ConvTranspose", (4, 4, 3, 3), "bf16", 89, REFUSED, "deconv-bf16"),
        ("Conv", (4, 4, 3, 3), "bf16", 75, REFUSED, "bf16-needs-ampere"),
    ],
)
def test_expected_outcome_of_int8_beside_16_bits(operator, shape, hybrid, sm, outcome, name):
    expected = expected_outcome(model(operator, weights=shape), "int8", sm=sm, hybrid=hybrid, **RTX)
    assert expected.outcome == outcome
    assert [limit.name for limit in expected.limits] == ([] if name is None else [name])
    other = expected_outcome(model(operator, weights=shape), "fp16", sm=sm, hybrid=hybrid, **RTX)
    assert other == expected_outcome(model(operator, weights=shape), "fp16", sm=sm, **RTX)


def test_fallback_is_told_by_node():
    expected = expected_outcome(model("Conv", weights=(4, 4, 3, 3), name="stem"), "int8", sm=75, **RTX)
    assert set(expected.fallbacks) == {"stem"}
    assert expected.working == ("stem",)


def test_node_without_a_name_gets_the_name_of_the_rewrite():
    assert limits.describe(model("Conv", weights=(4, 4, 3, 3), name=""))[0].name == "Conv_0"


@pytest.mark.parametrize("source", ["initializer", "constant", "dequantized"])
def test_spatial_rank_is_found_behind_constants_and_scales(source):
    conv = model("Conv", weights=(4, 4, 3, 3, 3))
    if source == "constant":
        tensor = conv.graph.initializer.pop()
        conv.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    elif source == "dequantized":
        conv.graph.initializer[0].name = "stored"
        conv.graph.node.insert(0, helper.make_node("DequantizeLinear", ["stored", "s"], ["w"]))
    assert limits.describe(conv)[-1].traits == {"3d"}


@pytest.mark.parametrize(
    ("product", "version"), [("tensorrt", "10.13.3.9"), ("tensorrt_rtx", "1.6.0.5"), ("tensorrt_rtx", "1.5")]
)
def test_unknown_tensorrt_has_no_expectation(product, version):
    expected = expected_outcome(
        model("Gemm", weights=(4, 4)), "fp32", sm=75, product=product, version=version
    )
    assert not expected.known
    assert compare(expected, REFUSED, words=["anything"]) == ()


def test_newer_version_keeps_the_rows():
    expected = expected_outcome(
        model("Gemm", weights=(4, 4)), "fp32", sm=75, product="tensorrt_rtx", version="1.10.0"
    )
    assert expected.outcome == REFUSED


def test_until_is_the_first_version_without_the_limit(monkeypatch):
    monkeypatch.setattr(limits, "table", lambda: parse(row(until="1.8")))
    conv = model("Conv", weights=(4, 4, 3, 3, 3))
    outcomes = [
        expected_outcome(conv, "fp32", sm=75, product="tensorrt_rtx", version=version).outcome
        for version in ("1.7.1.116", "1.7.9", "1.8.0", "1.10")
    ]
    assert outcomes == [REFUSED, REFUSED, BUILDS, BUILDS]


def refused_by(message="no"):
    limit = parse(row(message=f'["{message}"]'))[0]
    return Expectation(REFUSED, refusals=(limit,))


def falling_back(*nodes):
    limit = parse(row(name="b", outcome=FALLS_BACK, message="[]"))[0]
    return Expectation(FALLS_BACK, fallbacks=dict.fromkeys(nodes, limit), working=("c", "d"))


@pytest.mark.parametrize(
    ("expected", "ended", "complaint"),
    [
        (Expectation(BUILDS), {"outcome": BUILDS}, None),
        (
            Expectation(BUILDS),
            {"outcome": REFUSED, "words": ["Error 1: bad"]},
            "refused, and the table expects 'builds': Error 1: bad",
        ),
        (refused_by(), {"outcome": REFUSED, "words": ["there is no kernel"]}, None),
        (
            refused_by(),
            {"outcome": REFUSED, "words": ["out of memory"]},
            "refused in other words than those of a: out of memory",
        ),
        (refused_by(), {"outcome": REFUSED}, "refused in other words than those of a: no words"),
        (refused_by(), {"outcome": BUILDS}, "built, and the table expects a refusal: [a] says"),
        (
            Expectation(BUILDS),
            {"outcome": FALLS_BACK, "fallback": ["c"]},
            "node 'c' fell back to another type, and no row of the table says so",
        ),
        (falling_back("c"), {"outcome": FALLS_BACK, "fallback": ["c"]}, None),
        (falling_back("c"), {"outcome": BUILDS}, "node 'c' ran in the type asked for: [b] says"),
        (falling_back("c"), {"outcome": FALLS_BACK, "unproven": ["c"]}, None),
        (
            falling_back("c"),
            {"outcome": FALLS_BACK, "fallback": ["c", "d"]},
            "node 'd' fell back to another type",
        ),
    ],
)
def test_compare_is_strict_in_both_directions(expected, ended, complaint):
    lines = compare(expected, ended.pop("outcome"), **ended)
    if complaint is None:
        assert lines == ()
    else:
        assert len(lines) == 1
        assert lines[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (row(name="b") + row(name="a"), "[a] is not in its place"),
        (row(precision="fp12"), "precisions has 'fp12'"),
        (row(when="4d"), "when has '4d'"),
        (row(outcome="explodes"), "outcome is 'explodes'"),
        (row(message="[]"), "a refusal needs `message`"),
        (row(outcome=FALLS_BACK), "a refusal needs `message`"),
        (row(precision="int8+fp16", outcome=FALLS_BACK, message="[]"), "int8+fp16 has the outcome"),
        (row(precision="int8", outcome=FALLS_BACK_16, message="[]"), "int8 has the outcome"),
        (row() + 'color = "red"\n', "unknown fields ['color']"),
        (row().replace('since = "1.7"\n', ""), "missing ['since']"),
    ],
)
def test_bad_tables_are_refused(text, words):
    with pytest.raises(SettingsError, match="limit") as caught:
        parse(text)
    assert words in str(caught.value)


def test_model_is_not_changed():
    conv = model("Conv", weights=(4, 4, 3, 3), name="")
    before = conv.SerializeToString()
    expected_outcome(conv, "int8", sm=75, **RTX)
    assert conv.SerializeToString() == before
    assert isinstance(conv, onnx.ModelProto)
