"""Import the TensorRT that is installed: `tensorrt`, and `tensorrt_rtx` in both layouts of its wheels."""

from __future__ import annotations

import importlib
import importlib.util
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
        return Found(trt, product, str(getattr(trt, "__version__", "?")))
    broken = [reason for installed, reason in reasons if installed]
    reason = broken[0] if broken else reasons[0][1]
    return Missing(product, reason, _COMMANDS[product])


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
