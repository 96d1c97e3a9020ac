"""Every operator that has a limit: importing this module registers the handlers."""

from __future__ import annotations

from importlib import import_module

from pytest_trt.check.interpret import HANDLERS

MODULES = tuple(
    import_module(f"pytest_trt.check.ops_{name}")
    for name in "heavy logic move norm pointwise pool quant reduce resize scatter special".split()
)


def with_limit() -> frozenset[str]:
    """Return the ONNX operators that the check can judge."""
    return frozenset(HANDLERS)
