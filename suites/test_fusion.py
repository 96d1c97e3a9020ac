"""Chains that a builder fuses: the fused kernel may keep inner tensors in FP32, it may not compute anything else."""

from __future__ import annotations

from hypothesis import given

from pytest_trt import strategies


@given(case=strategies.motif_cases())
@strategies.with_corners("motif")
def test_motif(conform, case):
    """Conv+BN+ReLU, Conv+Add+ReLU, Conv+Clip, depthwise-separable, Concat views and their like."""
    conform(case)
