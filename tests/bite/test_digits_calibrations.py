"""One trained classifier: bad calibrations are flagged, good ones are not. `benchmarks/calibration_audit.py` takes six."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pytest_trt.cases.digits import find_digits_lack, train_digits

SOURCE = Path(__file__).parents[2] / "benchmarks" / "calibration_audit.py"
# An audit of entropy searches all thresholds again: seconds. The benchmark has it.
SLOW = ("entropy", "4 images, entropy")


@pytest.fixture
def benchmark_module():
    """The module of the benchmark; `benchmarks` is no package."""
    spec = importlib.util.spec_from_file_location("calibration_audit", SOURCE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_bad_calibrations_are_flagged_and_good_ones_are_not(benchmark_module, monkeypatch):
    lack = find_digits_lack()
    if lack is not None:
        pytest.skip(f"{lack.reason}; to get it: {lack.mend}")
    monkeypatch.setattr("pytest_trt.precision.calibration._BINS", {"entropy": 256, "percentile": 2048})
    digits, older = train_digits(0, epochs=12), train_digits(1000, epochs=4)
    attempts = list(benchmark_module.make_attempts(digits, older, 0))
    good = {one.name for one in attempts if one.good}
    assert (len(good), len(attempts)) == (4, 16)
    flags = {one.name: benchmark_module.flags_of(digits, one) for one in attempts if one.name not in SLOW}
    assert {name for name in flags if flags[name]} == flags.keys() - good
    by_ranges = {name for name in flags if flags[name] & benchmark_module.ON_RANGES}
    assert len(by_ranges) >= 9, sorted(flags.keys() - good - by_ranges)
    assert "identity" in flags["stale table"]
    assert "pipeline" in flags["pixels / 255"]
    assert not any(found.flags for found in benchmark_module.audit_draws(digits, 6, 0))
