"""Bugs of pools: the boundary of a batch and of a window, and the divisor of a mean."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.building import must_build
from pytest_trt.cases.triggers.nets import integers, net, node
from pytest_trt.cases.triggers.registry import REPRODUCER, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.strategies import Case

# A pooling window has fewer elements than this (onnx/onnx-tensorrt issue 937; `addPoolingNd` says so where it refuses one).
_MOST = 100_000


def _halving(batch: int, width: int) -> ModelProto:
    """Return the pool of the thread: means of neighbouring pixels."""
    pool = node("AveragePool", "x", "y", kernel_shape=[1, 2], strides=[1, 2])
    return net([pool], {"x": [batch, 1, 1, width]}, {"y": [batch, 1, 1, width // 2]})


@trigger("B44", precisions="fp32 fp16", faults="rows_shifted_at_batch_65536 pool_refused_at_batch_65536")
def average_pool_takes_batches_around_65536(trial: Trial) -> None:
    """AveragePool builds and is right at batches of 65535, 65536 and 65537."""
    for batch in (65535, 65536, 65537):
        model = _halving(batch, 4)
        must_build(trial, model)
        trial.check(model, {"x": integers((batch, 1, 1, 4), 8)})


@trigger(
    "B44", fidelity=REPRODUCER, faults="rows_shifted_at_batch_65536 pool_refused_at_batch_65536", seldom=True
)
def average_pool_takes_the_reported_batch(trial: Trial) -> None:
    """AveragePool of (65536, 1, 1, 512) builds, and gives the means of neighbours to the bit."""
    model = _halving(65536, 512)
    must_build(trial, model)
    x = integers((65536, 1, 1, 512), 8)
    with trial.subject(model) as subject:
        got = subject.run({"x": x})["y"]
    wrong = int((got != (x[..., ::2] + x[..., 1::2]) / 2).sum())
    trial.demand([("certificate", f"{wrong} of {got.size} means are wrong" if wrong else None)])


@trigger("B44", precisions="fp32 fp16", fidelity=REPRODUCER, faults="pool_window_cut_from_317")
def pool_takes_windows_around_317(trial: Trial) -> None:
    """A pool over 316 x 316 pixels is right; one over 317 x 317, past TensorRT's limit, is right or refused in words."""
    for operator in ("MaxPool", "AveragePool"):
        for side in (316, 317, 318):
            model = net(
                [node(operator, "x", "y", kernel_shape=[side, side])],
                {"x": [1, 3, side, side]},
                {"y": [1, 3, 1, 1]},
            )
            x = integers((1, 3, side, side), 8, side)
            x[0, :, :, -1] = np.array([[9], [10], [11]])  # the last column holds the maximum
            if must_build(trial, model, may_refuse=side**2 >= _MOST):
                trial.check(model, {"x": x})


@trigger("B45", precisions="fp32 fp16", faults="average_pool_counts_beyond_the_edge")
def mean_counts_no_pixel_beyond_the_edge(trial: Trial) -> None:
    """A window that `ceil_mode` lets reach beyond the input divides by what it covers: ones give ones."""
    # The thread sets CAFFE_ROUND_UP on the layer; in ONNX the same pool has ceil_mode. Exported with pads counted and not.
    for counts in (0, 1):
        model = net(
            [
                node(
                    "AveragePool", "x", "y",
                    kernel_shape=[4, 4], strides=[2, 2], ceil_mode=1, count_include_pad=counts,
                )
            ],
            {"x": [1, 1, 4, 5]},
            {"y": [1, 1, 1, 2]},
            opset=19,
        )  # fmt: skip
        trial.check(model, {"x": np.ones((1, 1, 4, 5), np.float32)})


@trigger("B45", precisions="fp32 fp16", faults="average_pool_divisor_changed")
def mean_over_pads_has_the_divisor_asked_for(trial: Trial) -> None:
    """AveragePool counts its pads where it is told to, and only there, with `ceil_mode` and without."""
    for ends in ("z0-y0", "z0-y1", "z1-y0"):
        case = Case.parse(f"average_pool2d-n2-c3-i7x6-k3x3-t2x2-p1x1x0x1-{ends}-w_int-s0")
        trial.check(case.model(), {"x": integers(case.input_shapes["x"], 8)}, label=case.text)
