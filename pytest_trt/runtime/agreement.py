"""Whether all that tells the version of a TensorRT tells the same one: package, module, library, symbol, SONAME, header."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.runtime import modules, versions

LIBRARY = "library-version"
PARTS = "library-version-parts"
SYMBOL = "symbol-version"
PACKAGE = "package-version"
SONAME = "soname-version"
HEADER = "header-version"
NAMES = (LIBRARY, PARTS, SYMBOL, PACKAGE, SONAME, HEADER)

STEMS = {"tensorrt": "nvinfer", "tensorrt_rtx": "tensorrt_rtx"}
_PARTS = ("Major", "Minor", "Patch", "Build")
_PACKAGES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}


@dataclass(frozen=True)
class Versions:
    """What each place says of one TensorRT; empty where it says nothing.

    Attributes
    ----------
    product : str
        `tensorrt` or `tensorrt_rtx`.
    module : str
        `__version__` of the bindings.
    library : tuple of int
        `getInferLibVersion()`, decoded to major, minor, patch.
    parts : tuple of int
        `getInferLibMajorVersion()` and its like: major, minor, patch, build.
    symbol : str
        The version in the exported symbol `tensorrt_version_*` of the library that is loaded.
    packages : mapping of str to str
        Versions of the installed distributions that hold the bindings, by name.
    soname : int or None
        The number in the SONAME under which the loader knows the library.
    headers : mapping of str to str
        Versions in the `NvInferVersion.h` files beside the library that is loaded, by path.
    place : str
        The library's file.
    """

    product: str
    module: str
    library: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    symbol: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    soname: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    place: str = ""


def collect(product: str, trt: Any) -> Versions:
    """Return what this process and this machine say of the version of a TensorRT that is loaded."""
    place = find_loaded(STEMS[product])
    handle, soname = _open(product)
    return Versions(
        product,
        str(trt.__version__),
        library=modules.library_version(product) or (),
        parts=_parts(handle),
        symbol=versions.read_symbol_version(place) if place else "",
        packages=_packages(product),
        soname=soname,
        headers={} if place is None or product != "tensorrt" else _headers(place),
        place=str(place or ""),
    )


def compare(found: Versions) -> Iterator[tuple[str, str | None]]:
    """Yield what each place says against the bindings: the name of the check, and what is wrong, None where it agrees.

    Places that say nothing are passed over.

    Notes
    -----
    Source: TensorRT FAQ, item 1 (symbols, headers); NvInferVersion.h for the encoding of `getInferLibVersion` and of SONAMEs.
    """
    module = _numbers(found.module)
    if found.library:
        yield LIBRARY, _differ(found, "getInferLibVersion() of the library", found.library, module[:3])
    if found.parts:
        yield PARTS, _differ(found, "getInferLibMajorVersion() and its like", found.parts, module)
    if found.symbol:
        yield SYMBOL, _differ(found, f"tensorrt_version_* of {found.place}", _numbers(found.symbol), module)
    for name, version in found.packages.items():
        yield PACKAGE, _differ(found, f"package {name}", _numbers(version), module)
    if found.soname is not None:
        yield SONAME, _differ(found, "the SONAME", (found.soname,), module[:1])
    for path, version in found.headers.items():
        yield HEADER, _differ(found, path, _numbers(version), module[:3])


def _differ(found: Versions, what: str, got: tuple[int, ...], want: tuple[int, ...]) -> str | None:
    length = min(len(got), len(want))
    if length and got[:length] == want[:length]:
        return None
    said = ".".join(map(str, got)) or "nothing"
    return f"{what} says {said}, the bindings say {found.module}"


def find_loaded(stem: str, maps: Path = Path("/proc/self/maps")) -> Path | None:
    """Return the file `libSTEM.so*` that this process has loaded; None where none is, or the system does not tell."""
    with suppress(OSError):
        for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
            parts = line.split(maxsplit=5)
            if len(parts) == 6 and versions.is_library(parts[5], stem):
                return Path(parts[5])
    return None


def _open(product: str) -> tuple[Any, int | None]:
    """Return the library that is loaded, and the number in its SONAME; by the loader, which knows a library by that name."""
    noload = getattr(os, "RTLD_NOLOAD", None)
    if noload is None:
        return None, None
    for soname in modules.SONAMES[product]:
        with suppress(OSError):
            return ctypes.CDLL(soname, mode=noload | os.RTLD_NOW), int(soname.rpartition(".")[2])
    return None, None


def _parts(handle: Any) -> tuple[int, ...]:
    found = []
    for part in _PARTS:
        try:
            found.append(int(getattr(handle, f"getInferLib{part}Version")()))
        except AttributeError:  # TensorRT before 10 has none of them
            return ()
    return tuple(found)


def _packages(product: str) -> dict[str, str]:
    """Return the distributions `PREFIX`, `PREFIX-cuNN` and their bindings; `tensorrt-lean` and others are other libraries."""
    prefix = _PACKAGES[product]
    found = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("_", "-").lower()
        rest = name.removeprefix(prefix).removesuffix("-bindings").removesuffix("-libs")
        if name.startswith(prefix) and (not rest or (rest.startswith("-cu") and rest[3:].isdigit())):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def _headers(place: Path) -> dict[str, str]:
    """Return the versions in headers under the root that holds the library: `ROOT/lib` and `ROOT/include`."""
    roots = [root for root in versions.list_roots() if root in place.resolve().parents]
    found = {}
    for header in versions.find_headers(roots):
        found[str(header)] = versions.read_header_version(
            header.read_text(encoding="utf-8", errors="replace")
        )
    return found


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break  # 10.0.0b6: what follows is a release name
        numbers.append(int(part))
    return tuple(numbers)
