"""Implicit INT8: each check of a calibration has a subject that it catches, and only it."""

from __future__ import annotations

import pytest

from pytest_trt.emulator import calibration, faults
from suites import _calibrate

from .test_builds_and_timing import broken, runtime

CAUGHT = {
    "calibration_25_percent_off": _calibrate.TABLE,
    "calibration_halved": _calibrate.TABLE,
    "calibration_permuted": _calibrate.TABLE,
    "calibration_of_one_tensor_stale": _calibrate.TABLE,
    "calibration_follows_batching": _calibrate.BATCHING,
    "batches_beyond_first_ignored": _calibrate.BATCHING,
    "calibration_of_older_model_used": _calibrate.RENEWED,
    "calibration_by_maximum_only": _calibrate.ALGORITHM,
    "calibration_cache_ignored": _calibrate.CACHE,
    "cache_of_other_version_accepted": _calibrate.VERSION,
    "missing_scale_not_told": _calibrate.FALLBACK,
    "missing_scale_made_up": _calibrate.FALLBACK,
    "one_scale_missing": _calibrate.ENGINE,
    "engine_ignores_calibration": _calibrate.ENGINE,
}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_wrong_calibration_is_caught_by_its_own_check_alone(name):
    assert broken(_calibrate.check_calibration(runtime(name))) == {CAUGHT[name]}


@pytest.mark.parametrize("emulate", ["tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-10.13", "tensorrt-10.16"])
def test_a_right_calibration_passes_every_check(emulate):
    rows = list(_calibrate.check_calibration(runtime(emulate=emulate)))
    assert broken(rows) == set()
    assert {check for check, _ in rows} == {*CAUGHT.values(), _calibrate.HEADER}


def test_every_fault_of_calibration_is_in_the_table():
    assert {name for name, entry in faults.FAULTS.items() if entry.family == "calibration"} == set(CAUGHT)
    assert all(faults.FAULTS[name].call.__doc__ for name in CAUGHT)


@pytest.mark.parametrize(
    ("named", "note"),
    [
        (
            "MinMaxCalibration",
            "the calibration table comes from MinMaxCalibration, and EntropyCalibration2 *",
        ),
        (
            "EntropyCalibration2",
            "the calibration table comes from EntropyCalibration2, and MinMaxCalibration *",
        ),
    ],
)
def test_a_header_of_another_algorithm_is_caught_by_its_own_check_alone(named, note, monkeypatch):
    monkeypatch.setattr(calibration, "_WORDS", dict.fromkeys(calibration._WORDS, named))
    rows = list(_calibrate.check_calibration(runtime()))
    assert broken(rows) == {_calibrate.HEADER}
    assert any(str(text).startswith(note[:-1]) for _, text in rows)


def test_a_header_of_another_version_is_caught_by_its_own_check_alone(monkeypatch):
    monkeypatch.setattr("pytest_trt.emulator.host.Host.version_number", 101302)
    assert broken(_calibrate.check_calibration(runtime())) == {_calibrate.HEADER}


def test_batches_that_are_not_asked_for_are_caught_by_their_own_check_alone(monkeypatch):
    ask, asked = calibration.shielded, []

    def once(call, *args, **kwargs):
        if call.__name__ == "get_batch":
            asked.append(call.__self__)
            if asked.count(call.__self__) == 2:
                return None
        return ask(call, *args, **kwargs)

    monkeypatch.setattr(calibration, "shielded", once)
    rows = list(_calibrate.check_calibration(runtime()))
    assert broken(rows) == {_calibrate.BATCHING}
    assert (_calibrate.BATCHING, "1 of 2 batches were taken") in rows


def test_a_product_that_was_not_built_in_int8_is_no_calibrated_engine():
    assert broken(_calibrate.check_calibration(runtime("engine_stays_fp32"))) == {_calibrate.ENGINE}
