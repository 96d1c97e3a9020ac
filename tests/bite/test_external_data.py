"""Faults of external weights and of streamed plans: each check of the suite has one that breaks it alone."""

from __future__ import annotations

import pytest

from pytest_trt.check import oversize
from pytest_trt.check.workbench import Workbench
from pytest_trt.emulator import faults
from pytest_trt.emulator.faults import large
from pytest_trt.errors import ModelError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import discover
from suites import _external_data as suite

SHIPPED, OWN = "pytest_trt.emulator.faults:", "tests.bite.large_faults:"


def emulator(*names, version="tensorrt-10.13"):
    return discover(Settings(runtime="emulator", emulate=version, gpu="t4", faults=names)).executor


def broken(rows):
    return {check for check, wrong in rows if wrong is not None}


BROKEN = {
    "missing_weights_read_as_zeros": {suite.MISSING},
    "cut_weights_filled_with_zeros": {suite.SHORT},
    "weights_without_a_path_read_as_zeros": {suite.BYTES_ALONE},
    "weights_outside_the_folder_read": {suite.OUTSIDE},
    "external_offset_ignored": {suite.SAME_PLAN, suite.SAME_ANSWER},
    "external_weights_refused_without_words": {suite.MISSING, suite.SHORT, suite.OUTSIDE, suite.BYTES_ALONE},
}
OF_STREAMS = {"streamed_plan_cut"}


def test_every_fault_has_a_row():
    shipped = {name for name, entry in faults.FAULTS.items() if entry.call.__module__ == large.__name__}
    assert shipped == BROKEN.keys() | OF_STREAMS


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_breaks_its_checks(name, tmp_path):
    assert broken(suite.check_external(emulator(SHIPPED + name), tmp_path)) == BROKEN[name]


@pytest.mark.parametrize(
    ("name", "check"),
    [
        (OWN + "good_weights_refused", suite.FROM_FILE),
        (OWN + "second_plan_has_another_name", suite.SAME_PLAN),
        (SHIPPED + "last_input_channel_dropped", suite.SAME_ANSWER),
    ],
)
def test_each_check_is_broken_by_its_own_fault_alone(name, check, tmp_path):
    assert broken(suite.check_external(emulator(name), tmp_path)) == {check}


def test_a_cut_stream_is_seen():
    assert broken(suite.check_stream(emulator(SHIPPED + "streamed_plan_cut"))) == {suite.STREAM}


@pytest.mark.parametrize("version", ["tensorrt-8.6.1", "tensorrt-10.0", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_an_honest_engine_breaks_no_check(version, tmp_path):
    rt = emulator(version=version)
    rows = suite.check_external(rt, tmp_path)
    assert broken(rows) == set() and len({check for check, _ in rows}) == 8
    if version in ("tensorrt-8.6.1", "tensorrt-10.0"):
        with pytest.raises(UnsupportedError, match="writes no plan to a stream"):
            suite.check_stream(rt)
    else:
        assert broken(suite.check_stream(rt)) == set()


def test_a_build_that_leaves_weights_to_tensorrt_is_seen(tmp_path):
    def unchecked(rt, request):
        return build_plan(rt, BuildRequest(request.model, strongly_typed=request.strongly_typed))

    rt = emulator()
    path = suite.save(tmp_path)
    (tmp_path / suite.WEIGHTS).unlink()
    assert suite.refused_by_us(rt, path, "first") is None
    assert "no error of the model" in suite.refused_by_us(rt, path, "first", unchecked)
    assert suite.refused_by_us(rt, path, "first", lambda rt, request: None) == "built without the weights"


def test_aoversize_needs_room(tmp_path, monkeypatch):
    assert "--trt-budget=thorough" in oversize.lacks_room("quick", tmp_path)
    monkeypatch.setattr(oversize, "free_memory", lambda: 1 << 30)
    assert "9 GiB of memory, and 1.0 GiB" in oversize.lacks_room("thorough", tmp_path)
    monkeypatch.setattr(oversize, "DISK_BYTES", 1 << 60)
    assert "GiB of disk" in oversize.lacks_room("thorough", tmp_path)


def test_checks_of_aoversize_are_broken(tmp_path, monkeypatch):
    """On a small one: it loads in one piece, and a plan that is smaller than the weights is seen."""
    monkeypatch.setattr(oversize, "SIDE", 64)
    monkeypatch.setattr(oversize, "FILE_BYTES", oversize.LAYERS * 64 * 64 * 2)
    monkeypatch.setattr(oversize, "ONE_PIECE", 1)
    rt = emulator()
    assert broken(oversize.check_large(rt, tmp_path)) == {oversize.ONE_PIECE_REFUSED}
    monkeypatch.setattr(oversize, "write_plan", lambda rt, request, write: write(b"plan"))
    assert oversize.LARGE_BUILDS in broken(oversize.check_large(rt, tmp_path))
    monkeypatch.setattr("pytest_trt.runtime.external.ONE_PIECE", 1)
    assert broken(oversize.check_large(rt, tmp_path)) == {oversize.LARGE_BUILDS}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_check_of_a_file_takes_its_weights_from_beside_it(precision, tmp_path):
    settings = Settings(runtime="emulator", gpu="t4")
    workbench = Workbench(settings, discover(settings))
    path = suite.save(tmp_path)
    assert workbench.judge(path, precision=precision, data=("int_small",)).status == "conforms"
    (tmp_path / suite.WEIGHTS).write_bytes(b"short")
    with pytest.raises(ModelError, match="weights of tensor 'first' are cut"):
        workbench.judge(path, precision=precision, data=("int_small",))
