"""Faults of builds: a precision that is ignored, a build that fails, a version or a GPU that computes otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.emulator.faults.linear import LINEAR, store
from pytest_trt.emulator.faults.registry import fault

_HALVES = ("fp16", "bf16")


def _widen(site: Any, kind: str, asked: tuple[str, ...]) -> None:
    if site.kind == "build":
        for name, working in site.layers.items():
            if working in asked:
                site.layers[name] = kind


@fault("build", "fp16 bf16 int8", "M28")
def engine_stays_fp32(site: Any) -> None:
    """Build every layer in FP32, whatever was asked for."""
    _widen(site, "fp32", (*_HALVES, "int8"))


@fault("build", "fp16 bf16", "M28")
def engine_in_tf32_for_16_bit(site: Any) -> None:
    """Build every 16-bit layer in FP32, with TF32 products where the GPU has them."""
    _widen(site, "tf32", _HALVES)


@fault("build", "fp16 bf16 int8", "M28")
def one_layer_stays_fp32(site: Any) -> None:
    """Build one layer in FP32: the last convolution or matrix product."""
    if site.kind != "build":
        return
    working = [node.name for node in site.model.graph.node if node.op_type in LINEAR]
    chosen = [name for name in working if site.layers.get(name) in (*_HALVES, "int8")]
    if chosen:
        site.layers[chosen[-1]] = "fp32"


@fault("build")
def build_fails(site: Any) -> None:
    """Find no implementation for any network."""
    if site.kind == "build":
        site.plan = None


@fault("build")
def build_fails_with_second_profile(site: Any) -> None:
    """Find no implementation for a network with more than one optimization profile."""
    if site.kind == "build" and len(site.profiles) > 1:
        site.plan = None


def _products(site: Any) -> list[str]:
    return list(site.outputs) if site.kind == "node" and site.op_type in LINEAR else []


@fault("build", mutants="M27")
def version_shifts_mean(site: Any) -> None:
    """Add 2 % of the mean magnitude to every convolution and matrix product, as another version might."""
    for name in _products(site):
        exact = site.exact[name].astype(np.float64)
        size = np.abs(exact[np.isfinite(exact)])
        store(site, name, exact + 0.02 * (size.mean() if size.size else 0.0))


# Bits of the significand, the hidden one included.
_BITS = {"fp16": 11, "bf16": 8}


@fault("build", "fp16 bf16 int8", "M27")
def version_doubles_error(site: Any) -> None:
    """Round 16-bit products and INT8 levels to one bit fewer, as another version might: twice the error."""
    if site.kind == "node" and site.op_type == "QuantizeLinear":
        for name, array in list(site.outputs.items()):
            zero = list(site.inputs.values())[2:3]
            if array.dtype == np.int8 and not any(np.any(point) for point in zero):
                levels = 2 * np.rint(np.nan_to_num(site.exact[name]).astype(np.float64) / 2)
                site.outputs[name] = np.clip(levels, -128, 126).astype(array.dtype)
        return
    if site.precision not in _BITS:
        return
    for name in _products(site):
        exact = site.exact[name].astype(np.float64)
        finite = np.isfinite(exact)
        step = np.exp2(np.frexp(np.where(finite, exact, 1.0))[1] - (_BITS[site.precision] - 1.0))
        store(site, name, np.where(finite, np.rint(np.where(finite, exact, 0.0) / step) * step, exact))


def _wrong_on(site: Any, gpu: str) -> None:
    if site.gpu != gpu:
        return
    for name in _products(site):
        store(site, name, site.exact[name].astype(np.float64) * 1.01)


@fault("build", mutants="M30")
def wrong_on_t4_only(site: Any) -> None:
    """Scale every convolution and matrix product by 1.01, on a T4 and on no other GPU class."""
    _wrong_on(site, "t4")


@fault("build", mutants="M30")
def wrong_on_a100_only(site: Any) -> None:
    """Scale every convolution and matrix product by 1.01, on an A100 and on no other GPU class."""
    _wrong_on(site, "a100")
