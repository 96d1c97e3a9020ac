"""The table of known log lines."""

from __future__ import annotations

import re

import pytest

from pytest_trt.cases import log_lines
from pytest_trt.cases.log_lines import compile_pattern, known_lines, table
from pytest_trt.errors import SettingsError
from pytest_trt.records import LogLine

SEEN = {  # a line as it was seen
    "cuda-without-driver": (
        "ERROR",
        "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at /_src/common/dispatch/"
        "checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA runtime version))",
    ),
    "hardware-compatibility-level": (
        "WARNING",
        "getHardwareCompatibilityLevel() is unsupported in TensorRT-RTX.",
    ),
    "int64-weights": (
        "WARNING",
        "onnx2trt_utils.cpp:198: Your ONNX model has been generated with INT64 weights, while TensorRT does not natively"
        " support INT64. Attempting to cast down to INT32.",
    ),
    "lazy-loading": (
        "WARNING",
        "CUDA lazy loading is not enabled. Enabling it can significantly reduce device memory usage.",
    ),
    "thread-context": ("INTERNAL_ERROR", "Thread context has not been set! Using global log stream."),
}


def test_each_row_knows_the_line_it_was_made_from_and_no_other():
    rows = {row.name: row for row in table()}
    assert set(rows) == set(SEEN)
    for name, seen in SEEN.items():
        assert [row.name for row in rows.values() if row.excuses(LogLine(*seen))] == [name]
        worse = {"ERROR": "INTERNAL_ERROR", "WARNING": "ERROR"}.get(seen[0])
        assert worse is None or not rows[name].excuses(LogLine(worse, seen[1]))
        assert rows[name].source and rows[name].reason


@pytest.mark.parametrize(
    ("product", "version", "names"),
    [
        ("tensorrt", "8.6.1", {"int64-weights", "lazy-loading"}),
        ("tensorrt", "10.0.1", {"lazy-loading"}),
        ("tensorrt", "10.0.0b6", {"lazy-loading"}),
        ("tensorrt_rtx", "1.4.0.76", set()),
        (
            "tensorrt_rtx",
            "1.7.1.116",
            {"cuda-without-driver", "hardware-compatibility-level", "thread-context"},
        ),
    ],
)
def test_rows_speak_of_their_versions(product, version, names):
    assert {row.name for row in known_lines([(product, version)])} == names
    assert known_lines([]) == ()


@pytest.mark.parametrize(("text", "words"), [("(", "no regular expression"), ("a*", "matches every line")])
def test_a_pattern_that_cannot_be_used_is_refused(text, words):
    with pytest.raises(SettingsError, match=words):
        compile_pattern(text, "here")


GOOD = {
    "product": "tensorrt",
    "since": "8.6",
    "until": "",
    "severity": "WARNING",
    "pattern": "words",
    "reason": "harmless",
    "source": "seen",
}


@pytest.mark.parametrize(
    ("names", "change", "words"),
    [
        ("ba", {}, "is not sorted"),
        ("a", {"severity": "INFO"}, "fields or severity"),
        ("a", {"reason": ""}, "fields or severity"),
        ("a", {"other": "1"}, "fields or severity"),
        ("a", {"pattern": "("}, "no regular expression"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, monkeypatch, names, change, words):
    rows = "".join(
        f"[{name}]\n" + "".join(f"{k} = {v!r}\n" for k, v in {**GOOD, **change}.items()) for name in names
    )
    (tmp_path / "log_lines.toml").write_text(rows, encoding="utf-8")
    monkeypatch.setattr(log_lines, "__file__", str(tmp_path / "log_lines.py"))
    log_lines.table.cache_clear()
    try:
        with pytest.raises(SettingsError, match=re.escape(words)):
            table()
    finally:
        log_lines.table.cache_clear()
