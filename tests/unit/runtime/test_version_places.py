"""Versions read from headers, symbols and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt.runtime import versions

HEADER_10 = """
#define NV_TENSORRT_MAJOR 10 //!< TensorRT major version.
#define NV_TENSORRT_MINOR 13 //!< TensorRT minor version.
#define NV_TENSORRT_PATCH 3  //!< TensorRT patch version.
"""
HEADER_11 = """
#define TRT_MAJOR_ENTERPRISE 11
#define TRT_MINOR_ENTERPRISE 1
#define TRT_PATCH_ENTERPRISE 0
#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE
# define NV_TENSORRT_MINOR TRT_MINOR_ENTERPRISE
#define NV_TENSORRT_PATCH TRT_PATCH_ENTERPRISE
"""
CIRCLE = "#define NV_TENSORRT_MAJOR A\n#define A B\n#define B A\n"


@pytest.mark.parametrize(
    ("text", "version"),
    [(HEADER_10, "10.13.3"), (HEADER_11, "11.1.0"), (CIRCLE, ""), ("", "")],
)
def test_header_version_follows_macros(text: str, version: str) -> None:
    assert versions.read_header_version(text) == version


def test_symbol_version_is_read_from_the_file(tmp_path: Path) -> None:
    library = tmp_path / "libnvinfer.so.10"
    library.write_bytes(b"\x7fELF\0getLogger\0tensorrt_version_10_13_3_9\0more")
    assert versions.read_symbol_version(library) == "10.13.3.9"
    library.write_bytes(b"\x7fELF\0tensorrt_version_\0")
    assert versions.read_symbol_version(library) == ""
    library.write_bytes(b"")
    assert versions.read_symbol_version(library) == ""
    assert versions.read_symbol_version(tmp_path / "none.so") == ""


def test_library_is_told_from_its_companions() -> None:
    assert versions.is_library("/usr/lib/libnvinfer.so.10.13.3", "nvinfer")
    assert versions.is_library("libtensorrt_rtx.so", "tensorrt_rtx")
    assert not versions.is_library("/usr/lib/libnvinfer_plugin.so.10", "nvinfer")
    assert not versions.is_library("/usr/lib/libnvinfer_builder_resource.so.10.13", "nvinfer")


def test_headers_and_libraries_are_found_under_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "include/x86_64-linux-gnu").mkdir(parents=True)
    header = tmp_path / "include/x86_64-linux-gnu/NvInferVersion.h"
    header.write_text(HEADER_10)
    (tmp_path / "lib").mkdir()
    library = tmp_path / "lib/libnvinfer.so.10.13.3"
    library.write_bytes(b"x")
    (tmp_path / "lib/libnvinfer.so.10").symlink_to(library)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/libnvinfer.so.8").write_bytes(b"x")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/other:{tmp_path}/none")
    assert versions.find_headers([tmp_path]) == (header,)
    found = versions.find_libraries([tmp_path], "nvinfer")
    assert found == (tmp_path / "other/libnvinfer.so.8", library)
    monkeypatch.setenv("TENSORRT_ROOT", str(tmp_path))
    assert versions.list_roots()[0] == tmp_path


def test_distributions_are_found_by_prefix() -> None:
    found = versions.find_distributions("pytest")
    assert any(name.startswith("pytest ") for name in found)
    assert versions.find_distributions("no-such-prefix") == ()
