"""The layer lists of `tests/unit/runtime/samples`, read."""

from __future__ import annotations

from pathlib import Path

from pytest_trt.records import LogLine
from pytest_trt.runtime.inspect import read_json, read_log

SAMPLES = Path(__file__).parents[1] / "runtime" / "samples"


def sample(name):
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return read_json(text) if name.endswith(".json") else read_log([LogLine("VERBOSE", text)])
