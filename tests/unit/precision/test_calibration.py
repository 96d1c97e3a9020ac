"""Calibration: three methods, one pass over the data, wrong data refused in words."""

from __future__ import annotations

import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pytest_trt.errors import InputError
from pytest_trt.precision import calibration as module
from pytest_trt.precision.calibration import (
    METHODS,
    Calibration,
    Ranges,
    calibrate,
)
from pytest_trt.precision.digests import digest_feeds
from pytest_trt.precision.int8 import quantize
from pytest_trt.precision.ranges import measure_ranges

from .models import build, conv_relu, feed, value


@pytest.fixture(autouse=True)
def few_bins(monkeypatch):
    """ONNX Runtime's search takes a third of a second a tensor in 2048 bins."""
    monkeypatch.setitem(module._BINS, "entropy", 256)


def batches(count=6, rows=2):
    """Batches with a zero in each tensor, the largest magnitudes in the first: there ONNX Runtime's own bins do not grow."""
    made = []
    for index in range(count):
        x = feed((rows, 3, 5, 5), seed=index)["x"] * np.float32(1.0 if index else 1.5)
        x[:, :, :3] = 0.0 if index % 2 else x[:, :, :3]
        x[0, 0, 0, 0] = 0.0
        made.append({"x": x})
    return made


