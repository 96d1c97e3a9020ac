"""Bugs of values that are not numbers, or very large ones, in element-wise operators."""

from __future__ import annotations

import numpy as np

from pytest_trt.cases.triggers.nets import HALF, net, node
from pytest_trt.cases.triggers.registry import REPRODUCER, STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial


@trigger("B41", precisions="fp32 fp16", faults="nan_dropped_by_clip_and_min_max")
def clip_passes_nan_on(trial: Trial) -> None:
    """Clip of NaN is NaN, and not the lower bound."""
    model = net(
        [node("Clip", "x low high", "y")],
        {"x": [2, 4]},
        {"y": [2, 4]},
        {"low": np.float32(-1), "high": np.float32(1)},
    )
    trial.check(model, {"x": np.array([[np.nan, 0.5, -3, 3], [1, np.nan, np.inf, -np.inf]], np.float32)})


@trigger("B41", precisions="fp32 fp16", faults="nan_dropped_by_clip_and_min_max")
def min_passes_nan_on(trial: Trial) -> None:
    """Min of NaN and a number is NaN, whichever of the two comes first."""
    model = net([node("Min", "a b", "y")], {"a": [2, 4], "b": [2, 4]}, {"y": [2, 4]})
    a = np.array([[np.nan, 0.5, np.nan, 3], [1, np.nan, -2, np.nan]], np.float32)
    b = np.array([[1, np.nan, np.nan, 2], [np.nan, -1, 4, np.inf]], np.float32)
    trial.check(model, {"a": a, "b": b})


# The constants of the thread.
_FACTORS = (-552544768, 1816086528, 1668662272, 1201297408, -1789633024, -1231930880, 602328064, 2051490304)
_ADDENDS = (1765214720, 1445973248, 560432896, 862019328, 1584092672, 484237056, 185898496, 1996964864)


def _mul_add(trial: Trial, value: float) -> None:
    constants = {"b": np.array([_FACTORS], np.float32), "c": np.array([_ADDENDS], np.float32)}
    model = net(
        [node("Mul", "a b", "p"), node("Add", "p c", "sum")], {"a": [1, 1]}, {"sum": [1, 8]}, constants
    )
    trial.check(model, {"a": np.array([[value]], np.float32)})


@trigger("B42", fidelity=REPRODUCER, faults="pointwise_products_in_tf32")
def large_factors_and_addends_fuse_rightly(trial: Trial) -> None:
    """Mul and Add with constants about 1e9 give a product about 1e18, plus the addend."""
    _mul_add(trial, -1.575527e09)


@trigger("B42", faults="pointwise_products_in_tf32")
def addend_as_large_as_the_product_counts(trial: Trial) -> None:
    """Mul and Add with constants about 1e9 are right where neither outweighs the other."""
    _mul_add(trial, -1.575527)


@trigger("B49", precisions="fp32 fp16", faults="clip_6_maximum_read_as_integer")
def clip_6_keeps_a_maximum_of_one(trial: Trial) -> None:
    """Clip of operator set 6, whose bounds are attributes, clips at 1 and not at 0."""
    model = net([node("Clip", "x", "y", min=0.0, max=1.0)], {"x": [4, 4]}, {"y": [4, 4]}, opset=10)
    trial.check(model, {"x": (np.arange(16, dtype=np.float32).reshape(4, 4) - 4) / 8})


@trigger("B49", precisions="fp16", faults="clip_6_maximum_read_as_integer")
def clip_6_of_half_precision_keeps_a_maximum_of_one(trial: Trial) -> None:
    """Clip of operator set 6 on FP16 tensors: its bounds are float32 attributes still."""
    # The pull request's own case has integer tensors, which ONNX gives Clip only since operator set 12.
    model = net(
        [node("Clip", "x", "y", min=0.0, max=1.0)], {"x": (HALF, [4, 4])}, {"y": (HALF, [4, 4])}, opset=10
    )
    trial.check(model, {"x": ((np.arange(16).reshape(4, 4) - 4) / 8).astype(np.float16)})


def _min_max_normalised(constants: dict[str, np.ndarray]) -> object:
    constants["w"] = np.array([[1, 0, 0], [0, 2, 0], [1, 0, 1]], np.float32).reshape(3, 3, 1, 1)
    nodes = [
        node("ReduceMin", "x", "low", axes=[1, 2, 3], keepdims=1),
        node("ReduceMax", "x", "high", axes=[1, 2, 3], keepdims=1),
        node("Sub", "high low", "span"),
        node("Sub", "x low", "above"),
        node("Div", "above span", "share"),
        node("Conv", "share w", "mixed", kernel_shape=[1, 1]),
        node("Mul", "mixed span", "wide"),
        node("Add", "wide low", "y"),
    ]
    return net(nodes, {"x": ["N", 3, 4, 4]}, {"y": ["N", 3, 4, 4]}, constants)


def _ranged(rng: np.random.Generator) -> np.ndarray:
    """Return integers from 0 to 16, both of them in each row: shares are sixteenths, and nothing rounds."""
    x = rng.integers(0, 17, (2, 3, 4, 4)).astype(np.float32)
    x[:, 0, 0, :2] = 0, 16
    return x


@trigger("B52", precisions="fp16", fidelity=STAND_IN, faults="fused_extrema_nan_unless_marked")
def extrema_from_input_to_end_bear_one_more_output(trial: Trial) -> None:
    """A network between normalisation and denormalisation by minimum and maximum is the same when these are outputs too."""
    # In FP32 a quotient may be off by one bit in another kernel, in FP16 it is rounded away.
    if not trial.bench.is_strong(trial.rt, trial.precision):
        trial.skip(
            "a weakly typed builder may keep quotients in FP32, where another kernel may round otherwise"
        )
    x = _ranged(np.random.default_rng(0))
    profile = {"x": ((1, 3, 4, 4), (2, 3, 4, 4), (2, 3, 4, 4))}
    for inner in ("low", "high"):
        trial.relations(_min_max_normalised({}), {"x": x}, profile=profile, inner=inner)


@trigger("B52", precisions="fp32 fp16", fidelity=STAND_IN)
def extrema_from_input_to_end_are_right(trial: Trial) -> None:
    """A network between normalisation and denormalisation by minimum and maximum gives numbers, and the right ones."""
    rng = np.random.default_rng(1)
    x = _ranged(rng)
    trial.check(_min_max_normalised({}), {"x": x})
    trial.check(_min_max_normalised({}), {"x": (x + rng.uniform(0, 1, x.shape)).astype(np.float32)})
