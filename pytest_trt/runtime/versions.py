"""Where the version of a TensorRT shows besides its module: distributions, exported symbols, headers."""

from __future__ import annotations

import importlib.metadata
import mmap
import os
import re
from collections.abc import Iterable
from pathlib import Path

_FOLDERS = (
    "/usr/local/TensorRT*",
    "/usr/local/tensorrt*",
    "/opt/TensorRT*",
    "/opt/tensorrt*",
    "/usr/local",
    "/usr",
)


def find_distributions(prefix: str = "tensorrt") -> tuple[str, ...]:
    """Return `NAME VERSION` of every installed distribution whose name begins with `prefix`, sorted."""
    found = set()
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("_", "-")
        if name.lower().startswith(prefix):
            found.add(f"{name} {distribution.version}")
    return tuple(sorted(found))


def list_roots() -> tuple[Path, ...]:
    """Return the folders under which TensorRT's own archives and packages put `include` and `lib`."""
    named = [os.environ[key] for key in ("TENSORRT_ROOT", "TRT_ROOT", "TensorRT_ROOT") if os.environ.get(key)]
    roots = [Path(name) for name in named]
    for pattern in _FOLDERS:
        roots += sorted(Path("/").glob(pattern.lstrip("/")))
    return tuple(dict.fromkeys(root for root in roots if root.is_dir()))


def find_headers(roots: Iterable[Path]) -> tuple[Path, ...]:
    """Return the `NvInferVersion.h` files under the `include` folders of these roots."""
    found = []
    for root in roots:
        for pattern in ("include/NvInferVersion.h", "include/*/NvInferVersion.h"):
            found += sorted(root.glob(pattern))
    return tuple(dict.fromkeys(found))


def find_libraries(roots: Iterable[Path], stem: str) -> tuple[Path, ...]:
    """Return the files `libSTEM.so*` in LD_LIBRARY_PATH and under these roots, links resolved."""
    folders = [Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name]
    for root in roots:
        for pattern in ("lib", "lib/*-linux-gnu", "lib64", "targets/*/lib"):
            folders += sorted(root.glob(pattern))
    found = []
    for folder in folders:
        if folder.is_dir():
            found += [path.resolve() for path in folder.glob("*.so*") if is_library(str(path), stem)]
    return tuple(dict.fromkeys(found))


def is_library(path: str, stem: str) -> bool:
    """Return whether a path names `libSTEM.so`, versioned or not; `libSTEM_plugin.so` is another one."""
    return re.search(rf"(^|/)lib{re.escape(stem)}\.so(\.[\d.]+)?$", path) is not None


def read_symbol_version(library: Path) -> str:
    """Return the version in the exported symbol `tensorrt_version_*`; empty when there is none.

    Source: `nm -D`, item 1 of the TensorRT FAQ. The file is searched, not loaded: loading may crash.
    """
    try:
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = re.search(rb"\0tensorrt_version_(\d+(?:_\d+)+)\0", data)
            return found[1].decode().replace("_", ".") if found else ""
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return ""


def read_header_version(text: str) -> str:
    """Return `major.minor.patch` that a `NvInferVersion.h` defines; empty when it does not.

    A value may be another macro (11.x: `NV_TENSORRT_MAJOR` is `TRT_MAJOR_ENTERPRISE`), so names are followed.
    """
    macros = dict(re.findall(r"^\s*#\s*define\s+(\w+)\s+(\w+)", text, flags=re.MULTILINE))
    numbers = []
    for part in ("MAJOR", "MINOR", "PATCH"):
        value, seen = macros.get(f"NV_TENSORRT_{part}", ""), set[str]()
        while value in macros and value not in seen:
            seen.add(value)
            value = macros[value]
        if not value.isdigit():
            return ""
        numbers.append(value)
    return ".".join(numbers)
