"""Planted defects of the version matrix: a route not taken, a silent skip, a refusal without the words."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "version_matrix.py"
CONV, GEMM = "suites/test_operators.py::test_conv[int8]", "suites/test_operators.py::test_gemm[int8]"
HONEST = {
    "strong": True,
    "flags": [],
    "typed": 0,
    "ranges": 0,
    "calibrator": False,
    "quantize": 6,
    "types": ["FLOAT", "HALF", "INT8"],
}
REFUSED = """
E   pytest_trt.errors.UnsupportedError: emulator (tensorrt-11.4.0.106) has no weakly typed networks
E     mend   --trt-typing=strong or auto
"""


@pytest.fixture(scope="module")
def matrix():
    """The module of the tool; `benchmarks` is no package."""
    spec = importlib.util.spec_from_file_location("version_matrix", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def cell_of(matrix, route, version="tensorrt-11.4", lack=None, precision="int8"):
    return matrix.Cell(version, "a100", route, (precision,), lack)


def ended(outcome="passed", words="", **asked):
    """Return the entries of both tests that show the route."""
    entry = {"outcome": outcome, "words": words, "builds": [HONEST | asked]}
    return {CONV: entry, GEMM: entry}


def trouble_of(matrix, tests):
    row = matrix.judge_run(cell_of(matrix, matrix.Route("strong", hybrid="fp16")), "int8", tests, "")
    return "\n".join(row.trouble)


def test_an_honest_run_has_no_trouble(matrix):
    assert trouble_of(matrix, ended()) == ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"strong": False}, "the network is weakly typed"),
        ({"types": ["FLOAT", "INT8"]}, "tensors of the types ['FLOAT', 'INT8']"),
        ({"types": ["BF16", "FLOAT", "INT8"]}, "tensors of the types"),
        ({"flags": ["TF32"]}, "builder flags ['TF32'], wanted []"),
        ({"calibrator": True}, "calibrator: True"),
        ({"ranges": 3}, "tensors with a range: 3"),
        ({"quantize": 0}, "0 Q/DQ layers"),
        ({"typed": 2}, "2 layers were given a type"),
    ],
)
def test_a_route_that_was_not_taken(matrix, asked, words):
    assert words in trouble_of(matrix, ended(**asked))


@pytest.mark.parametrize(
    ("route", "asked", "words"),
    [
        ({}, {"flags": []}, "wanted ['INT8']"),
        ({"constraints": "obey"}, {"flags": ["INT8"], "typed": 4}, "wanted ['INT8', 'OBEY_PRECISION_CONSTRAINTS']"),
        ({"constraints": "obey"}, {"flags": ["INT8", "OBEY_PRECISION_CONSTRAINTS"], "typed": 4}, "4 layers were given a type"),
        ({"constraints": "obey", "int8": "implicit"}, {"flags": ["INT8"]}, "0 layers were given a type"),
        ({"hybrid": "fp16"}, {"flags": ["INT8"]}, "wanted ['FP16', 'INT8']"),
        ({"int8": "implicit"}, {"flags": ["INT8"], "quantize": 0}, "calibrator: False"),
    ],
)  # fmt: skip
def test_a_weak_route_that_was_not_taken(matrix, route, asked, words):
    cell = cell_of(matrix, matrix.Route("weak", **route), "tensorrt-10.13")
    plain = {"strong": False, "types": ["FLOAT", "INT8"]} | asked
    assert words in "\n".join(matrix.judge_run(cell, "int8", ended(**plain), "").trouble)


def test_a_failure_and_a_silent_skip(matrix):
    assert "E: no" not in trouble_of(matrix, ended())
    assert "boom" in trouble_of(matrix, ended("failed", "E   boom"))
    assert "skipped without words" in trouble_of(matrix, ended("skipped", "Skipped: later"))
    assert trouble_of(matrix, ended("skipped", "Skipped: not applicable: why")) == ""


def test_nothing_ran(matrix):
    assert "0 of 2 tests that show the route" in trouble_of(matrix, {})
    assert "1 of 2 tests that show the route" in trouble_of(matrix, {CONV: ended()[CONV]})


def test_refusals_need_the_version_and_the_way(matrix):
    def judged(outcome, words, of_version=True):
        lack = matrix.Lack(("--trt-typing=strong",), of_version)
        cell = cell_of(matrix, matrix.Route("weak"), lack=lack)
        return "\n".join(matrix.judge_refusal(cell, "int8", ended(outcome, words), "").trouble)

    assert judged("failed", REFUSED) == ""
    assert "not refused" in judged("passed", "")
    assert "does not name the version" in judged("failed", REFUSED.replace("tensorrt-11.4.0.106", "it"))
    assert judged("failed", REFUSED.replace("tensorrt-11.4.0.106", "it"), of_version=False) == ""
    assert "names none of" in judged("failed", REFUSED.replace("strong or auto", "other"))
    assert "not refused" in judged("skipped", REFUSED)


HAS, LACKS, CONTRADICTS = "has", "lacks", "contradicts"


@pytest.mark.parametrize(
    ("version", "route", "precision", "fate"),
    [
        ("tensorrt-8.6.1", ("weak",), "bf16", LACKS),
        ("tensorrt-10.0.1", ("weak",), "bf16", HAS),
        ("tensorrt-8.6.1", ("strong",), "fp16", LACKS),
        ("tensorrt-10.16", ("weak", "obey"), "fp16", HAS),
        ("tensorrt-10.16", ("strong", "obey"), "fp16", CONTRADICTS),
        ("tensorrt-11.0", ("strong", "obey"), "fp16", LACKS),
        ("tensorrt-10.16", ("weak", "off", "implicit"), "int8", HAS),
        ("tensorrt-10.16", ("strong", "off", "implicit"), "int8", CONTRADICTS),
        ("tensorrt_rtx-1.7", ("strong", "off", "implicit"), "int8", LACKS),
        ("tensorrt-10.16", ("weak", "obey", "explicit", "fp16"), "int8", CONTRADICTS),
        ("tensorrt-10.16", ("weak", "obey", "explicit", "fp16"), "fp16", HAS),
        ("tensorrt-11.0", ("weak",), "fp16", LACKS),
        ("tensorrt_rtx-1.7", ("strong", "off", "explicit", "fp16"), "int8", HAS),
        ("tensorrt_rtx-1.7", ("weak",), "int8", LACKS),
    ],
)
def test_which_version_lacks_which_route(matrix, version, route, precision, fate):
    lack = matrix.find_lack(version, matrix.Route(*route), precision)
    assert (HAS if lack is None else LACKS if lack.of_version else CONTRADICTS) == fate


def test_every_version_route_and_precision_has_a_cell(matrix):
    cells = list(matrix.find_cells(matrix.VERSIONS, matrix.GPUS, matrix.PRECISIONS))
    found = {(cell.version, cell.gpu, cell.route, name) for cell in cells for name in cell.precisions}
    # Two typings and three constraints: four other precisions on an A100 and two on a T4, and four ways to ask for INT8.
    assert len(found) == len(matrix.VERSIONS) * 6 * ((4 + 4) + (2 + 4))
