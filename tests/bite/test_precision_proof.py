"""Each check of the proof of precision has a subject that it catches; what no list tells is caught by its numbers."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from pytest_trt.cases.limits import FALLS_BACK
from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import FallbackWarning
from pytest_trt.precision.kinds import is_working
from pytest_trt.records import BATTERIES, PRECISIONS, Settings
from pytest_trt.runtime.load import discover, find_builder
from pytest_trt.runtime.plan import Plan
from suites import _precision
from suites._precision import Route

SHIPPED = "pytest_trt.emulator.faults:"
QUICK = BATTERIES["quick"]


def settings_of(*names, **settings):
    faults = tuple(SHIPPED + name for name in names)
    return Settings(**{"runtime": "emulator", "gpu": "a100", "faults": faults, **settings})


def runtime(*names, **settings):
    return discover(settings_of(*names, **settings)).executor


def broken(rows):
    """Return the names of the checks that do not hold; there have to be checks."""
    rows = list(rows)
    assert rows
    return {check for check, note in rows if note is not None}


# Types that INT8 alone does not allow.


@pytest.mark.parametrize(
    ("emulate", "strong"),
    [("tensorrt-8.6.1", False), ("tensorrt-10.13", False), ("tensorrt-10.13", True), ("tensorrt-11.4", True)],
)
def test_a_layer_in_fp16_under_int8_alone_is_caught_by_the_pool(emulate, strong):
    rows = list(
        _precision.check_precision(runtime("int8_layer_in_fp16", emulate=emulate), "int8", Route(strong))
    )
    assert broken(rows) == {_precision.POOL}
    notes = [note for _, note in rows if note is not None]
    assert len(notes) == 3 and all("which allows int8, fp32; in another type: " in note for note in notes)
    assert notes[2].endswith("matmul (fp16)")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_that_fault_leaves_other_precisions_alone(precision):
    assert broken(_precision.check_precision(runtime("int8_layer_in_fp16"), precision, Route(True))) == set()


# Permission and order.


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_free_builder_that_stays_in_fp32_is_a_warning(precision):
    told = []
    with pytest.warns(FallbackWarning, match="fell back entirely: no working layer is in") as seen:
        rows = _precision.check_precision(runtime("engine_stays_fp32"), precision, Route(False), told=told)
        assert broken(rows) == set()
    assert len(seen) == 3 and all(entry.proof.fell_back for entry in told)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_free_builder_that_leaves_one_layer_in_fp32_is_told_and_no_more(precision):
    told = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        rows = _precision.check_precision(runtime("one_layer_stays_fp32"), precision, Route(False), told=told)
        assert broken(rows) == set()
    block = next(entry.proof for entry in told if entry.network == "block")
    assert block.ran == {precision: 3, "fp32": 1} and block.loosest == precision
    assert any(row[0] == "block" and row[2] == "3 of 4" for row in _precision.table(told, precision)["rows"])


@pytest.mark.parametrize("name", ["engine_stays_fp32", "one_layer_stays_fp32"])
def test_quantised_graphs_bind_a_weakly_typed_build(name):
    assert broken(_precision.check_precision(runtime(name), "int8", Route(False))) == {_precision.PRECISION}


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.13"])
@pytest.mark.parametrize("name", ["engine_stays_fp32", "one_layer_stays_fp32"])
def test_constraints_that_are_obeyed_bind_a_weakly_typed_build(name, emulate):
    route = Route(strong=False, constraints="obey")
    rows = _precision.check_precision(runtime(name, emulate=emulate), "fp16", route)
    assert broken(rows) == {_precision.PRECISION}
    assert broken(_precision.check_precision(runtime(emulate=emulate), "fp16", route)) == set()


@pytest.mark.parametrize("strong", [True, False])
def test_a_hybrid_whose_products_are_not_in_int8_is_caught(strong):
    rows = _precision.check_precision(runtime("engine_stays_fp32"), "int8", Route(strong, "fp16"))
    assert broken(rows) == {_precision.PRECISION}


@pytest.mark.parametrize(("precision", "strong"), [("fp16", False), ("fp32", True), ("int8", True)])
def test_a_kernel_in_tf32_is_outside_of_the_pool_also_of_a_free_builder(precision, strong, monkeypatch):
    real = _precision.build_plan

    def in_tf32(rt, request):
        made = real(rt, request)
        kernel = {"tactic": "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n", "inputs": ("fp32",), "constants": ()}
        layers = tuple(
            dataclasses.replace(layer, **kernel) if is_working(layer) else layer for layer in made.layers
        )
        return Plan(made.data, flags=made.flags, layers=layers)

    monkeypatch.setattr(_precision, "build_plan", in_tf32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        assert broken(_precision.check_precision(runtime(), precision, Route(strong))) == {_precision.POOL}


# TF32.


def test_a_plan_that_is_the_same_with_and_without_tf32(monkeypatch):
    real = _precision.build_plan

    def same(rt, request):
        made = real(rt, request)
        return Plan(b"the same", flags=made.flags, layers=made.layers)

    monkeypatch.setattr(_precision, "build_plan", same)
    assert broken(_precision.check_precision(runtime(), "tf32", Route(True))) == {_precision.TF32_PLAN}


# What a layer list does not tell, its numbers do.


def judged(name, precision, network, data=QUICK, gpu="a100"):
    made = settings_of(name, gpu=gpu) if name else settings_of(gpu=gpu)
    return Workbench(made, discover(made)).judge(
        _precision.networks()[network], precision=precision, data=data, label=network
    )


@pytest.mark.parametrize("gpu", ["t4", "a100"])
@pytest.mark.parametrize("network", ["conv", "gemm"])
def test_tf32_although_it_is_off_is_caught_by_quick_data(network, gpu):
    name = "tf32_although_it_is_off"
    assert broken(_precision.check_precision(runtime(name, gpu=gpu), "fp32", Route(True))) == set()
    checks = {found.check for found in judged(name, "fp32", network, gpu=gpu).findings}
    assert checks & {"interval", "certificate"} and "precision" not in checks
    assert judged(None, "fp32", network, gpu=gpu).passed


@pytest.mark.parametrize("network", ["conv", "gemm", "block"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_list_of_layers_that_did_not_run_is_caught_by_quick_data(precision, network):
    name = "layer_list_of_what_did_not_run"
    assert broken(_precision.check_precision(runtime(name), precision, Route(True))) == set()
    checks = {found.check for found in judged(name, precision, network).findings}
    assert checks & {"interval", "certificate"} and "precision" not in checks
    assert judged(None, precision, network).passed


# Real builds.


def test_a_known_fallback_that_does_not_come_is_caught(monkeypatch):
    rt = find_builder(Settings(gpu="a100"))
    if rt is None:
        pytest.skip('TensorRT-RTX is not installed; to get it: pip install "pytest-trt[rtx]"')
    assert broken(_precision.check_precision(rt, "int8", Route(True))) == set()
    monkeypatch.setattr(_precision, "_known", lambda *_: FALLS_BACK)
    assert broken(_precision.check_precision(rt, "int8", Route(True))) == {_precision.KNOWN}


@pytest.mark.parametrize(("gpu", "checks"), [("t4", {_precision.KNOWN}), ("a100", {_precision.PRECISION})])
def test_a_convolution_that_rtx_leaves_in_fp32_is_seen_to(gpu, checks):
    rt = find_builder(Settings(gpu=gpu))
    if rt is None:
        pytest.skip('TensorRT-RTX is not installed; to get it: pip install "pytest-trt[rtx]"')
    rows = list(_precision.check_precision(rt, "int8", Route(True)))
    assert {check for check, _ in rows} - {_precision.TF32_FLAG} == checks


# Routes.


@pytest.mark.parametrize(
    ("emulate", "precision", "typing", "words"),
    [
        ("tensorrt-8.6.1", "fp16", "auto", ["weakly typed", "weakly typed, constraints obeyed"]),
        (
            "tensorrt-10.13",
            "bf16",
            "auto",
            ["strongly typed", "weakly typed", "weakly typed, constraints obeyed"],
        ),
        ("tensorrt-10.13", "tf32", "auto", ["strongly typed", "weakly typed"]),
        ("tensorrt-10.13", "int8", "weak", ["weakly typed", "weakly typed, hybrid with fp16"]),
        ("tensorrt-10.13", "fp16", "strong", ["strongly typed"]),
        ("tensorrt-11.4", "int8", "auto", ["strongly typed", "strongly typed, hybrid with fp16"]),
        ("tensorrt_rtx-1.7", "fp16", "auto", ["strongly typed"]),
    ],
)
def test_routes_that_a_version_has(emulate, precision, typing, words):
    made = settings_of(emulate=emulate, typing=typing)
    found = _precision.routes(discover(made).executor, precision, made)
    assert [route.words for route in found] == words


VERSIONS = ("tensorrt-8.6.1", "tensorrt-10.13", "tensorrt-11.4", "tensorrt_rtx-1.7")
HONEST = [
    (version, precision)
    for version in VERSIONS
    for precision in PRECISIONS
    if (version, precision) != ("tensorrt-8.6.1", "bf16")  # it came with TensorRT 10
]


@pytest.mark.parametrize(("emulate", "precision"), HONEST)
def test_every_route_of_an_honest_version_passes(emulate, precision):
    made = settings_of(emulate=emulate)
    rt = discover(made).executor
    for route in _precision.routes(rt, precision, made):
        assert broken(_precision.check_precision(rt, precision, route)) == set()
