"""`python -m pytest_trt table`: show, compare, and refuse calibration caches."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.cli import main

CACHE = b"TRT-101303-EntropyCalibration2\nx: 3c010a14\nh: 3d010a14\n"


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "table.cache"
    path.write_bytes(CACHE)
    return path


def test_a_table_is_shown(cache, capsys):
    assert main(["table", str(cache)]) == 0
    shown = capsys.readouterr().out
    assert "TRT 10.13.3, EntropyCalibration2: 2 tensors" in shown and "x: scale 0.00787" in shown


def test_json_has_every_scale(cache, capsys):
    assert main(["table", str(cache), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scales"].keys() == {"x", "h"}


def test_another_version_is_refused_with_the_mend(cache, capsys):
    assert main(["table", str(cache), "--trt", "10.16.1"]) == 1
    shown = capsys.readouterr().out
    assert "10.13.3" in shown and "10.16.1" in shown and "calibrate again" in shown


def test_the_same_version_is_taken(cache):
    assert main(["table", str(cache), "--trt", "10.13.3.9"]) == 0


def test_two_tables_are_compared(cache, tmp_path, capsys):
    other = tmp_path / "other.cache"
    other.write_bytes(CACHE.replace(b"3d010a14", b"3d810a14"))
    assert main(["table", str(cache), "--against", str(other)]) == 1
    assert "h: scale" in capsys.readouterr().out
    assert main(["table", str(cache), "--against", str(cache)]) == 0


def test_tensors_without_a_scale_are_named_before_any_build(cache, tmp_path, capsys):
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["q", "w"], ["y"])],
        "lacking",
        [helper.make_tensor_value_info("q", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        [helper.make_tensor("w", TensorProto.FLOAT, (2, 2), [1.0, 0.0, 0.0, 1.0])],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert main(["table", str(cache), "--model", str(path)]) == 1
    assert "no scale for tensor 'q'" in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"nonsense", b"TRT-101303-EntropyCalibration2\n", None])
def test_what_is_no_table_is_told(tmp_path, capsys, data):
    path = tmp_path / "bad.cache"
    if data is not None:
        path.write_bytes(data)
    assert main(["table", str(path)]) == 2
    assert "bad.cache" in capsys.readouterr().err
