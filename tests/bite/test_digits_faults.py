"""The faults of precision that issue 4 names, on one trained classifier. `benchmarks/precision_faults.py` takes more images."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pytest_trt.cases.digits import find_digits_lack, train_digits
from pytest_trt.emulator.faults import FAULTS
from suites import _calibrate

SOURCE = Path(__file__).parents[2] / "benchmarks" / "precision_faults.py"
NUMBERS, PROOF, TABLE = {"interval", "certificate"}, {"precision"}, {"calibration-table"}
# What has to see it; `weight_scales_along_wrong_axis` and the like by the numbers.
SEEN_BY = {
    "engine_stays_fp32": PROOF,
    "calibration_of_one_tensor_stale": TABLE,
    "calibration_of_older_model_used": TABLE,
    "one_scale_missing": {_calibrate.ENGINE},
    "missing_scale_not_told": {_calibrate.FALLBACK},
}


@pytest.fixture
def benchmark_module():
    """The module of the benchmark; `benchmarks` is no package."""
    spec = importlib.util.spec_from_file_location("precision_faults", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_named_fault_is_seen_on_a_trained_classifier_and_none_is_seen_without(
    benchmark_module, monkeypatch
):
    lack = find_digits_lack()
    if lack is not None:
        pytest.skip(f"{lack.reason}; to get it: {lack.mend}")
    monkeypatch.setattr(benchmark_module, "IMAGES", (8,))
    digits, older = train_digits(0, epochs=4), train_digits(1000, epochs=4)
    rows = list(benchmark_module.measure(digits, older))
    honest = {route.title: seen for _, fault, route, seen in rows if not fault}
    assert len(honest) == 8 and set(honest.values()) == {None}
    planted = [(fault, route, seen) for _, fault, route, seen in rows if fault]
    assert len(planted) == 38 and {fault for fault, _, _ in planted} <= set(FAULTS)
    for fault, route, seen in planted:
        assert seen is not None, (fault, route.title)
        wanted = SEEN_BY.get(fault, NUMBERS)
        if fault == "one_layer_stays_fp32" and not route.calibrated:
            wanted = PROOF
        assert set(seen.checks) & wanted, (fault, route.title, seen)
        assert (seen.on == "suite") == (
            SEEN_BY.get(fault, set()) & {_calibrate.ENGINE, _calibrate.FALLBACK} != set()
        )


def test_the_list_has_every_fault_that_the_issue_names(benchmark_module):
    assert {name for name, _, _ in benchmark_module.NAMED} == {
        "precision ignored",
        "TF32 although it is off",
        "wrong scale axis",
        "saturate before scale",
        "bias not rescaled",
        "stale table",
        "one scale missing",
    }
