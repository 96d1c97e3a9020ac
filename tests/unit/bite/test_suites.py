"""One run of the suites per fault: the command, the plugin that records it, and how outcomes are read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pytest_trt.bite import suites
from pytest_trt.bite.recorder import checks_of
from pytest_trt.bite.suites import SuiteTask, command_for, precisions_of, run_suites, suites_folder
from pytest_trt.emulator.faults import FAULTS, HONEST, Entry
from pytest_trt.errors import ConformanceError
from pytest_trt.records import Finding, Verdict


def entry(contracts, family="precision", rung="direct"):
    return Entry(lambda site: None, family, frozenset(contracts.split()), rung=rung)


@pytest.mark.parametrize(
    ("contracts", "family", "precisions"),
    [
        ("fp32 tf32", "precision", ("fp32", "fp16", "int8")),
        ("int8", "quant", ("fp32", "fp16", "int8")),
        ("bf16 tf32", "precision", ("tf32", "bf16")),
        ("fp8 fp16acc", "precision", ()),
        ("fp16 bf16", "honest", ("fp16",)),
        ("tf32", "honest", ("tf32",)),
    ],
)
def test_precisions_are_the_default_ones_where_they_matter(contracts, family, precisions):
    assert precisions_of(entry(contracts, family)) == precisions


def test_command_names_fault_precisions_and_record(tmp_path):
    command = command_for(FAULTS["last_input_channel_dropped"], ("fp32", "fp16", "int8"), tmp_path)
    assert "--trt-fault=pytest_trt.emulator.faults:last_input_channel_dropped" in command
    assert "--trt-precision=fp32,fp16,int8" in command and "-x" in command
    assert f"--ignore={suites_folder() / 'test_build.py'}" in command
    assert not any(word.startswith(("--gpu", "--trt-rungs")) for word in command)


def test_other_precisions_need_a_gpu_class_that_has_them(tmp_path):
    command = command_for(entry("tf32 bf16"), ("tf32", "bf16"), tmp_path)
    assert "--gpu=a100" in command


def test_a_correct_kernel_is_held_to_its_rung(tmp_path):
    (direct,) = (w for w in command_for(entry("fp32", "honest"), ("fp32",), tmp_path) if "rungs" in w)
    (splitk,) = (
        w for w in command_for(entry("fp16", "honest", "splitk"), ("fp16",), tmp_path) if "rungs" in w
    )
    assert direct == "--trt-rungs=direct,unfused" and splitk == "--trt-rungs=direct,unfused,splitk"


def test_suites_are_found():
    assert (suites_folder() / "test_operators.py").is_file()


def fake_run(monkeypatch, status, record=None, told="", error=None):
    """Let the subprocess end with a status, having written a record."""

    def run(command, **given):
        if error is not None:
            raise error
        path = next(word.partition("=")[2] for word in command if word.startswith("--trt-bite-record"))
        if record is not None:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(record, file)
        return subprocess.CompletedProcess(command, status, told, "")

    monkeypatch.setattr(suites.subprocess, "run", run)


def test_a_failed_test_catches_the_fault(monkeypatch):
    record = {"test": "test_operators.py::test_conv[fp32]", "checks": ["interval"], "examples": 4}
    fake_run(monkeypatch, 1, record)
    row = run_suites(SuiteTask("last_input_channel_dropped"))
    assert (row.outcome, row.test, row.checks, row.examples) == ("caught", record["test"], ["interval"], 4)
    assert row.family == "reduction" and row.precisions == ["fp32", "fp16", "int8"]


@pytest.mark.parametrize(
    ("status", "record", "outcome"),
    [
        (0, {"test": "", "checks": [], "examples": 90}, "survived"),
        (0, {"test": "", "checks": [], "examples": 0}, "broken"),
        (1, {"test": "", "checks": [], "examples": 3}, "broken"),
        (4, None, "broken"),
    ],
)
def test_other_ends(monkeypatch, status, record, outcome):
    fake_run(monkeypatch, status, record, told="usage: pytest\n\nunknown option")
    row = run_suites(SuiteTask("last_input_channel_dropped"))
    assert row.outcome == outcome
    assert (row.note == "usage: pytest | unknown option") is (outcome == "broken")


def test_a_run_that_hangs_is_broken(monkeypatch):
    fake_run(monkeypatch, 0, error=subprocess.TimeoutExpired("pytest", 1))
    row = run_suites(SuiteTask("last_input_channel_dropped"))
    assert row.outcome == "broken" and "it took longer than" in row.note


@pytest.mark.parametrize(("status", "outcome"), [(0, "passed"), (1, "refused")])
def test_a_correct_kernel_passes_or_is_refused(monkeypatch, status, outcome):
    test = "test_operators.py::test_conv[fp32]" if status else ""
    fake_run(monkeypatch, status, {"test": test, "checks": ["interval"], "examples": 7})
    name = next(iter(HONEST))
    assert run_suites(SuiteTask(name, honest=True)).outcome == outcome


def test_a_fault_of_contracts_that_nothing_runs_is_not_run(monkeypatch):
    monkeypatch.setitem(FAULTS, "fp8_only", entry("fp8"))
    fake_run(monkeypatch, 0, error=AssertionError("it was run"))
    assert run_suites(SuiteTask("fp8_only")).outcome == "not applicable"


def test_the_environment_of_a_user_does_not_leak(monkeypatch):
    monkeypatch.setenv("TRT_PRECISION", "bf16")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n4")
    made = suites._environment()
    assert "TRT_PRECISION" not in made and "PYTEST_ADDOPTS" not in made and "PATH" in made


def test_checks_of_an_error():
    error = ConformanceError("wrong")
    error.verdict = Verdict(
        "violates", (Finding("nan", "violates"), Finding("nan", "violates"), Finding("slices", "violates"))
    )
    assert checks_of(error) == ["nan", "slices"]
    assert checks_of(ZeroDivisionError()) == ["ZeroDivisionError"]
    group = Exception()
    group.exceptions = (error, KeyError("a"))
    assert checks_of(group) == ["nan", "slices", "KeyError"]


SESSION = """
import pytest
from hypothesis import Phase, given, settings, strategies

