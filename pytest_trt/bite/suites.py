"""Runs the suites against a TensorRT that is wrong in one way, or another correct one, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.bite.records import SuiteRow
from pytest_trt.emulator.faults import FAULTS, HONEST, Entry
from pytest_trt.records import PRECISIONS

# What a plain `pytest suites` runs; a fault of other contracts is run at theirs, on a GPU class that has them.
DEFAULT = ("fp32", "fp16", "int8")
_OTHER_GPU = "a100"
# A property that takes longer than this with one fault hangs.
LIMIT_SECONDS = 600
_OUTCOMES = {0: "survived", 1: "caught"}


@dataclass(frozen=True)
class SuiteTask:
    """One fault or honest variant, by name."""

    name: str
    honest: bool = False


def precisions_of(entry: Entry) -> tuple[str, ...]:
    """Return the precisions to run with: the default ones where the entry matters there, else its own; may be empty.

    A correct kernel is run where its contract allows it and nowhere else: it may be wrong there.
    """
    own = tuple(name for name in PRECISIONS if name in entry.contracts)
    shared = tuple(name for name in DEFAULT if name in own)
    if entry.family == "honest":
        return shared or own
    return DEFAULT if shared else own


def command_for(entry: Entry, precisions: tuple[str, ...], folder: Path) -> list[str]:
    """Return the command line of one run."""
    arguments = [
        *(sys.executable, "-m", "pytest", "--pyargs", "pytest_trt.suites", "-q", "--tb=line", "-x"),
        *("-p", "no:cacheprovider", "-p", "pytest_trt.bite.recorder"),
        f"--trt-bite-record={folder / 'record.json'}",
        "--trt-runtime=emulator",
        "--trt-budget=quick",
        "--trt-seed=0",
        f"--trt-precision={','.join(precisions)}",
        f"--trt-cache-dir={folder / 'cache'}",
        f"--trt-fault=pytest_trt.emulator.faults:{entry.name}",
    ]
    if not set(precisions) <= set(DEFAULT):
        arguments.append(f"--gpu={_OTHER_GPU}")
    if entry.family == "honest":
        arguments.append(f"--trt-rungs={','.join(dict.fromkeys(['direct', 'unfused', entry.rung]))}")
    # Real builds do not execute: no fault shows there.
    arguments.append(f"--ignore={suites_folder() / 'test_build.py'}")
    return arguments


def suites_folder() -> Path:
    """Return where the suites are: in the checkout, or in the installed package."""
    found = importlib.util.find_spec("pytest_trt.suites")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def run_suites(task: SuiteTask) -> SuiteRow:
    """Return how the suites fared with one fault or honest variant."""
    entry = (HONEST if task.honest else FAULTS)[task.name]
    precisions = precisions_of(entry)
    row = SuiteRow(entry.name, entry.family, list(entry.mutants), list(precisions), "not applicable")
    if not precisions:
        return row
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="trt-bite-") as name:
        folder = Path(name)
        try:
            done = subprocess.run(
                command_for(entry, precisions, folder),
                cwd=folder,
                env=_environment(),
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            status, told = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            status, told = -1, f"it took longer than {LIMIT_SECONDS} s"
        _fill(row, status, told, folder / "record.json")
    row.seconds = time.perf_counter() - started
    return row


def _fill(row: SuiteRow, status: int, told: str, path: Path) -> None:
    """Put what a run told into its row."""
    row.outcome = _OUTCOMES.get(status, "broken")
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    row.checks, row.test = list(record.get("checks", [])), str(record.get("test", ""))
    row.examples = int(record.get("examples", 0))
    if row.outcome == "caught" and not row.test:
        row.outcome = "broken"  # the run failed, and no test did
    if row.outcome == "survived" and not row.examples:
        row.outcome = "broken"  # nothing ran
    if row.outcome == "broken":
        row.note = " | ".join(line for line in told.splitlines() if line.strip())[-400:]
    elif row.family == "honest":
        row.outcome = "passed" if row.outcome == "survived" else "refused"


def _environment() -> dict[str, str]:
    """Return this process's environment without what would change the run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TRT_") and name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
    }
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
