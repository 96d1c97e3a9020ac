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
        (b"\xff\xfe not onnx", "are not an ONNX model"),
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
