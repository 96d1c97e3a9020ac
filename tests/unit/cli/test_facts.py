"""Probing a module in a process of its own: what works, is missing, is broken, crashes, hangs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.cli.facts import probe_module


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_working_module_tells_version_and_libraries(modules: Path) -> None:
    (modules / "good.py").write_text("import ctypes, math, zlib\nprint('noise')\n__version__ = '1.2'\n")
    probe = probe_module("good")
    assert probe.works and probe.version == "1.2"
    assert probe.libraries and all(".so" in path for path in probe.libraries)


def test_absent_module_is_missing() -> None:
    probe = probe_module("no_such_module_at_all")
    assert not probe.works
    assert probe.missing == "ModuleNotFoundError: No module named 'no_such_module_at_all'"


def test_module_that_must_come_first_may_be_missing(modules: Path) -> None:
    (modules / "good.py").write_text("")
    assert "no_first" in probe_module("good", before=("no_first",)).missing


def test_module_without_its_library_is_broken(modules: Path) -> None:
    (modules / "tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    )
    probe = probe_module("tensorrt")
    assert not probe.missing
    assert probe.error == "ImportError: libnvinfer.so.10: cannot open shared object file"


def test_module_without_its_own_dependency_is_broken(modules: Path) -> None:
    (modules / "half.py").write_text("import no_such_dependency")
    assert "no_such_dependency" in probe_module("half").error


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the import ended in signal 11"),
        ("import os; os._exit(3)", "the import ended the process with status 3"),
        ("import os; os._exit(0)", "the import ended the process with status 0"),
    ],
)
def test_module_that_crashes_does_not_take_us_along(modules: Path, code: str, message: str) -> None:
    (modules / "crash.py").write_text(code)
    assert probe_module("crash").error == message


def test_module_that_hangs_is_given_up(modules: Path) -> None:
    (modules / "hang.py").write_text("import time; time.sleep(60)")
    assert probe_module("hang", seconds=1).error == "the import hung for 1 s"
