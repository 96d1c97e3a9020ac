"""Bugs of strides: tensors that lie inside others, and convolutions that step over as much as they read."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.fusions import marked
from pytest_trt.cases.triggers.graphs import Net, integers, reals, spans
from pytest_trt.cases.triggers.registry import CONFIGURATION, trigger
from pytest_trt.cases.triggers.trial import Trial

_CHANNELS = 16  # 256 in the report


def _bottleneck() -> ModelProto:
    """Return a split in two, a bottleneck with a shortcut on the second half, and a Concat of halves and bottleneck."""
    net = Net("shortcut", top=1)
    both = net.node("Relu", [net.conv("x", 2, 2 * _CHANNELS, "c0")], "r0")
    left, right = net.split(both, (_CHANNELS, _CHANNELS), ("left", "right"), axis=1)
    inner = net.node("Relu", [net.conv(right, _CHANNELS, 2, "c1", 3)], "r1")
    inner = net.node("Relu", [net.conv(inner, 2, _CHANNELS, "c2")], "r2")
    total = net.node("Add", [right, inner], "a")
    joined = net.node("Concat", [left, right, total], "j", axis=1)
    net.conv(joined, 3 * _CHANNELS, 8, "y")
    return net.build({"x": (1, 2, 6, 6)}, {"y": (1, 8, 6, 6), "j": (1, 3 * _CHANNELS, 6, 6)})


@trigger("B02", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="strided_addend_read_as_dense")
def shortcut_that_is_concatenated_later(trial: Trial) -> None:
    """A residual Add reads its addend right where that lies inside the buffer of a later Concat."""
    trial.check(_bottleneck(), {"x": integers((1, 2, 6, 6), 1, seed=19)})
    trial.check(_bottleneck())


@trigger("B02", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="fused_activation_lost_unless_marked")
def shortcut_that_is_an_output_as_well(trial: Trial) -> None:
    """The answer stays when the addend, or what it is added to, is returned as well."""
    x = integers((1, 2, 6, 6), 1, seed=19)
    trial.relations(
        _bottleneck(), {"x": x}, has_batch=False, more=[marked("right"), marked("r2"), marked("a")]
    )


@trigger("B05", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="last_taps_of_large_kernel_dropped")
def patches_of_fourteen_pixels(trial: Trial) -> None:
    """A convolution of 14 x 14 taps that moves by 14 adds all of its 588 products, TF32 off."""
    net = Net("patches", real=True)
    net.conv("x", 3, 16, "y", 14, strides=[14, 14], pads=[0] * 4)
    model = net.build({"x": (1, 3, 28, 42)}, {"y": (1, 16, 2, 3)})
    image = np.random.default_rng(20).integers(0, 256, (1, 3, 28, 42)) / 127.5 - 1
    trial.check(model, {"x": image.astype(np.float32)})
    trial.check(model)


@trigger("B58", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="scale_reads_view_as_dense")
def scale_behind_views(trial: Trial) -> None:
    """A Scale reads its input right behind a Concat, and behind a Slice, that are left out of the engine."""
    net = Net("views")
    left = net.conv("x", 3, 4, "l")
    right = net.conv("x", 3, 4, "r", 3)
    joined = net.node("Concat", [left, right], "j", axis=1)
    factor, shift = (
        net.constant(name, integers((1, 8, 1, 1), 3, seed=s)) for name, s in (("k", 21), ("s", 22))
    )
    net.node("Add", [net.node("Mul", [joined, factor], "m1"), shift], "y")
    bounds = [
        net.constant(name, np.array([value], np.int64)) for name, value in (("b", 2), ("e", 6), ("ax", 1))
    ]
    part = net.node("Slice", [joined, *bounds], "p")
    half = net.constant("h", integers((1, 4, 1, 1), 3, seed=23))
    net.node("Mul", [part, half], "z")
    shape = ("N", 3, 5, 4)
    model = net.build({"x": shape}, {"y": ("N", 8, 5, 4), "z": ("N", 4, 5, 4)})
    x = integers((3, 3, 5, 4), 3, seed=24)
    trial.check(model, {"x": x}, profile={"x": spans(x.shape, 4)})


@trigger(
    "B58", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="batched_product_keeps_the_first_factor"
)
def batched_products_of_one_input(trial: Trial) -> None:
    """Two batched MatMuls that share their first factor multiply each item of the batch by its own second one."""
    net = Net("batched")
    net.node("MatMul", ["x", "u"], "y")
    net.node("MatMul", ["x", "v"], "z")
    model = net.build(
        {"x": ("N", 5, 8), "u": ("N", 8, 6), "v": ("N", 8, 6)}, {"y": ("N", 5, 6), "z": ("N", 5, 6)}
    )
    inputs = {
        name: integers((3, *item), 4, seed=25 + place)
        for place, (name, item) in enumerate((("x", (5, 8)), ("u", (8, 6)), ("v", (8, 6))))
    }
    profile = {name: spans(values.shape, 4) for name, values in inputs.items()}
    trial.relations(model, inputs, profile=profile)
    trial.check(model, inputs, profile=profile)


@trigger("B58", precisions="fp32 fp16", fidelity=CONFIGURATION, faults="concat_off_the_channels_goes_to_them")
def concat_along_the_height(trial: Trial) -> None:
    """Two convolutions of one input, which may become one, are joined along the height and not along the channels."""
    net = Net("tall")
    parts = [net.conv("x", 3, 4, name, 3) for name in ("top", "bottom")]
    net.node("Relu", [net.node("Concat", parts, "j", axis=2)], "y")
    model = net.build({"x": ("N", 3, 5, 4)}, {"y": ("N", 4, 10, 4)})
    x = reals((2, 3, 5, 4), 26)
    trial.check(model, {"x": x}, profile={"x": spans(x.shape, 4)})
