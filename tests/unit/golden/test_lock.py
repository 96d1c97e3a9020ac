"""One holder at a time, between threads and processes; a dead holder holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.golden.lock import hold_lock

from .stores import list_files


def test_the_lock_leaves_nothing(tmp_path: Path) -> None:
    with hold_lock(str(tmp_path / ".lock")):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
    assert list_files(tmp_path) == {}


def test_a_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    path = str(tmp_path / ".lock")
    told = pytest.raises(GoldenError, match=f"locked by process {os.getpid()}")
    with hold_lock(path), told, hold_lock(path, seconds=0):
        pytest.fail("two holders")
    with hold_lock(path, seconds=0):
        pass


def test_the_file_of_a_killed_holder_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    code = "import os, sys; from pytest_trt.golden.lock import hold_lock\nwith hold_lock(sys.argv[1]): os._exit(9)"
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert (done.returncode, path.exists()) == (9, True)
    with hold_lock(str(path), seconds=0):
        pass


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with hold_lock(str(tmp_path / ".lock")):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list_files(tmp_path) == {}


def test_a_folder_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    told = pytest.raises(GoldenError, match=r"the goldens cannot be locked: .Errno 37. No locks available")
    with told, hold_lock(str(tmp_path / ".lock")):
        pytest.fail("no lock was held")
