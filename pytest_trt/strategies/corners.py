"""Cases that every run looks at, whatever it draws: odd channels, one-sided pads, biases, profiles, public bugs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from hypothesis import example

from pytest_trt.errors import SettingsError
from pytest_trt.strategies.case import Case

Function = TypeVar("Function", bound=Callable[..., Any])

CORNERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "conv": (
            "conv2d-n2-c9-o17-i7x6-k3x3-t1x1-p0x1x2x0-d1x1-g1-b1-w_int-s1",
            "conv2d-n2-c16-o32-i6x6-k3x3-t2x1-p1x1x1x1-d1x2-g1-b1-q1x2x4-w_real-s2",
            "conv2d-n1-c33-o33-i4x5-k3x3-t1x1-p1x0x1x2-d1x1-g33-b1-w_grid-s3",
            # NVIDIA/TensorRT issue 4678: the kernel is the stride, and is large.
            "conv2d-n1-c3-o16-i28x28-k14x14-t14x14-p0x0x0x0-d1x1-g1-b1-w_real-s4",
            "conv1d-n3-c8-o12-i19-k4-t3-p2x0-d2-g4-b1-q1x3x5-w_grid-s5",
            "conv3d-n2-c4-o8-i4x5x3-k2x3x2-t1x2x1-p0x1x0x1x0x1-d1x1x1-g1-b1-w_int-s6",
        ),
        "conv_transpose": (
            "conv_transpose2d-n2-c8-o7-i4x3-k3x3-t2x3-p0x1x1x0-d1x1-g1-b1-e1x2-w_real-s1",
            "conv_transpose2d-n1-c16-o24-i3x4-k2x3-t1x1-p0x1x1x0-d1x2-g4-b1-e0x0-q1x1x3-w_grid-s2",
            # Issue 1840: a 1-D deconvolution with bias in INT8.
            "conv_transpose1d-n2-c5-o9-i7-k4-t2-p1x0-d1-g1-b1-e1-w_int-s3",
            "conv_transpose3d-n1-c4-o3-i2x3x2-k2x2x3-t2x1x2-p0x0x1x1x0x0-d1x1x1-g1-b1-e1x0x0-w_int-s4",
        ),
        "pool": (
            # Issue 779: what the divisor counts.
            "average_pool2d-n2-c9-i7x6-k3x2-t2x2-p1x0x0x1-z0-y1-w_int-s0",
            "average_pool2d-n1-c3-i6x7-k3x3-t2x2-p1x1x0x0-z1-y0-w_int-s0",
            "max_pool2d-n3-c8-i5x6-k3x3-t2x2-p1x0x0x1-z1-y0-q1x3x4-w_int-s0",
            "max_pool3d-n1-c5-i3x4x3-k2x2x3-t1x2x1-p0x1x0x1x0x1-z0-y0-w_int-s0",
            "global_average_pool2d-n2-c17-i5x7-z0-y0-w_int-s0",
        ),
        "gemm": (
            "gemm-n9-k129-o17-ta0-tb1-al4-be4-b1-q1x9x16-w_real-s1",
            "gemm-n7-k33-o65-ta1-tb0-al2-be8-b1-w_grid-s2",
            "gemm-n8-k1024-o8-ta0-tb0-al4-be4-b1-w_int-s3",
            "matmul-n3-m8-k64-o31-i1-q1x3x3-w_int-s0",
            "matmul-n2-m3-k65-o9-i0-w_real-s4",
        ),
        "elementwise": (
            "add-n2-c9x3x4-f1-w_real-s1",
            "mul-n2-c5x4-f0-w_int-s0",
            "clip-n2-c7x5-f0-w_int-s0",
            "batch_norm-n2-c8x3x3-f0-q1x2x4-w_real-s2",
            "concat-n2-c9x4-f7-w_int-s0",
            "softmax-n3-c17x2-f1-w_int-s0",
            "log_softmax-n2-c5x17-f2-w_int-s0",
            # The forms in which trained networks are exported: GELU below operator set 20, SiLU, Mish.
            "gelu-n2-c9x5-f0-w_int-s0",
            "silu-n2-c9x5-f0-w_int-s0",
            "mish-n2-c9x5-f0-w_int-s0",
            "prelu-n2-c8x3x3-f0-w_real-s1",
            "where-n2-c7x5-f0-w_real-s2",
            "pow-n2-c7x5-f0-w_int-s0",
            "div-n2-c7x5-f0-w_int-s0",
            # Issues 1954 and 4493: reductions and normalisations in FP16. Axes 1 and 2, kept; the last one, dropped.
            "reduce_mean-n2-c9x7x5-f7-q1x2x4-w_int-s0",
            "reduce_l2-n2-c3x33-f4-w_int-s0",
            "layer_norm-n3-c7x33-f2-q1x3x4-w_real-s3",
            "instance_norm-n2-c9x5x7-f0-w_real-s4",
            # Issues 974 and 1194: which pixel, which weights.
            "resize-n1-c3x5x4-f1-w_int-s0",
            "resize-n2-c3x5x4-f3-q1x2x4-w_int-s0",
            "resize-n1-c3x5x4-f4-w_int-s0",
            "space_to_depth-n2-c3x5x4-f1-w_int-s0",
        ),
        "motif": (
            "conv_bn_relu-n2-c8-o17-i5x4-k3-lo0-hi1-w_real-s1",
            "conv_add_relu-n3-c9-o1-i4x4-k3-lo0-hi1-q1x3x4-w_real-s2",
            "conv_clip-n2-c7-o16-i4x5-k3-lom1-hi2-w_int-s3",
            "depthwise_separable-n2-c16-o9-i5x5-k3-lo0-hi1-w_grid-s4",
            # Issue 4854 and issue 4606.
            "concat_views-n2-c8-o8-i4x4-k3-lo0-hi1-q1x2x3-w_real-s5",
            "matmul_add_clip-n9-c33-o17-k1-lo0-hi6-w_int-s6",
        ),
        "batch": (
            "conv2d-n8-c4-o5-i4x3-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x8x40-w_real-s1",
            "conv2d-n33-c3-o4-i3x3-k2x2-t1x1-p0x1x1x0-d1x1-g1-b1-q7x32x64-w_int-s2",
            "conv2d-n40-c8-o3-i2x2-k1x1-t1x1-p0x0x0x0-d1x1-g1-b0-q40x40x40-w_grid-s3",
            # Issues 1697 (wrong from 8 rows on) and 3855 (from 40 on): both sides of each threshold, and of a warp.
            "conv2d-n7-c3-o4-i2x3-k2x2-t1x1-p0x1x0x0-d1x1-g1-b1-q1x7x8-w_int-s4",
            "conv2d-n9-c4-o3-i3x2-k2x2-t1x1-p1x0x0x0-d1x1-g1-b1-q1x8x9-w_real-s5",
            "conv2d-n31-c2-o3-i2x2-k1x1-t1x1-p0x0x0x0-d1x1-g1-b1-q1x31x32-w_int-s6",
            "conv2d-n32-c3-o2-i2x2-k2x2-t1x1-p0x0x1x0-d1x1-g1-b1-q8x32x33-w_real-s7",
            "conv2d-n39-c3-o4-i1x2-k1x1-t1x1-p0x0x0x0-d1x1-g1-b1-q1x39x40-w_int-s8",
            "conv2d-n41-c4-o3-i2x1-k1x1-t1x1-p0x0x0x0-d1x1-g1-b1-q32x40x41-w_real-s9",
        ),
    }
)


def corners(name: str) -> tuple[Case, ...]:
    """Return the fixed cases that belong to a strategy.

    Parameters
    ----------
    name : str
        A strategy without `_cases`: `conv`, `conv_transpose`, `pool`, `gemm`, `elementwise`, `motif`, `batch`.

    Raises
    ------
    SettingsError
        There is no such strategy.
    """
    if name not in CORNERS:
        raise SettingsError(f"no corner cases for {name!r}", why=f"known: {', '.join(CORNERS)}")
    return tuple(Case.parse(text) for text in CORNERS[name])


def with_corners(name: str) -> Callable[[Function], Function]:
    """Return a decorator that adds a strategy's corner cases to a property test with an argument `case`.

    They are explicit examples: run first, on top of the budget, and each with its own report.
    """

    def decorate(function: Function) -> Function:
        for case in reversed(corners(name)):
            function = example(case=case)(function)
        return function

    return decorate
