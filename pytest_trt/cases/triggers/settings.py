"""Bugs of settings: orders of types that are ignored, a precision that is not given, integers under a Transpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.triggers.nets import INT32, net, node
from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.equivalent import check_equivalent
from pytest_trt.check.sequences import fresh_bases
from pytest_trt.check.workbench import Workbench
from pytest_trt.strategies import Case

CASE = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
SHAPE = (30, 39, 1)  # that of issue 3447


def _overflowing() -> ModelProto:
    """Return a product whose values pass 65504, scaled down, and another product: only the last fits into fp16."""
    rng = np.random.default_rng(1)
    large = rng.integers(1, 5, (16, 8)).astype(np.float32) * 1024
    small = rng.integers(-2, 3, (8, 4)).astype(np.float32)
    nodes = [
        node("MatMul", "x large", "sum"),
        node("Mul", "sum down", "mean"),
        node("MatMul", "mean small", "y"),
    ]
    constants = {"large": large, "small": small, "down": np.array([2.0**-12], np.float32)}
    return net(nodes, {"x": [3, 16]}, {"y": [3, 4]}, constants)


@trigger("B39", precisions="fp16", faults="order_of_layer_types_ignored")
def an_order_of_fp32_is_obeyed(trial: Trial) -> None:
    """Layers that were ordered into FP32 in an FP16 engine run there, and what would overflow in FP16 does not."""
    features = trial.rt.features
    if not (features.weak_typing and features.layer_precision):
        trial.skip(f"{trial.rt.title} has no types of single layers")
    trial.bench = Workbench(
        replace(trial.bench.settings, typing="weak", constraints="obey"), trial.bench.discovery
    )
    x = np.random.default_rng(2).integers(2, 9, (3, 16)).astype(np.float32)
    trial.check(_overflowing(), {"x": x}, layer_types={"matmul_sum": "fp32", "mul_mean": "fp32"})


@trigger(
    "B40",
    precisions="fp16",
    faults="engine_stays_fp32 engine_in_tf32_for_16_bit",
)
def fp16_is_given_where_it_is_asked_for(trial: Trial) -> None:
    """An engine for which FP16 was asked works in FP16, also where TensorRT has no builder flag for it."""
    trial.check(CASE.model(), shapes=CASE.input_shapes, label=CASE.text)


def _product(*, turned: bool) -> ModelProto:
    """Return v0 * v0 in int32, as it is, or with a Transpose before it and another one behind it."""
    nodes = [node("Mul", "v0 v0", "y")]
    if turned:
        nodes = [
            node("Transpose", "v0", "t", perm=[1, 0, 2]),
            node("Mul", "t t", "m"),
            node("Transpose", "m", "y", perm=[1, 0, 2]),
        ]
    return net(nodes, {"v0": (INT32, SHAPE)}, {"y": (INT32, SHAPE)})


@trigger("B43", faults="integer_product_wrong_before_transpose")
def an_integer_product_under_a_transpose(trial: Trial) -> None:
    """An int32 product gives the same with a Transpose before and behind it."""
    feeds = {"v0": np.random.default_rng(1).integers(-99, 100, SHAPE).astype(np.int32)}
    with trial.subject(_product(turned=False)) as plain, trial.subject(_product(turned=True)) as turned:
        trial.report(check_equivalent(plain, fresh_bases(plain, [feeds]), turned))
