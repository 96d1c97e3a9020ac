"""Where external weights lie: what is found, and what is refused in which words."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from pytest_trt.check.graph import load_model
from pytest_trt.errors import ModelError, UnsupportedError
from pytest_trt.runtime import external
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.external import (
    digest_weights,
    find_weights,
    load_whole,
    read_structure,
    serialize_whole,
)
from pytest_trt.runtime.streaming import can_stream, write_plan

from .external_model import product, save_external


def change(path: Path, **facts: str) -> onnx.ModelProto:
    model = onnx.load(str(path), load_external_data=False)
    tensor = model.graph.initializer[0]
    kept = {entry.key: entry.value for entry in tensor.external_data} | facts
    del tensor.external_data[:]
    for key, value in kept.items():
        tensor.external_data.add(key=key, value=value)
    return model


def test_weights_are_found(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    (found,) = find_weights(read_structure(path), tmp_path)
    assert (found.tensor, found.file, found.offset, found.length) == ("w", tmp_path / "weights.bin", 0, 160)
    whole = load_whole(path)
    assert len(whole.graph.initializer[0].raw_data) == 160
    assert load_model(path).graph.initializer[0].raw_data == whole.graph.initializer[0].raw_data


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"location": "other.bin"}, r"weights of tensor 'w' are missing: no file '.*other.bin'"),
        ({"location": ""}, "no file is named"),
        ({"location": "../weights.bin"}, r"outside of the model's folder: '../weights.bin'"),
        ({"location": "a/../../weights.bin"}, "outside of the model's folder"),
        ({"location": "/etc/passwd"}, "outside of the model's folder"),
        ({"location": "a\0b"}, "no file is named"),
        ({"offset": "8"}, r"are cut: '.*weights.bin' has 160 bytes, and they end at 168"),
        ({"offset": "-8"}, "offset '-8', which is no count"),
        ({"offset": "\u0663"}, "which is no count"),
        ({"length": "12"}, r"have 12 bytes in '.*weights.bin', and need 160"),
        ({"length": "9" * 5000}, "which is no count"),
    ],
)
def test_weights_that_are_not_there_are_named(tmp_path: Path, facts: dict[str, str], words: str) -> None:
    path = save_external(tmp_path)
    with pytest.raises(ModelError, match=words):
        find_weights(change(path, **facts), tmp_path)


def test_length_may_be_left_out(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    model = change(path)
    tensor = model.graph.initializer[0]
    del tensor.external_data[1:]
    assert find_weights(model, tmp_path)[0].length == 160
    tensor.data_type = 99  # a type that is not known: all that the file has
    assert find_weights(model, tmp_path)[0].length == 160
    tensor.data_type, tensor.dims[:] = TensorProto.INT4, [3, 7]
    assert find_weights(model, tmp_path)[0].length == 11


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_facts_are_found_or_refused(location: str, offset: str, length: str) -> None:
    model = product()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=value.encode(errors="ignore").decode())
    with pytest.raises(ModelError, match="weights of tensor 'w'"):
        find_weights(model, "/nowhere")


def test_tensors_of_subgraphs_attributes_and_functions_are_seen(tmp_path: Path) -> None:
    def lost(name: str) -> TensorProto:
        tensor = TensorProto(name=name, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="lost.bin")
        return tensor

    plain = onnx.numpy_helper.from_array(np.zeros(1, np.float32), "plain")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=lost("deep"))], "inner", [], [])
    nodes = [helper.make_node("If", ["b"], ["y"], then_branch=inner, else_branch=inner)]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], [plain]))
    assert [t.name for t in external.tensors_of(model)] == ["plain", "deep", "deep"]
    body = helper.make_node("Constant", [], ["c"], value=lost("in function"))
    model.functions.add(name="f", domain="d").node.append(body)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.name, sparse.indices.name = "values", "indices"
    names = [t.name for t in external.tensors_of(model)]
    assert names == ["plain", "values", "indices", "deep", "deep", "in function"]
    with pytest.raises(ModelError, match="tensor 'deep' are missing"):
        find_weights(model, tmp_path)


def test_more_than_one_message_holds_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_external(tmp_path)
    assert serialize_whole(product()) == product().SerializeToString()
    monkeypatch.setattr(external, "ONE_PIECE", 100)
    with pytest.raises(ModelError, match=r"(?s)ends at 2 GiB in one piece.*BuildRequest.from_file"):
        load_model(path)
    with pytest.raises(ModelError, match=r"(?s)the model has .*BuildRequest.from_file"):
        load_model(product())
    with pytest.raises(ModelError, match=r"the model has 0\.00 GiB"):
        serialize_whole(product())


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        BuildRequest.from_file(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        read_structure(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff\xff")
    with pytest.raises(ModelError, match="is not an ONNX file"):
        read_structure(tmp_path / "bad.onnx")


def test_other_weights_have_another_digest(tmp_path: Path) -> None:
    path = save_external(tmp_path)
    before = digest_weights(path)
    blob = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(blob[:-1] + b"\x41")
    assert len(before) == 64 and digest_weights(path) != before
    onnx.save(product(), str(tmp_path / "whole.onnx"))
    assert digest_weights(tmp_path / "whole.onnx") == ""


def played(version: str) -> object:
    from pytest_trt.records import Settings
    from pytest_trt.runtime.load import discover

    return discover(Settings(runtime="emulator", emulate=version)).executor


def test_bytes_alone_are_refused_with_the_way_out(tmp_path: Path) -> None:
    request = BuildRequest(save_external(tmp_path).read_bytes())
    with pytest.raises(
        UnsupportedError, match=r"(?s)Failed to import initializer: w.*weights.bin.*from_file"
    ):
        build_plan(played("tensorrt-10.13"), request)  # type: ignore[arg-type]


def test_what_a_writer_raises_comes_out() -> None:
    rt = played("tensorrt-10.13")
    request = BuildRequest(product().SerializeToString())

    def full(piece: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_plan(rt, request, full)  # type: ignore[arg-type]
    stream = io.BytesIO()
    plan = write_plan(rt, request, stream.write)  # type: ignore[arg-type]
    assert plan.data == b"" and stream.getvalue() == build_plan(rt, request).data  # type: ignore[arg-type]
    old = played("tensorrt-10.0")
    assert not can_stream(old)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="writes no plan to a stream"):
        write_plan(old, request, stream.write)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="the model is empty"):
        write_plan(rt, BuildRequest(b""), stream.write)  # type: ignore[arg-type]
