"""Bugs of Resize: coordinates, rounding and interpolation."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.nets import integers, net, node
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
# Of (3, 4): taller by no whole factor and narrower; and twice the size, as feature pyramids have it.
_ODD, _TWICE = (5, 3), (6, 8)


def _resize(mode: str, coordinates: str, size: tuple[int, int], **attributes: str) -> ModelProto:
    shape = [2, 3, *size]
    resize = node(
        "Resize", "x - - sizes", "y",
        mode=mode, coordinate_transformation_mode=coordinates, **attributes,
    )  # fmt: skip
    return net([resize], {"x": [2, 3, 3, 4]}, {"y": shape}, {"sizes": np.array(shape, np.int64)})


@trigger(
    "B46",
    precisions="fp32 fp16",
    fidelity=STAND_IN,
    faults="resize_ignores_coordinate_mode resize_picks_the_next_pixel",
)
def nearest_pixel_is_the_one_of_its_mode(trial: Trial) -> None:
    """Resize takes the nearest pixel by the coordinates and the rounding that the model names."""
    x = integers((2, 3, 3, 4), 31)
    for coordinates in _COORDINATES:
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
            trial.check(_resize("nearest", coordinates, _ODD, nearest_mode=rounding), {"x": x})
        trial.check(_resize("nearest", coordinates, _TWICE, nearest_mode="floor"), {"x": x})


@trigger("B46", precisions="fp32 fp16", fidelity=STAND_IN, faults="resize_ignores_coordinate_mode")
def interpolated_pixel_has_the_weights_of_its_mode(trial: Trial) -> None:
    """Resize interpolates linearly and cubically with weights from the coordinates that the model names."""
    x = integers((2, 3, 3, 4), 31)
    for mode in ("linear", "cubic"):
        for coordinates in _COORDINATES:
            for size in (_ODD, _TWICE):
                trial.check(_resize(mode, coordinates, size), {"x": x})
