"""A PyCUDA that records, on machines without a GPU."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from .fake_pycuda import Driver


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """`pycuda.driver` with two devices."""
    made = Driver(devices=2)
    package = ModuleType("pycuda")
    package.driver = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", made)
    return made
