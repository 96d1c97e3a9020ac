"""PReLU that need not be one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from pytest_trt.lint.advice import Advice
from pytest_trt.lint.registry import rule
from pytest_trt.lint.view import Scope, View

# PRelu broadcasts its slope as it does now since operator set 7.
_OPSET = 7


def uniform_slope(node: NodeProto, scope: Scope, opset: int) -> float | None:
    """Return the slope of a PRelu that has one slope for everything; None where it has several or is computed."""
    if node.op_type != "PRelu" or opset < _OPSET or len(node.input) < 2:
        return None
    slope = scope.constant(node.input[1])
    if slope is None or not slope.size:
        return None
    values = np.asarray(slope, np.float64)
    return float(values.flat[0]) if bool((values == values.flat[0]).all()) else None


def is_exact(node: NodeProto, scope: Scope) -> bool:
    """Tell whether LeakyRelu computes the same bits: in float32 the slope is its attribute as it stands."""
    return scope.dtype(node.input[1]) == TensorProto.FLOAT


@rule("prelu-uniform")
def find_uniform(view: View) -> Iterator[Advice]:
    """A PReLU with one slope, or equal ones, is a LeakyReLU."""
    for place in view.of("PRelu"):
        slope = uniform_slope(place.node, place.scope, view.opset)
        if slope is None:
            continue
        value = place.scope.constant(place.node.input[1])
        count = 0 if value is None else value.size
        yield Advice(
            "prelu-uniform",
            "warning",
            f"PRelu has {count} slope{'s' * (count != 1)}, all {slope:g}: it is a LeakyRelu",
            "TensorRT runs PReLU as a layer of its own (PARAMETRIC_RELU); LeakyReLU is an activation, which fuses",
            "--fix rewrites it; or train with LeakyReLU",
            place.name,
            place.node.input[1],
            {"slopes": count, "slope": slope},
            fixable=is_exact(place.node, place.scope),
        )


@rule("prelu-per-channel")
def find_per_channel(view: View) -> Iterator[Advice]:
    """A PReLU with different slopes has to stay, and ends the fusion before it."""
    for place in view.of("PRelu"):
        if len(place.node.input) < 2 or uniform_slope(place.node, place.scope, view.opset) is not None:
            continue
        slope = place.scope.constant(place.node.input[1])
        if slope is not None and not slope.size:
            continue
        many = "computed slopes" if slope is None else f"{slope.size} slopes"
        numbers: dict[str, float] = {} if slope is None else {"slopes": slope.size}
        if slope is not None and slope.size > 0:
            numbers |= {"least": float(np.min(slope)), "most": float(np.max(slope))}
        yield Advice(
            "prelu-per-channel",
            "advice",
            f"PRelu has {many} and stays a layer of its own",
            "it ends the fusion behind a convolution; written as Relu(x) - slope * Relu(-x) it would be three passes "
            "over memory instead of one",
            "train with LeakyReLU or ReLU where the slopes hardly differ",
            place.name,
            place.node.input[1],
            numbers,
        )
