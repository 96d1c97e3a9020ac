"""Plugins of all tests: `pytester` has to be named at the top."""

from __future__ import annotations

import onnx.defs
import pytest

pytest_plugins = ["pytester"]

_BF16 = pytest.mark.skip(reason="this onnx has no operator set 22, which bf16 needs: pip install onnx>=1.17")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip cases of bf16 where onnx is too old for it."""
    if onnx.defs.onnx_opset_version() >= 22:
        return
    for item in items:
        given = getattr(item, "callspec", None)
        if given is not None and "bf16" in given.params.values():
            item.add_marker(_BF16)
