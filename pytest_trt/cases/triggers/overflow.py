"""Bugs of FP16's range: constants past 65504, and sums inside an operator that pass it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto

from pytest_trt.cases.triggers.nets import integers, net, node
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.workbench import Workbench
from pytest_trt.numerics.formats import Array

# What keras' attention adds to the scores of masked places, as the thread gives it.
_FAR = -999999995904.0
_WIDTH = 64
_SHAPE = [2, 8, _WIDTH]


@trigger("B36", precisions="fp32 fp16", fidelity=STAND_IN, faults="constants_past_fp16_become_infinite")
def masked_attention_is_finite(trial: Trial) -> None:
    """Attention whose mask is multiplied by -1e12 gives no NaN where nothing is masked, and ignores what is."""
    heads, length, depth = 2, 4, 8
    nodes = [
        node("MatMul", "q k", "scores"),
        node("Sub", "one mask", "masked"),
        node("Mul", "masked far", "penalty"),
        node("Add", "scores penalty", "sum"),
        node("Softmax", "sum", "shares", axis=-1),
        node("MatMul", "shares v", "y"),
    ]
    shapes = {"q": [1, heads, length, depth], "k": [1, heads, depth, length], "v": [1, heads, length, depth]}
    model = net(
        nodes,
        {**shapes, "mask": [1, 1, 1, length]},
        {"y": shapes["v"]},
        {"one": np.float32(1), "far": np.float32(_FAR)},
    )
    feeds = {name: integers(shape, 4, seed) / 4 for seed, (name, shape) in enumerate(shapes.items())}
    trial.check(model, {**feeds, "mask": np.array([1, 1, 1, 0], np.float32).reshape(1, 1, 1, length)})


def _centred(x: str) -> list[NodeProto]:
    return [
        node("ReduceMean", x, "mean", axes=[-1]),
        node("Sub", f"{x} mean", "centred"),
        node("Mul", "centred centred", "squares"),
        node("ReduceMean", "squares", "variance", axes=[-1]),
    ]


@trigger("B36", precisions="fp32 fp16", fidelity=STAND_IN, faults="reductions_overflow_in_fp16")
def layer_norm_with_an_infinite_limit_is_right(trial: Trial) -> None:
    """Layer normalisation whose variance goes through Min(infinity) and Max is as without them."""
    nodes = [
        *_centred("x"),
        node("Min", "variance infinity", "below"),
        node("Max", "below least", "kept"),
        node("Sqrt", "kept", "deviation"),
        node("Div", "centred deviation", "y"),
    ]
    limits = {"infinity": np.float32(np.inf), "least": np.float32(1e-3)}
    _check_normalisation(trial, net(nodes, {"x": _SHAPE}, {"y": _SHAPE}, limits), _large())


def _check_normalisation(trial: Trial, model: ModelProto, x: Array) -> None:
    """Check a normalisation made of single operators; a weakly typed builder is told to keep it in FP32, as the threads advise.

    Else it may sum up in FP16, and any overflow were right.
    """
    options = {}
    if trial.precision == "fp16" and not trial.bench.is_strong(trial.rt, "fp16"):
        options["layer_types"] = {each.name: "fp32" for each in model.graph.node}
    trial.check(model, {"x": x}, **options)


def _large(largest: int = 127) -> Array:
    """Return integers whose squares FP16 has, and whose sum of squares over a row it has not."""
    return integers(_SHAPE, largest)


def _reduce(operator: str) -> ModelProto:
    return net([node(operator, "x", "y", axes=[-1])], {"x": _SHAPE}, {"y": [*_SHAPE[:2], 1]})


@trigger("B37", precisions="fp32 fp16", fidelity=STAND_IN, faults="reductions_overflow_in_fp16")
def norm_of_a_row_is_finite(trial: Trial) -> None:
    """ReduceL2 of a row whose norm FP16 has, and whose sum of squares it has not, and x over it, are right."""
    trial.check(_reduce("ReduceL2"), {"x": _large()})
    whole = net(
        [node("ReduceL2", "x", "norm", axes=[-1]), node("Div", "x norm", "y")],
        {"x": _SHAPE},
        {"y": _SHAPE},
    )
    trial.check(whole, {"x": _large()})


@trigger("B37", precisions="fp32 fp16", fidelity=STAND_IN, faults="reductions_overflow_in_fp16")
def mean_of_large_values_is_finite(trial: Trial) -> None:
    """ReduceMean of values whose sum passes 65504 is their mean."""
    trial.check(_reduce("ReduceMean"), {"x": np.abs(_large(15)) * 256 + 256})


@trigger("B37", precisions="fp32 fp16", fidelity=STAND_IN, faults="reductions_overflow_in_fp16")
def layer_norm_of_large_values_is_right(trial: Trial) -> None:
    """LayerNormalization is the same for inputs times powers of two, up to a variance whose sum passes 65504."""
    gains = {"gain": integers((_WIDTH,), 4, 1) / 2, "shift": integers((_WIDTH,), 4, 2) / 4}
    model = net(
        [node("LayerNormalization", "x gain shift", "y", axis=-1)], {"x": _SHAPE}, {"y": _SHAPE}, gains
    )
    for power in (0, 3, 6, 8):
        trial.check(model, {"x": _large() * np.float32(2.0**power)})


@trigger("B37", precisions="fp32 fp16", fidelity=STAND_IN, faults="reductions_overflow_in_fp16")
def channel_norm_of_a_restoration_net_is_right(trial: Trial) -> None:
    """A normalisation over channels, as NAFNet writes it with means and powers, is right for large features."""
    shape = [1, _WIDTH, 4, 4]
    nodes = [
        node("ReduceMean", "x", "mean", axes=[1]),
        node("Sub", "x mean", "centred"),
        node("Pow", "centred two", "squares"),
        node("ReduceMean", "squares", "variance", axes=[1]),
        node("Add", "variance least", "kept"),
        node("Sqrt", "kept", "deviation"),
        node("Div", "centred deviation", "unit"),
        node("Mul", "unit gain", "scaled"),
        node("Add", "scaled shift", "y"),
    ]
    constants = {
        "two": np.float32(2),
        "least": np.float32(1e-3),
        "gain": integers((1, _WIDTH, 1, 1), 4, 1) / 2,
        "shift": integers((1, _WIDTH, 1, 1), 4, 2) / 4,
    }
    _check_normalisation(trial, net(nodes, {"x": shape}, {"y": shape}, constants), integers(shape, 127))


@trigger("B38", precisions="fp16", faults="constants_past_fp16_become_infinite")
def weights_past_fp16_stay_finite(trial: Trial) -> None:
    """A weakly typed FP16 engine holds weights above 65504 at FP16's end, so that no output is infinite."""
    if not trial.rt.features.weak_typing:
        trial.skip(f"{trial.rt.title} has no weak typing")
    width = 8
    weights = np.diag(np.full(width, 131072.0)).astype(np.float32)
    weights[0, 1] = -1e9
    model = net([node("MatMul", "x w", "y")], {"x": [4, width]}, {"y": [4, width]}, {"w": weights})
    settings = trial.bench.settings
    bench = Workbench(replace(settings, typing="weak"), trial.bench.discovery)
    try:
        bench.check(model, precision=trial.precision, inputs={"x": integers((4, width), 4) / 1024})
    finally:
        bench.close()
