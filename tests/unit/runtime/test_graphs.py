"""Where enqueues can be captured, through what, and what is said where they cannot."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_trt.errors import DriverError
from pytest_trt.records import Settings
from pytest_trt.runtime import graphs
from pytest_trt.runtime.load import Runtime, discover


def fake(**facts: Any) -> Runtime:
    return cast(Runtime, SimpleNamespace(**facts))


def test_the_emulator_on_a_cpu_plays_captures() -> None:
    rt = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert rt is not None
    assert graphs.why_no_graphs(rt) == ""
    assert isinstance(graphs.load_driver(rt), graphs.EmulatedDriver)


def test_what_onnx_runtime_enqueues_is_not_captured() -> None:
    emulated = fake(emulated=True, device="cuda:0", title="emulator (tensorrt-10.13.3.9) on cuda:0")
    assert "is not captured" in graphs.why_no_graphs(emulated)
    assert graphs.why_no_graphs(fake(emulated=False, device="cuda:0")) == ""


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    graphs.load_library.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lacks)
    for emulated in (False, True):
        with pytest.raises(DriverError, match="cannot open shared object"):
            graphs.load_driver(fake(emulated=emulated, device="cuda:0"))