from pytest_trt.errors import ConformanceError
from pytest_trt.records import Finding, Verdict


def test_plain():
    pass


@settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
@given(value=strategies.integers(0, 3))
def test_property(value):
    if value == 3:
        error = ConformanceError("wrong")
        error.verdict = Verdict("violates", (Finding("interval", "violates"),))
        raise error


def test_never_reached():
    raise KeyError
"""


def run_recorded(tmp_path, source):
    (tmp_path / "test_it.py").write_text(source)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_trt.bite.recorder",
    ]
    done = subprocess.run(
        [*command, f"--trt-bite-record={tmp_path / 'r.json'}", "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    return done.returncode, json.loads((tmp_path / "r.json").read_text())


def test_recorder_notes_the_first_failure(tmp_path):
    status, record = run_recorded(tmp_path, SESSION)
    assert status == 1
    assert (record["test"], record["checks"]) == ("test_it.py::test_property", ["interval"])
    assert record["examples"] >= 2


def test_operators_run_first_and_networks_last(tmp_path):
    for name in ("batch", "models", "operators", "refit"):
        (tmp_path / f"test_{name}.py").write_text(f"def test_{name}():\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_trt.bite.recorder",
    ]
    done = subprocess.run(
        [*command, f"--trt-bite-record={tmp_path / 'r.json'}"], cwd=tmp_path, capture_output=True, text=True
    )
    seen = [line.partition("::")[0] for line in done.stdout.splitlines() if "PASSED" in line]
    assert seen == ["test_operators.py", "test_batch.py", "test_refit.py", "test_models.py"]


def test_recorder_of_a_good_session(tmp_path):
    status, record = run_recorded(tmp_path, "def test_plain():\n    pass\n")
    assert (status, record) == (0, {"test": "", "checks": [], "examples": 1})
