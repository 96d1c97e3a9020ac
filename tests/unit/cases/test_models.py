from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pytest_trt.cases import models
from pytest_trt.cases.models import RealModel, find_models
from pytest_trt.errors import ModelError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.records import Missing

found = find_models()
installed = pytest.mark.skipif(
    isinstance(found, Missing), reason="needs pip install rapidocr-onnxruntime==1.4.4"
)
real = () if isinstance(found, Missing) else found


def run(model, data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run(None, data)[0]


@installed
def test_there_are_three_and_their_package_is_not_imported():
    assert [model.name for model in real] == ["ocr-direction", "ocr-detection", "ocr-recognition"]
    assert "rapidocr_onnxruntime" not in sys.modules


@pytest.mark.parametrize("model", real, ids=lambda m: m.name)
class TestEach:
    def test_its_batch_is_dynamic_and_no_two_dimensions_share_a_name(self, model):
        shapes = [v.type.tensor_type.shape for v in model.model().graph.input]
        assert [d.dim_param for d in shapes[0].dim if d.dim_param] == ["N", "in_2", "in_3"]
        low, opt, high = model.profile["x"]
        assert opt == model.input_shapes["x"] and low[0] == 1 and high[0] >= 4

    def test_its_inputs_say_something(self, model):
        data = model.inputs()
        assert data["x"].shape == model.input_shapes["x"] and data["x"].dtype == np.float32
        assert np.abs(data["x"]).max() <= 1
        out = run(model.model(), data)
        assert np.abs(out).max() > 0.5, "a reference that is next to zero proves nothing"
        assert not np.array_equal(out[0], out[1]), "rows that are equal hide a swap"
        np.testing.assert_array_equal(data["x"], model.inputs()["x"])

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_it_can_be_prepared(self, model, precision):
        data = model.inputs()
        source = model.model()
        ranges = measure_ranges(source, [data]) if precision == "int8" else None
        ready = prepare(source, precision, strong=True, ranges=ranges)
        got, want = run(ready.matched, data), run(source, data)
        assert np.mean(np.abs(got - want)) < (0.15 if precision == "int8" else 0.01)


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    missing = find_models()
    assert isinstance(missing, Missing)
    assert "rapidocr_onnxruntime" in missing.reason
    assert "pip install rapidocr-onnxruntime==1.4.4" in missing.mend


def test_a_package_without_the_files_names_them(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_loader("rapidocr_onnxruntime", None, is_package=True)
    assert spec is not None and spec.submodule_search_locations is not None
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(models, "find_spec", lambda name: spec)
    missing = find_models()
    assert isinstance(missing, Missing) and "ch_PP-OCRv4_det_infer.onnx" in missing.reason


def test_a_damaged_file_is_our_own_error(tmp_path):
    path = Path(tmp_path, "broken.onnx")
    path.write_bytes(b"not onnx at all \xff\xff")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        RealModel("broken", path, (3, 8, 8)).model()
