"""Versions that do not agree: each place has a lie that its own check alone tells."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_trt.runtime import agreement, modules
from pytest_trt.runtime.agreement import Versions, collect, compare, find_loaded
from suites._version import PARSER, PLAYED, check_emulated

HONEST = Versions(
    "tensorrt",
    "10.13.3.9",
    library=(10, 13, 3),
    parts=(10, 13, 3, 9),
    symbol="10.13.3.9",
    packages={"tensorrt-cu12": "10.13.3.9"},
    soname=10,
    headers={"/opt/tensorrt/include/NvInferVersion.h": "10.13.3"},
    place="/opt/tensorrt/lib/libnvinfer.so.10",
)
LIES = {
    agreement.LIBRARY: {"library": (10, 13, 2)},
    agreement.PARTS: {"parts": (10, 13, 3, 8)},
    agreement.SYMBOL: {"symbol": "10.12.0.36"},
    agreement.PACKAGE: {"packages": {"tensorrt-cu12": "10.13.3.9", "tensorrt-cu12-libs": "10.14.1.48"}},
    agreement.SONAME: {"soname": 8},
    agreement.HEADER: {"headers": {"/opt/tensorrt/include/NvInferVersion.h": "11.0.0"}},
}


def broken(found):
    rows = list(compare(found))
    return {check for check, note in rows if note is not None}


def test_versions_that_agree_pass_and_every_check_was_made():
    assert broken(HONEST) == set()
    assert {check for check, _ in compare(HONEST)} == set(agreement.NAMES) == set(LIES)


@pytest.mark.parametrize("check", LIES)
def test_a_lie_is_told_by_its_own_check_alone(check):
    assert broken(replace(HONEST, **LIES[check])) == {check}


def test_a_header_without_a_version_is_told():
    (note,) = (note for _, note in compare(replace(HONEST, headers={"/x.h": ""})) if note)
    assert note == "/x.h says nothing, the bindings say 10.13.3.9"


def test_what_follows_a_release_name_is_not_compared():
    assert broken(replace(HONEST, module="10.13.3b1")) == set()
    assert agreement.HEADER in broken(replace(HONEST, module="10.14.1b1"))


def test_places_that_say_nothing_are_passed_over():
    assert list(compare(Versions("tensorrt", "8.6.1"))) == []


def test_a_library_of_another_version_under_the_bindings(monkeypatch, tmp_path):
    """A stub library with 10.14's symbol and functions, and bindings that say 10.13."""
    library = tmp_path / "libnvinfer.so.10"
    library.write_bytes(b"\x7fELF\0tensorrt_version_10_14_1_48\0")
    functions = {
        f"getInferLib{part}Version": lambda n=n: n
        for part, n in zip(agreement._PARTS, (10, 14, 1, 48), strict=True)
    }
    monkeypatch.setattr(agreement, "find_loaded", lambda stem: library)
    monkeypatch.setattr(modules, "library_version", lambda product: (10, 14, 1))

    def load(name, mode=0):
        if name != "libnvinfer.so.10":
            raise OSError(name)
        return SimpleNamespace(**functions)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(agreement.versions, "list_roots", lambda: ())
    found = collect("tensorrt", SimpleNamespace(__version__="10.13.3.9"))
    assert (found.parts, found.symbol, found.soname) == ((10, 14, 1, 48), "10.14.1.48", 10)
    assert {agreement.LIBRARY, agreement.PARTS, agreement.SYMBOL} <= broken(found)


def test_headers_count_only_beside_the_library(monkeypatch, tmp_path):
    for name, version in (("ours", 10), ("theirs", 11)):
        (tmp_path / name / "include").mkdir(parents=True)
        (tmp_path / name / "lib").mkdir()
        lines = zip(("MAJOR", "MINOR", "PATCH"), (version, 13, 3), strict=True)
        text = "".join(f"#define NV_TENSORRT_{part} {number}\n" for part, number in lines)
        (tmp_path / name / "include" / "NvInferVersion.h").write_text(text)
    library = tmp_path / "ours" / "lib" / "libnvinfer.so.10"
    library.write_bytes(b"x")
    monkeypatch.setattr(agreement.versions, "list_roots", lambda: (tmp_path / "ours", tmp_path / "theirs"))
    assert list(agreement._headers(library).values()) == ["10.13.3"]


def test_the_loaded_library_is_found(tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f10 r--p 0 08:01 1    /usr/lib/libnvinfer_plugin.so.10.13.3\n"
        "7f20-7f30 rw-p 0 00:00 0\n"
        "7f40-7f50 r-xp 0 08:01 2    /usr/lib/libnvinfer.so.10.13.3\n"
    )
    assert str(find_loaded("nvinfer", maps)) == "/usr/lib/libnvinfer.so.10.13.3"
    assert find_loaded("tensorrt_rtx", maps) is None
    assert find_loaded("nvinfer", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("version", "parser", "check"),
    [("10.12.0", 101303, PLAYED), ("10.13.3", 0, PARSER), ("10.13.3", 1, None)],
)
def test_an_emulator_that_plays_another_version_is_told(version, parser, check):
    trt = SimpleNamespace(__version__=version, get_nv_onnx_parser_version=lambda: parser)
    rows = check_emulated(SimpleNamespace(trt=trt, version="10.13.3"))
    assert {name for name, note in rows if note} == ({check} if check else set())
