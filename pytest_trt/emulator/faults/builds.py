"""Faults of builds: a precision that is ignored, a build that fails, a version or a GPU that computes otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from pytest_trt.emulator.faults.linear import LINEAR, store
from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.plan import Plan

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


@fault("build", "int8", "M28")
def int8_layer_in_fp16(site: Any) -> None:
    """Build the last quantised convolution or matrix product in FP16, where INT8 alone was allowed."""
    if site.kind != "build" or {"FP16", "BF16"} & site.flags:
        return
    graph = site.model.graph
    makers = {name: node for node in graph.node for name in node.output}
    scales = {tensor.name: tensor.data_type for tensor in graph.initializer}
    chosen = [node for node in graph.node if node.op_type in LINEAR and _is_quantized(node, makers, scales)]
    if not chosen:
        return
    node = chosen[-1]
    behind = list(graph.node).index(node)
    result = node.output[0]
    casts = []
    for position, name in enumerate(node.input):
        node.input[position] = f"{name}@half"
        casts.append(
            helper.make_node("Cast", [name], [f"{name}@half"], f"{name} half", to=TensorProto.FLOAT16)
        )
    node.output[0] = f"{result}@half"
    graph.node.insert(
        behind + 1,
        helper.make_node("Cast", [f"{result}@half"], [result], f"{result} float", to=TensorProto.FLOAT),
    )
    for cast in casts:
        graph.node.insert(behind, cast)


def _is_quantized(node: Any, makers: dict[str, Any], scales: dict[str, int]) -> bool:
    sides = [makers.get(name) for name in node.input[:2]]
    return all(
        side is not None
        and side.op_type == "DequantizeLinear"
        and scales.get(side.input[1]) == TensorProto.FLOAT
        for side in sides
    )


def _rewrite(site: Any, **settings: Any) -> None:
    """Let a plan run by other settings than those by which its layers are listed."""
    if site.kind == "build" and site.plan is not None:
        plan = Plan.unpack(site.plan)
        site.plan = replace(plan, settings={**plan.settings, **settings}, compiled=b"").pack()


@fault("build", "fp32", "M13 M28")
def tf32_although_it_is_off(site: Any) -> None:
    """Run FP32 convolutions and matrix products in TF32: the flag reads off, and the layer list does not tell."""
    if site.kind == "build" and "TF32" not in site.flags:
        _rewrite(site, tf32=True)


@fault("build", "fp16 bf16", "M28")
def layer_list_of_what_did_not_run(site: Any) -> None:
    """Run every layer in FP32 and list the 16-bit types that were asked for."""
    if site.kind == "build" and set(_HALVES) & {*site.layers.values()}:
        _rewrite(site, fp32_nodes=sorted(node.name for node in site.model.graph.node))


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
