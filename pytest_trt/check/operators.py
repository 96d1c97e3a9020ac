"""Every operator that has a limit: importing this module registers the handlers."""

from __future__ import annotations

from pytest_trt.check import (
    ops_heavy,
    ops_logic,
    ops_move,
    ops_norm,
    ops_pointwise,
    ops_pool,
    ops_quant,
    ops_reduce,
    ops_resize,
    ops_special,
)
from pytest_trt.check.interpret import HANDLERS

MODULES = (
    ops_heavy,
    ops_logic,
    ops_move,
    ops_norm,
    ops_pointwise,
    ops_pool,
    ops_quant,
    ops_reduce,
    ops_resize,
    ops_special,
)


def with_limit() -> frozenset[str]:
    """Return the ONNX operators that the check can judge."""
    return frozenset(HANDLERS)
