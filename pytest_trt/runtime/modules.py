"""Import the TensorRT that is installed: `tensorrt`, and `tensorrt_rtx` in both layouts of its wheels."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pytest_trt.records import Missing

RTX_COMMAND = 'pip install "pytest-trt[rtx]"'
TENSORRT_COMMAND = 'pip install "pytest-trt[tensorrt]"'
# (packages to import first because they load the shared library, module with the API)
_LAYOUTS: dict[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "tensorrt": (((), "tensorrt"), ((), "tensorrt_bindings")),
    "tensorrt_rtx": (
        ((), "tensorrt_rtx"),
        (("onnxruntime_ep_nv_tensorrt_rtx",), "tensorrt_rtx_bindings"),
        ((), "tensorrt_rtx_bindings"),
    ),
}
SONAMES = {
    "tensorrt": ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"),
    "tensorrt_rtx": ("libtensorrt_rtx.so.1",),
}
_COMMANDS = {"tensorrt": TENSORRT_COMMAND, "tensorrt_rtx": RTX_COMMAND}
TITLES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True)
class Found:
    """An imported TensorRT: its module, its product (`tensorrt` or `tensorrt_rtx`) and its version."""

    trt: Any
    product: str
    version: str

    @property
    def title(self) -> str:
        """Its name and version as NVIDIA writes them."""
        return f"{TITLES[self.product]} {self.version}"


def find(product: str) -> Found | Missing:
    """Import a product and return it, or say in the words of the ImportError why it is not here.

    A missing shared library shows as an ImportError of the bindings (`libnvinfer.so.10: cannot open shared
    object file`), so a distribution that is installed may still be unusable; its error is told rather than
    that of a module that is simply not installed.
    """
    reasons: list[tuple[bool, str]] = []
    for helpers, name in _LAYOUTS[product]:
        if any(not _installed(module) for module in (*helpers, name)):
            absent = next(module for module in (*helpers, name) if not _installed(module))
            reasons.append((False, f"ImportError: No module named {absent!r}"))
            continue
        try:
            for helper in helpers:
                importlib.import_module(helper)
            trt = importlib.import_module(name)
            trt.Builder, trt.Runtime, trt.ILogger  # noqa: B018  a folder named like it would import as an empty package
        except (ImportError, OSError, AttributeError) as error:
            reasons.append((True, f"{type(error).__name__}: {error}"))
            continue
        found = Found(trt, product, str(getattr(trt, "__version__", "?")))
        library = library_version(product)
        if library is not None and found.version.split(".")[:2] != [str(part) for part in library[:2]]:
            words = ".".join(str(part) for part in library)
            return Missing(
                product,
                f"bindings {found.version} with library {words}: major and minor version must agree",
                _COMMANDS[product],
            )
        return found
    broken = [reason for installed, reason in reasons if installed]
    reason = broken[0] if broken else reasons[0][1]
    return Missing(product, reason, _COMMANDS[product])


def library_version(product: str) -> tuple[int, int, int] | None:
    """Return the version of the shared library that this process has loaded, None where it cannot be asked.

    Notes
    -----
    `getInferLibVersion` gives major * 1000 + minor * 100 + patch up to TensorRT 9, major * 10000 + minor *
    100 + patch from 10 on and for TensorRT-RTX (`NV_TENSORRT_VERSION` in NvInferVersion.h).
    """
    noload = getattr(os, "RTLD_NOLOAD", None)
    if noload is None:
        return None
    for soname in SONAMES[product]:
        with suppress(OSError, AttributeError):
            number = int(ctypes.CDLL(soname, mode=noload | os.RTLD_NOW).getInferLibVersion())
            base = 1000 if product == "tensorrt" and number < 10000 else 10000
            return number // base, number % base // 100, number % 100
    return None


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
