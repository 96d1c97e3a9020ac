"""What is printed past the logger is caught at descriptors 1 and 2, and these are put back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from pytest_trt.runtime.capture import FdCapture, process_capture


def test_writes_to_both_descriptors_are_caught(capfd) -> None:  # type: ignore[no-untyped-def]
    before = [os.fstat(number).st_ino for number in (1, 2)]
    with FdCapture().block() as held:
        os.write(1, b"compiler says\n")
        os.write(2, b"and warns\n")
    assert held.text == "compiler says\nand warns\n"
    assert [os.fstat(number).st_ino for number in (1, 2)] == before
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"


def test_blocks_that_overlap_share_one_redirection() -> None:
    capture = FdCapture()
    inside, release = threading.Event(), threading.Event()
    texts: list[str] = []

    def work() -> None:
        with capture.block() as held:
            os.write(1, b"A")
            inside.set()
            release.wait(10)
        texts.append(held.text)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    with capture.block() as held:
        os.write(1, b"B")
    assert held.text == "B"
    release.set()
    thread.join()
    assert texts == ["AB"]


def test_an_error_inside_still_puts_them_back() -> None:
    before = os.fstat(1).st_ino
    try:
        with process_capture().block():
            raise ValueError
    except ValueError:
        assert os.fstat(1).st_ino == before


def test_closed_descriptors_are_no_error() -> None:
    code = (
        "import os; os.close(1); os.close(2)\n"
        "from pytest_trt.runtime.capture import FdCapture\n"
        "with FdCapture().block() as held: pass\n"
        "raise SystemExit(0 if held.text == '' else 3)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdin=subprocess.DEVNULL).returncode == 0
