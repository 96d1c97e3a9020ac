"""Where enqueues cannot be captured is told in words."""

from __future__ import annotations

import ctypes

import pytest

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.records import Settings
from pytest_trt.runtime import graphs
from pytest_trt.runtime.load import discover


def test_an_emulator_has_nothing_to_capture() -> None:
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None
    assert "no stream that CUDA can capture" in graphs.why_no_graphs(rt)


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", lacks)
    with pytest.raises(RuntimeMissingError, match="cannot open shared object"):
        graphs.load_driver()
