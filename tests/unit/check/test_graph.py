from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from pytest_trt.check.graph import Graph, load_model
from pytest_trt.errors import ModelError
from tests.unit.check.models import conv_model, make_model


def test_a_model_comes_from_a_path_bytes_or_itself(tmp_path):
    model = conv_model()
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path))
    for source in (path, str(path), path.read_bytes(), model):
        assert load_model(source).graph.node[0].op_type == "Conv"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.onnx", "no model file 'nowhere.onnx'"),
        (b"\xff\xfe not onnx", "is not an ONNX model"),
        (b"", "holds no ONNX graph"),
        (42, "a model of type int cannot be read"),
    ],
)
def test_what_is_no_model_is_refused_in_words(source, words):
    with pytest.raises(ModelError, match=words):
        load_model(source)


def test_a_file_that_is_not_onnx_names_the_file(tmp_path):
    path = tmp_path / "cat.onnx"
    path.write_bytes(b"\x08\x96\x01garbage")
    with pytest.raises(ModelError, match=r"cat\.onnx"):
        load_model(path)


def test_an_invalid_graph_is_refused_with_the_checkers_words():
    broken = make_model([helper.make_node("Conv", ["x"], ["y"])], ("N", 3, 6, 6))
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load_model(broken)


def test_the_batch_symbol_is_shared_by_all_inputs_and_outputs():
    assert Graph(conv_model()).batch_symbol == "N"
    assert Graph(make_model([helper.make_node("Relu", ["x"], ["y"])], (2, 3))).batch_symbol is None


def test_readers_producers_and_constants():
    graph = Graph(conv_model(relu=True))
    assert graph.producer["y"].op == "Relu"
    assert [node.name for node in graph.readers["c"]] == ["relu"]
    assert graph.constant("w").mid.shape == (12, 3, 3, 3)
    assert graph.constant("x") is None
    assert graph.kinds["c"] == "fp32"
    assert graph.dynamic == {"x": ("N", 3, 6, 6)}


def test_the_digest_is_of_the_content():
    assert Graph(conv_model()).digest == Graph(conv_model()).digest
    assert Graph(conv_model()).digest != Graph(conv_model(seed=1)).digest


def test_constants_keep_their_values():
    model = make_model(
        [helper.make_node("Add", ["x", "k"], ["y"])], ("N", 2), {"k": np.array([1.5, -2.0], np.float16)}
    )
    assert Graph(model).constant("k").kind == "fp16"
    assert Graph(model).constant("k").mid.tolist() == [1.5, -2.0]


def test_the_words_of_onnx_have_no_empty_lines():
    model = conv_model()
    model.graph.node[0].op_type = "Convv"
    with pytest.raises(ModelError) as caught:
        load_model(model)
    assert all(caught.value.why) and len(caught.value.why) > 1


def test_local_functions_are_inlined_so_that_their_operators_are_judged():
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    square = helper.make_function(
        "mine", "Square", ["a"], ["b"], [helper.make_node("Mul", ["a", "a"], ["b"])], imports[:1]
    )
    values = [helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Square", ["x"], ["y"], domain="mine")], "g", values[:1], values[1:]
    )
    model = helper.make_model(graph, opset_imports=imports, functions=[square], ir_version=8)
    assert [node.op for node in Graph(load_model(model)).nodes] == ["Mul"]
    assert [node.op_type for node in model.graph.node] == ["Square"], "the caller's model is untouched"