def by_onnxruntime(folder, model, data, method, **options):
    """What `create_calibrator` finds: tensor name to amax."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = list(data)

        def get_next(self):
            return self.left.pop(0) if self.left else None

    path, probe = folder / "model.onnx", folder / "probe.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    calibrator = create_calibrator(
        path,
        augmented_model_path=str(probe),
        calibrate_method=CalibrationMethod[method],
        extra_options={"symmetric": True, **options},
    )
    calibrator.collect_data(Reader())
    found = calibrator.compute_data()
    ranges = {name: found[name].range_value for name in ("x", "c", "y")}
    return {name: float(max(np.abs(low).max(), np.abs(high).max())) for name, (low, high) in ranges.items()}


@pytest.mark.parametrize(
    ("method", "name", "options", "rtol"),
    [
        ("minmax", "MinMax", {}, 0.0),
        ("entropy", "Entropy", {"num_bins": 256}, 1e-6),
        # Its first bin starts at the least magnitude of the first batch and its edges differ by that; a bin is 5e-4.
        ("percentile", "Percentile", {"percentile": 97.0}, 1e-4),
    ],
)
def test_finds_what_onnxruntime_finds(tmp_path, method, name, options, rtol):
    data = batches()
    got = calibrate(conv_relu(), Calibration(data, method, percentile=97.0))
    want = by_onnxruntime(tmp_path, conv_relu(), data, name, **options)
    for tensor, amax in want.items():
        assert got[tensor] == pytest.approx(amax, rel=rtol, abs=0), tensor


def test_minmax_is_measure_ranges():
    assert dict(calibrate(conv_relu(), Calibration(batches()))) == measure_ranges(conv_relu(), batches())


def test_methods_differ_where_the_distribution_has_a_tail(monkeypatch):
    monkeypatch.setitem(module._BINS, "entropy", 2048)
    x = np.random.default_rng(3).standard_normal((400, 3, 5, 5)).astype(np.float32)
    x[0, 0, 0, 0] = 40.0
    found = {
        method: calibrate(conv_relu(), Calibration([{"x": x}], method, percentile=99.99))["x"]
        for method in METHODS
    }
    assert found["minmax"] == 40.0
    assert found["entropy"] < 20.0
    assert found["percentile"] < 10.0


@pytest.mark.parametrize("method", METHODS)
def test_order_size_and_kind_of_the_batches_do_not_matter(method):
    data = batches()
    want = dict(calibrate(conv_relu(), Calibration(data, method)))
    assert dict(calibrate(conv_relu(), Calibration(data[::-1], method))) == want
    assert dict(calibrate(conv_relu(), Calibration((one for one in data), method))) == want
    joined = [
        {"x": np.concatenate([one["x"] for one in data[:4]])},
        {"x": np.concatenate([one["x"] for one in data[4:]])},
    ]
    assert dict(calibrate(conv_relu(), Calibration(joined, method))) == want


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_dim_first_batch_costs_nothing(method):
    """A later batch is a million times as large: bins that grow with it would fill the memory."""
    dim = {"x": batches()[0]["x"] * np.float32(1e-6)}
    data = batches()
    assert calibrate(conv_relu(), Calibration([dim, *data], method, percentile=100.0))["x"] > 1.0


@pytest.mark.parametrize("method", METHODS)
def test_nan_infinity_and_zero(method):
    model = build([helper.make_node("Mul", ["x", "k"], ["y"])], [value("x", ["N"])], [value("y", ["N"])], {})
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, [1], [0.0]))
    x = np.linspace(-2.0, 1.0, 301, dtype=np.float32)
    x[[4, 5, 6]] = np.nan, np.inf, -np.inf
    found = calibrate(model, Calibration([{"x": x}], method, percentile=100.0))
    assert found["y"] == 0.0
    # Percentile gives the lower edge of the last of 2048 bins; entropy cuts where it likes.
    assert (0.5 if method == "entropy" else 2.0 - 2.0 / 2048) <= found["x"] <= 2.0


@pytest.mark.parametrize("method", METHODS)
def test_ranges_go_into_the_graph_as_scales(method):
    ranges = calibrate(conv_relu(), Calibration(batches(), method))
    _, scales = quantize(conv_relu(), ranges, folded=True)
    assert scales["x"] == np.float32(ranges["x"] / 127)


def test_ranges_are_a_mapping_with_an_origin():
    ranges = calibrate(conv_relu(), Calibration(batches(3), "percentile", percentile=99.0))
    assert isinstance(ranges, Ranges) and set(ranges) == {"x", "c", "y"} and len(ranges) == 3
    assert ranges == dict(ranges)
    facts = ranges.provenance()
    assert {name: facts[name] for name in ("method", "batches", "samples", "percentile")} == {
        "method": "percentile",
        "batches": 3,
        "samples": 6,
        "percentile": 99.0,
    }
    assert facts["digest"] == digest_feeds(batches(3))
    assert "percentile" not in calibrate(conv_relu(), Calibration(batches(3))).provenance()
    assert pickle.loads(pickle.dumps(ranges)).provenance() == facts


def test_digest_sees_values_names_types_shapes_and_batches():
    x = np.arange(6, dtype=np.float32)
    one = [
        [{"x": x}],
        [{"x": x + 1}],
        [{"y": x}],
        [{"x": x.astype(np.float64)}],
        [{"x": x.reshape(2, 3)}],
        [{"x": x[:3]}, {"x": x[3:]}],
        [{"x": x.view(np.int32)}],
        [],
    ]
    assert len({digest_feeds(data) for data in one}) == len(one)
    assert digest_feeds([{"x": x.reshape(2, 3).T}]) == digest_feeds([{"x": x.reshape(2, 3).T.copy()}])


def test_digest_of_the_model_is_kept():
    first, second = (calibrate(conv_relu(filters=n), Calibration(batches(1))) for n in (4, 5))
    assert first.digest == second.digest
    assert first.model != second.model


@pytest.mark.parametrize(("method", "steps"), [("minmax", 3), ("entropy", 9), ("percentile", 9)])
def test_progress_counts_every_batch_and_search(method, steps):
    told = []
    data = batches(3)
    calibrate(conv_relu(), Calibration(data, method, progress=lambda done, total: told.append((done, total))))
    assert told == [(done, steps) for done in range(1, steps + 1)]
    told.clear()
    stream = (one for one in data)
    calibrate(
        conv_relu(), Calibration(stream, method, progress=lambda done, total: told.append((done, total)))
    )
    assert told == [(done, None if done <= 3 else steps) for done in range(1, steps + 1)]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_printed_and_no_file_stays(method, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    calibrate(conv_relu(), Calibration((one for one in batches(2)), method))
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "no calibration data"),
        ([np.zeros(3)], "calibration batch 0 is of type ndarray, and should be a mapping"),
        ([{}], "calibration batch 0 lacks input 'x'"),
        ([feed(), {"z": 1}], "calibration batch 1 lacks input 'x'"),
        ([feed() | {"z": np.zeros(1)}], "has 'z', which is no input of the model"),
        ([{"x": feed()["x"].astype(np.float64)}], "input 'x' is float64, and the model reads float32"),
        ([{"x": np.zeros((0, 3, 5, 5), np.float32)}], "input 'x' has no values"),
        ([{"x": np.zeros((1, 4, 5, 5), np.float32)}], "a calibration input does not fit the model"),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_wrong_data(method, data, words):
    with pytest.raises(InputError) as caught:
        calibrate(conv_relu(), Calibration(data, method))
    assert words in caught.value.what


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": [], "method": "kl"}, "unknown calibration method 'kl'"),
        ({"data": [], "percentile": 0.0}, "percentile 0.0 is not in (0, 100]"),
        ({"data": [], "percentile": float("nan")}, "percentile nan is not in (0, 100]"),
        ({"data": feed()}, "calibration data is of type dict, and should be an iterable of mappings"),
        ({"data": np.zeros(3)}, "calibration data is of type ndarray"),
        ({"data": None}, "calibration data is of type NoneType"),
    ],
)
def test_wrong_calibration(arguments, words):
    with pytest.raises(InputError) as caught:
        Calibration(**arguments)
    assert words in caught.value.what


def test_an_initializer_that_is_an_input_need_not_be_given():
    model = conv_relu()
    model.graph.input.extend([value("w", [4, 3, 3, 3]), value("b", [4])])
    assert calibrate(model, Calibration(batches(1)))["y"] > 0
