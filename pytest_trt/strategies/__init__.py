"""Hypothesis strategies for configurations: each draws a `Case`, which makes its own model."""

from __future__ import annotations

from pytest_trt.strategies.budget import apply_budget
from pytest_trt.strategies.case import Case
from pytest_trt.strategies.conv import (
    ConvCase,
    ConvTransposeCase,
    batch_cases,
    conv_cases,
    conv_transpose_cases,
)
from pytest_trt.strategies.corners import corners, with_corners
from pytest_trt.strategies.elementwise import ElementwiseCase, elementwise_cases
from pytest_trt.strategies.gemm import GemmCase, MatMulCase, gemm_cases
from pytest_trt.strategies.motifs import MotifCase, motif_cases
from pytest_trt.strategies.pool import PoolCase, pool_cases

__all__ = [
    "Case",
    "ConvCase",
    "ConvTransposeCase",
    "ElementwiseCase",
    "GemmCase",
    "MatMulCase",
    "MotifCase",
    "PoolCase",
    "apply_budget",
    "batch_cases",
    "conv_cases",
    "conv_transpose_cases",
    "corners",
    "elementwise_cases",
    "gemm_cases",
    "motif_cases",
    "pool_cases",
    "with_corners",
]
