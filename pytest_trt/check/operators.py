"""Every operator that has a limit: importing this module registers the handlers."""

from __future__ import annotations

from pytest_trt.check import ops_heavy, ops_move, ops_pointwise, ops_pool, ops_quant
from pytest_trt.check.interpret import HANDLERS

MODULES = (ops_heavy, ops_move, ops_pointwise, ops_pool, ops_quant)


def with_limit() -> frozenset[str]:
    """Return the ONNX operators that the check can judge."""
    return frozenset(HANDLERS)
