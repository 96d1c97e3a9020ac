"""Tables of node cases: written and read, held against another, and how a case's end becomes a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.cases import nodes_judge as nodes
from pytest_trt.cases.nodes import NodeCase
from pytest_trt.cases.nodes_judge import conclude, differences, normalise, precision_of
from pytest_trt.cases.nodes_table import (
    CHANGES,
    Change,
    Row,
    Table,
    by_operator,
    diff_tables,
    line_of,
    read_table,
    row_of,
    write_table,
)
from pytest_trt.errors import InputError, UnsupportedError
from pytest_trt.records import Finding, Verdict
from pytest_trt.runtime.contained import Ended

ROWS = {
    "test_abs": Row("Abs", "builds"),
    "test_add": Row("Add", "builds", "with y constant"),
    "test_cos": Row("Cos", "refused", 'no "cos" in µTRT'),
    "test_sin": Row("Sin", "not applicable", "string tensors"),
}
TABLE = Table("build", "tensorrt_rtx", "1.7.1.116", "l4", "1.23.2", ROWS)


def make_case(kind=TensorProto.FLOAT, want=(1.0, 2.0), operator="Abs", inputs=None):
    value = helper.make_tensor_value_info
    node = helper.make_node(operator, ["x"], ["y"])
    graph = helper.make_graph([node], "g", [value("x", kind, [2])], [value("y", kind, [2])])
    data = helper.make_model(graph).SerializeToString()
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    return NodeCase(
        "test_it", operator, data, inputs or {"x": np.ones(2, dtype)}, {"y": np.array(want, dtype)}
    )


def test_a_table_is_read_as_it_was_written_one_line_a_case(tmp_path):
    path = tmp_path / "deep" / TABLE.file_name
    assert path.name == "tensorrt_rtx-1.7.1.116-l4-onnx-1.23.2.json"
    write_table(TABLE, path)
    write_table(read_table(path), path)
    assert read_table(path) == TABLE and [p.name for p in path.parent.iterdir()] == [path.name]
    lines = path.read_text(encoding="utf-8").splitlines()
    assert line_of("test_abs", ROWS["test_abs"]) in lines and sum("test_" in line for line in lines) == len(
        ROWS
    )
    assert TABLE.counts == {"builds": 2, "refused": 1, "not applicable": 1}
    assert by_operator(TABLE)["Cos"] == {"refused": 1}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "cases": {"a": ["b"]}}'])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "file.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"file\.json"):
        read_table(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_table(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("builds", "refused", "lost"),
        ("supported", "not applicable", "lost"),
        ("builds", "wrong", "now wrong"),
        ("refused", "wrong", "now wrong"),
        ("refused", "crashed", "now crashes"),
        ("supported", "hung", "now crashes"),
        ("refused", "builds", "gained"),
        ("crashed", "supported", "gained"),
        ("not applicable", "refused", "other words"),
        ("wrong", "refused", "other words"),
        (None, "builds", "added"),
        (None, "wrong", "now wrong"),
        ("builds", None, "dropped"),
        ("builds", "builds", None),
    ],
)
def test_each_change_has_its_class(old, new, kind):
    def table(outcome):
        return replace(TABLE, rows={} if outcome is None else {"test_x": Row("X", outcome)})

    assert [change.kind for change in diff_tables(table(old), table(new))] == ([kind] if kind else [])


def test_changes_are_told_the_worst_first():
    new = replace(
        TABLE,
        rows={
            "test_abs": Row("Abs", "refused", "gone"),
            "test_add": Row("Add", "builds"),
            "test_cos": Row("Cos", "crashed", "signal SIGSEGV"),
        },
    )
    found = diff_tables(TABLE, new)
    assert [c.kind for c in found] == ["now crashes", "lost", "dropped", "other words"]
    assert [CHANGES.index(c.kind) for c in found] == sorted(CHANGES.index(c.kind) for c in found)
    assert str(found[1]) == "lost: test_abs: builds -> refused (gone)"
    assert str(Change("added", "test_n", None, Row("N", "builds"))) == "added: test_n: none -> builds"


@pytest.mark.parametrize(
    ("ended", "outcome", "words"),
    [
        (Ended("k", "done", ["refused", "no"]), "refused", "no"),
        (Ended("k", "crashed", None, "signal SIGSEGV"), "crashed", "crashed: signal SIGSEGV"),
        (Ended("k", "raised", None, "ValueError: a\n  b"), "crashed", "raised: ValueError: a b"),
        (Ended("k", "hung", None, "no end within 1 s"), "hung", "no end within 1 s"),
    ],
)
def test_the_end_of_a_process_becomes_a_row(ended, outcome, words):
    assert row_of(make_case(), ended) == Row("Abs", outcome, words)


def test_words_have_nothing_of_one_run_or_machine():
    text = (
        "IBuilder::buildSerializedNetwork: Error Code 4: at 0x7f12ab in /_src/optimizer/api/network.cpp:4023 "
        "[tactic.cpp::pick::12] __mye4711\nsecond line"
    )
    error = UnsupportedError("what", why=text)
    assert normalise(error) == "Error Code 4: at 0x in network.cpp [tactic.cpp::pick] __mye"
    assert (
        len(normalise(UnsupportedError("x" * 500))) == 140 and normalise(UnsupportedError("what")) == "what"
    )


@pytest.mark.parametrize(
    ("kind", "got", "agrees"),
    [
        (TensorProto.FLOAT, [1.0005, 2.0], True),
        (TensorProto.FLOAT, [1.002, 2.0], False),
        (TensorProto.FLOAT, [np.nan, 2.0], False),
        (TensorProto.FLOAT16, [1.003, 2.0], True),
        (TensorProto.FLOAT16, [1.01, 2.0], False),
        (TensorProto.INT32, [1, 2], True),
        (TensorProto.INT32, [1, 3], False),
    ],
)
def test_agreement_with_the_expected_outputs(kind, got, agrees):
    case = make_case(kind)
    values = np.array(got).astype(case.outputs["y"].dtype)
    assert (differences(case, {"y": values}) is None) == agrees


def test_another_shape_or_type_is_a_difference():
    case = make_case()
    assert "has shape (1, 2)" in differences(case, {"y": np.ones((1, 2), np.float32)})
    assert "is float64" in differences(case, {"y": np.ones(2)})
    assert (
        differences(make_case(want=(np.nan, np.inf)), {"y": np.array([np.nan, np.inf], np.float32)}) is None
    )


def test_both_judgements_have_to_be_good():
    finding = Finding("interval", "violates", tensor="y", rule="r")
    empty = Finding("compared", "violates", note="nothing was compared")
    assert conclude(Verdict("conforms"), None) == ("supported", "conforms")
    assert conclude(Verdict("conforms"), "off")[0] == "wrong"
    assert conclude(Verdict("violates", (finding,)), None)[0] == "wrong"
    assert conclude(Verdict("violates", (empty,)), None) == ("supported", "no elements")
    assert conclude(Verdict("violates", (empty,)), "shape")[0] == "wrong"
    assert conclude(Verdict("unjudged"), None) == ("supported", "agrees")
    assert conclude(Verdict("mistrusted"), None) == ("supported", "agrees, mistrusted")
    assert conclude(Verdict("unjudged"), "off") == ("wrong", "off") and conclude(None, None)[0] == "supported"


def test_what_a_tensorrt_cannot_hold_is_named():
    members = {"FLOAT", "HALF", "INT64"}
    assert make_case().lacks(members) is None and make_case(TensorProto.DOUBLE).lacks(members) is None
    assert make_case(TensorProto.INT16).lacks(members) == "int16 tensors"
    assert (
        make_case(TensorProto.STRING, want=("a", "b"), inputs={"x": ["a"]}).lacks(members) == "string tensors"
    )
    assert make_case(operator="Bernoulli").draws() == "Bernoulli" and make_case().draws() is None
    assert [
        precision_of(make_case(getattr(TensorProto, k))) for k in ("FLOAT", "FLOAT16", "BFLOAT16", "INT32")
    ] == [
        "fp32",
        "fp16",
        "bf16",
        "fp32",
    ]


def test_refused_parameters_are_tried_as_constants_and_what_cannot_be_fed_is_not_tried():
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [2]), value("s", TensorProto.INT64, [1])],
        [value("y", TensorProto.FLOAT, [2])],
    )
    x, s = np.ones(2, np.float32), np.array([2], np.int64)
    case = NodeCase("n", "Reshape", helper.make_model(graph).SerializeToString(), {"x": x, "s": s}, {"y": x})
    tried = []

    def attempt(form, *, takes):
        tried.append(tuple(form.inputs))
        if tuple(form.inputs) not in takes:
            raise UnsupportedError("no", why=f"refused with {','.join(form.inputs)}")
        return "builds", ""

    def ends(takes, lack=lambda form: None):
        tried.clear()
        return nodes._in_two_forms(case, lack, lambda form: attempt(form, takes=takes))

    assert ends([("x", "s")]) == ("builds", "") and tried == [("x", "s")]
    assert ends([("x",)]) == ("builds", "with s constant") and tried == [("x", "s"), ("x",)]
    assert ends([]) == ("refused", "refused with x")

    def no_sizes(form):
        return "int64 tensors" if "s" in form.inputs else None

    assert ends([("x",)], no_sizes) == ("builds", "with s constant") and tried == [("x",)]
    assert ends([], lambda form: "int64 tensors") == ("not applicable", "int64 tensors") and not tried
