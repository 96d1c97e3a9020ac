"""Calibration tables: parsed, written, refused for another version, compared."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.errors import CalibrationError
from pytest_trt.precision.tables import (
    ALGORITHMS,
    CalibrationTable,
    float_activations,
    header_of,
    tensors_read_in_int8,
    version_of,
)

FUZZ = Path(__file__).parents[3] / "benchmarks" / "cache_fuzz.py"
# Lines as TensorRT 8.6.2 and 10.3.0 write them: the forms that public calibration caches have.
OLD = b"TRT-8602-MinMaxCalibration\nimages: 3c010204\n(Unnamed Layer* 3) [Convolution]_output: 40b7daf4\na: b: 3c010a14\n"
NEW = b"TRT-100300-EntropyCalibration2\ninput_1:0: 3c008c44\n"


def table(scales=None, product="TRT", version="8.6.1", algorithm="EntropyCalibration2"):
    scales = {"x": 0.5, "h": 0.25} if scales is None else scales
    return CalibrationTable(
        product, version, algorithm, {name: np.float32(scale) for name, scale in scales.items()}
    )


@pytest.mark.parametrize(
    ("data", "version", "algorithm", "names"),
    [
        (OLD, "8.6.2", "MinMaxCalibration", ["images", "(Unnamed Layer* 3) [Convolution]_output", "a: b"]),
        (NEW, "10.3.0", "EntropyCalibration2", ["input_1:0"]),
        (NEW[:-1], "10.3.0", "EntropyCalibration2", ["input_1:0"]),
    ],
)
def test_a_table_is_read(data, version, algorithm, names):
    got = CalibrationTable.parse(data)
    assert (got.product, got.version, got.algorithm, list(got.scales)) == ("TRT", version, algorithm, names)
    assert all(type(scale) is np.float32 for scale in got.scales.values())


@pytest.mark.parametrize("data", [OLD, NEW])
def test_what_tensorrt_wrote_comes_back_byte_for_byte(data):
    assert CalibrationTable.parse(data).to_bytes() == data


def test_bits_are_the_scale():
    assert CalibrationTable.parse(OLD).scales["images"] == np.uint32(0x3C010204).view(np.float32)
    short = CalibrationTable.parse(b"TRT-8601-MinMaxCalibration\nx: 800000\n")
    assert short.scales["x"] == np.float32(2.0**-126)


@pytest.mark.parametrize(
    "number", [(8001, "8.0.1"), (8601, "8.6.1"), (100001, "10.0.1"), (101303, "10.13.3")]
)
def test_versions_in_headers(number):
    digits, version = number
    assert version_of(digits) == version
    assert header_of("TRT", version + ".9", "MinMaxCalibration") == f"TRT-{digits}-MinMaxCalibration"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "calibration table is empty"),
        (b"\xff\xfe", "calibration table is no text"),
        (b"x: 3c010204\n", "calibration table does not begin with the header of a calibration table"),
        (b"TRT-86-MinMaxCalibration\nx: 3c010204\n", "does not begin with the header"),
        (b"RTX-8601-MinMaxCalibration\nx: 3c010204\n", "names an unknown product 'RTX'"),
        (b"TRT-8601-Percentile\nx: 3c010204\n", "names an unknown algorithm 'Percentile'"),
        (b"TRT-8601-MinMaxCalibration\n", "has a header and no scale"),
        (b"TRT-8601-MinMaxCalibration\nx: 3c0102041\n", "line 2 is no scale: 'x: 3c0102041'"),
        (b"TRT-8601-MinMaxCalibration\nx=3c010204\n", "line 2 is no scale"),
        (b"TRT-8601-MinMaxCalibration\n: 3c010204\n", "line 2 is no scale"),
        (b"TRT-8601-MinMaxCalibration\n\nx: 3c010204\n", "line 2 is no scale"),
        (b"TRT-8601-MinMaxCalibration\nx: 3c010204\nx: 3c010204\n", "tensor 'x' has two scales"),
        (b"TRT-8601-MinMaxCalibration\r\nx: 3c010204\r\n", "has the line ends of Windows"),
        (b"TRT-8601-MinMaxCalibration\nx: 7fc00000\n", "the scale of tensor 'x' is not finite and positive"),
        (b"TRT-8601-MinMaxCalibration\nx: 7f800000\n", "the scale of tensor 'x' is not finite and positive"),
        (b"TRT-8601-MinMaxCalibration\nx: bf800000\n", "the scale of tensor 'x' is not finite and positive"),
        (
            b"TRT-8601-MinMaxCalibration\na: b: 00000000\n",
            "the scale of tensor 'a: b' is not finite and positive",
        ),
    ],
)
def test_what_is_no_table_is_refused(data, words):
    with pytest.raises(CalibrationError) as caught:
        CalibrationTable.parse(data)
    assert words in caught.value.what
    assert caught.value.mend and "{" not in str(caught.value)


def test_the_name_of_a_file_is_told():
    with pytest.raises(CalibrationError, match=r"^resnet\.cache is empty"):
        CalibrationTable.parse(b"", name="resnet.cache")


def test_at_most_three_bad_scales_are_shown():
    lines = "".join(f"t{number}: 0\n" for number in range(5))
    with pytest.raises(CalibrationError) as caught:
        CalibrationTable.parse(b"TRT-8601-MinMaxCalibration\n" + lines.encode())
    assert caught.value.why == ("'t0': 0", "'t1': 0", "'t2': 0", "and 2 more")


@pytest.mark.parametrize("scales", [{"x": 0.0}, {"x": math.nan}, {"": 1.0}, {"a\nb": 1.0}])
def test_what_cannot_be_read_back_is_not_written(scales):
    with pytest.raises(CalibrationError):
        table(scales).to_bytes()


def test_a_table_is_for_its_own_version_on_any_gpu():
    made = table(version="10.13.3.9")
    assert (made.version, made.header) == ("10.13.3", "TRT-101303-EntropyCalibration2")
    made.check_version("TRT", "10.13.3.9")
    made.check_version("TRT", "10.13.3")


@pytest.mark.parametrize(
    ("product", "version", "this"),
    [
        ("TRT", "8.6.2", "TensorRT 8.6.2"),
        ("TRT", "10.13.3.9", "TensorRT 10.13.3"),
        ("emulator", "8.6.1", "the emulator playing TensorRT 8.6.1"),
    ],
)
def test_a_table_of_another_version_is_refused_with_the_mend(product, version, this):
    with pytest.raises(CalibrationError) as caught:
        table().check_version(product, version)
    assert caught.value.what == f"the calibration table was written by TensorRT 8.6.1, and this is {this}"
    assert "name no GPU" in caught.value.why[1]
    assert caught.value.mend.startswith(f"calibrate again with {this}")


def test_a_table_of_another_algorithm_is_refused():
    table().check_algorithm("entropy2")
    with pytest.raises(
        CalibrationError, match="comes from EntropyCalibration2, and MinMaxCalibration is asked"
    ):
        table().check_algorithm("minmax")
    assert set(ALGORITHMS) == {"entropy2", "minmax", "entropy", "legacy"}


def test_tensors_without_a_scale():
    assert table().missing(["x", "y", "h", "y", "z"]) == ("y", "z")
    table().check_scales(["x", "h"])
    with pytest.raises(CalibrationError, match="has no scale of tensor 'y' and 1 more") as caught:
        table().check_scales(["x", "y", "h", "y", "z"])
    assert caught.value.why[0] == "without: 'y', 'z'"
    with pytest.raises(CalibrationError, match="has no scale of tensor 'y'"):
        table().check_scales(["y"])


def test_two_tables_differ_worst_first():
    got = table({"same": 1, "near": 1.01, "twice": 2, "fifth": 0.2, "new": 3})
    want = table({"same": 1, "near": 1.0, "twice": 1, "fifth": 1, "old": 3})
    rows = got.diff(want, rtol=0.02)
    assert [(row.tensor, row.kind) for row in rows] == [
        ("new", "added"), ("old", "removed"), ("fifth", "changed"), ("twice", "changed"),
    ]  # fmt: skip
    assert [row.ratio for row in rows] == [math.inf, 0.0, pytest.approx(0.2), 2.0]
    assert str(rows[3]) == "twice: scale 2 is 2 times 1" and str(rows[1]) == "old: removed"
    assert [row.tensor for row in got.diff(want)][-1] == "near"
    assert got.diff(got) == ()


def model():
    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    nodes = [
        helper.make_node("Identity", ["w"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "x"], ["y"]),
        helper.make_node("Shape", ["y"], ["s"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 4])],
            [
                helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 4]),
                helper.make_tensor_value_info("s", TensorProto.INT64, [2]),
            ],
            [weights],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_which_tensors_need_a_scale():
    assert tensors_read_in_int8(model()) == ("x", "r")
    assert float_activations(model()) == ("x", "h", "r", "y")
    assert table({"x": 1.0}).missing(tensors_read_in_int8(model())) == ("r",)


def test_a_thousand_damaged_caches_raise_nothing_but_our_error():
    spec = importlib.util.spec_from_file_location("cache_fuzz", FUZZ)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    rng = np.random.default_rng(7)
    words = [fuzz.judge(fuzz.damage(rng)[0]) for _ in range(1000)]
    assert words.count("refused") > 500 and words.count("read") > 10
