"""Bugs of INT8: transposed convolutions, and depthwise convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.building import must_build
from pytest_trt.cases.triggers.nets import levels, net, node, quantised
from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.numerics.formats import Array
from pytest_trt.strategies import Case

_STEP = np.float32(2.0**-5)


def _on_levels(shape: tuple[int, ...], seed: int = 0, step: float = float(_STEP)) -> Array:
    """Return float32 values that lie on INT8 levels of a step."""
    return np.asarray(levels(shape, seed) * np.float32(step))


@trigger("B31", precisions="int8", faults="bias_not_rescaled")
def deconvolution_in_one_dimension_adds_its_bias(trial: Trial) -> None:
    """INT8 ConvTranspose in one dimension is right with a bias and without."""
    for bias in (1, 0):
        case = Case.parse(f"conv_transpose1d-n2-c5-o9-i7-k4-t2-p1x0-d1-g1-b{bias}-e1-w_int-s3")
        trial.check(case.model(), profile=case.profile, shapes=case.input_shapes, label=case.text)
        model, x = _deconvolution(1, axis=1, bias=bool(bias))
        trial.check(model, {"x": x})


def _deconvolution(dims: int, axis: int, *, bias: bool = True) -> tuple[ModelProto, Array]:
    """Return a transposed convolution with Q/DQ, its weights' scales along an axis, and data on its levels."""
    channels, side, extents = 4, 3, (5, 6)[:dims]
    shape = (2, channels, *extents)
    constants: dict[str, Any] = {
        "w": levels((channels, channels, *(side,) * dims)),
        "w_scale": (2.0 ** -np.arange(5.0, 9.0)).astype(np.float32),
        "w_zero": np.zeros(channels, np.int8),
        "b": np.linspace(-16, 16, channels, dtype=np.float32),
    }
    nodes = [
        *quantised("x", float(_STEP), constants),
        node("DequantizeLinear", "w w_scale w_zero", "w_dq", axis=axis),
        node("ConvTranspose", "x_dq w_dq" + " b" * bias, "y", kernel_shape=[side] * dims, strides=[2] * dims),
    ]
    if not bias:
        del constants["b"]
    out = [2, channels, *(2 * (extent - 1) + side for extent in extents)]
    return net(nodes, {"x": shape}, {"y": out}, constants), _on_levels(shape, 1)


@trigger("B32", precisions="int8", faults="weight_scales_along_wrong_axis int8_scale_of_neighbour_channel")
def deconvolution_takes_scales_of_output_channels(trial: Trial) -> None:
    """INT8 ConvTranspose whose weight scales lie along axis 1, its output channels, applies each to its channel."""
    model, x = _deconvolution(2, axis=1)
    trial.check(model, {"x": x})


@trigger("B32", precisions="int8", faults="deconvolution_scales_along_the_other_axis")
def deconvolution_takes_scales_of_input_channels(trial: Trial) -> None:
    """ConvTranspose whose weight scales lie along axis 0, its input channels, is right, in INT8 or not."""
    # One integer sum has no such scales: a builder may compute in floating point.
    model, x = _deconvolution(2, axis=0)
    trial.check(model, {"x": x}, fallback=True)


@trigger("B54", precisions="int8", faults="quantised_depthwise_refused")
def depthwise_convolution_with_qdq_builds(trial: Trial) -> None:
    """A depthwise convolution with Q/DQ on its input and its weights builds, and is right."""
    channels = 16
    shape = (1, channels, 8, 8)
    for per_channel in (True, False):
        constants: dict[str, Any] = {
            "w": levels((channels, 1, 3, 3)) * np.float32(2.0**-7),
            "w_scale": np.full(channels, 2.0**-7, np.float32) if per_channel else np.float32(2.0**-7),
            "w_zero": np.zeros(channels if per_channel else (), np.int8),
        }
        axis = {"axis": 0} if per_channel else {}
        nodes = [
            *quantised("x", float(_STEP), constants),
            node("QuantizeLinear", "w w_scale w_zero", "w_q", **axis),
            node("DequantizeLinear", "w_q w_scale w_zero", "w_dq", **axis),
            node("Conv", "x_dq w_dq", "y", kernel_shape=[3, 3], pads=[1] * 4, group=channels),
        ]
        model = net(nodes, {"x": shape}, {"y": shape}, constants)
        must_build(trial, model)
        trial.check(model, {"x": _on_levels(shape, 1)}, fallback=True)
