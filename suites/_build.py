"""One model, built by a real TensorRT in two threads at once, and how that ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.cases.limits import (
    BUILDS,
    FALLS_BACK,
    FALLS_BACK_16,
    REFUSED,
    Expectation,
    compare,
    expected_outcome,
)
from pytest_trt.errors import UnsupportedError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.attribution import UNPROVEN, attribute, onnx_nodes
from pytest_trt.precision.support import find_lack
from pytest_trt.records import LayerInfo
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan

Shapes = Mapping[str, tuple[int, ...]]
Profile = Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]


@dataclass(frozen=True)
class Built:
    """How the builds of one model ended.

    Attributes
    ----------
    outcome : str
        One of `pytest_trt.cases.limits.OUTCOMES`.
    expected : Expectation
        What the table of known limits says.
    words : tuple of str
        TensorRT's words, when it refused.
    ran : mapping of str to str
        Node name to the type that it was computed in, for nodes that multiply and accumulate.
    complaints : tuple of str
        Everything that is not as it should be; empty is a pass.
    captured : str
        What the compiler printed past the logger.
    plan : Plan or None
        The first of the two plans.
    """

    outcome: str
    expected: Expectation
    words: tuple[str, ...] = ()
    ran: Mapping[str, str] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()
    captured: str = ""
    plan: Plan | None = None

    def explain(self, name: str) -> str:
        """Return the complaints, with the layers behind them, for a failure; `name` says of which model."""
        layers = () if self.plan is None else self.plan.layers
        return "\n  ".join((f"{name}: {self.complaints[0]}", *self.complaints[1:], *show_layers(layers)))


def draw_feed(model: ModelProto, shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Return one normal input for each float32 input of a model, for the ranges that INT8 scales come from."""
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.standard_normal(shapes[value.name]).astype(np.float32)
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name in shapes
    }


def build_twice(
    rt: Runtime,
    model: ModelProto,
    precision: str,
    shapes: Shapes,
    profile: Profile | None = None,
    *,
    feed: Mapping[str, np.ndarray] | None = None,
    hybrid: str = "off",
) -> Built:
    """Build a model in two threads at once and hold both builds against each other and against the table.

    Parameters
    ----------
    rt : Runtime
        A real TensorRT that builds.
    model : ModelProto
        In float32.
    precision : str
        One of `records.PRECISIONS`.
    shapes : mapping of str to shape
        Input shapes, for the data that INT8 scales come from.
    profile : mapping of str to (min, opt, max), optional
        For dynamic inputs.
    feed : mapping of str to ndarray, optional
        Inputs that INT8 scales come from, instead of drawn ones.
    hybrid : str
        INT8: `fp16` or `bf16`, the type of what is not INT8; else `off`.
    """
    request = make_request(rt, model, precision, shapes, profile, feed, hybrid)
    expected = expected_outcome(
        model, precision, sm=rt.gpu.sm, product=rt.product, version=rt.version, hybrid=hybrid
    )
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="trt-build") as pool:
        first, second = pool.map(lambda number: attempt(rt, request), range(2))
    if isinstance(first, UnsupportedError) or isinstance(second, UnsupportedError):
        refused = first if isinstance(first, UnsupportedError) else second
        assert isinstance(refused, UnsupportedError)
        both = isinstance(first, UnsupportedError) and isinstance(second, UnsupportedError)
        complaints = compare(expected, REFUSED, words=refused.why)
        if not both:
            complaints += ("one of two builds of the same model was refused and the other was not",)
        return Built(REFUSED, expected, words=refused.why, complaints=complaints)
    ran = attribute(first.layers, expected.working, precision)
    unproven = tuple(name for name, kind in ran.items() if kind == UNPROVEN)
    fallback = tuple(name for name, kind in ran.items() if kind not in (precision, UNPROVEN))
    fell = FALLS_BACK if hybrid == "off" else FALLS_BACK_16
    outcome = fell if fallback or set(unproven) & set(expected.fallbacks) else BUILDS
    complaints = (
        *compare(expected, outcome, fallback=fallback, unproven=unproven),
        *_same(first, second, dynamic=profile is not None),
        *_typed(first, expected, ran, precision),
        *_beside(ran, precision, hybrid),
    )
    return Built(outcome, expected, (), ran, complaints, first.captured, first)


def make_request(
    rt: Runtime,
    model: ModelProto,
    precision: str,
    shapes: Shapes,
    profile: Profile | None,
    feed: Mapping[str, np.ndarray] | None = None,
    hybrid: str = "off",
) -> BuildRequest:
    """Return the request of one build: the model rewritten for the precision, scales from drawn data."""
    lack = find_lack(hybrid)
    if lack is not None:
        pytest.skip(f"{lack[0]}; to get it: {lack[1]}")
    ranges = measure_ranges(model, [feed or draw_feed(model, shapes)]) if precision == "int8" else None
    ready = prepare(model, precision, strong=rt.features.strong_typing, ranges=ranges, hybrid=hybrid)
    return BuildRequest(
        model=ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
        profile=profile,
    )


def attempt(rt: Runtime, request: BuildRequest) -> Plan | UnsupportedError:
    """Return a plan, or the refusal."""
    try:
        return build_plan(rt, request)
    except UnsupportedError as error:
        return error


def _same(first: Plan, second: Plan, *, dynamic: bool) -> tuple[str, ...]:
    """Hold two plans of one model against each other.

    With fixed shapes a build repeats byte for byte, also in parallel and for whole networks. With a profile the names
    of the compiler's inner tensors (`__mye424`) and where it keeps shapes differ from build to build (seen with
    TensorRT-RTX 1.7.1), so there the layers have to be the same: kinds, types and ONNX nodes.
    """
    if first.data == second.data:
        return ()
    if not dynamic:
        return (f"two builds of one model differ: {_difference(first.data, second.data)}",)
    one, two = (Counter(map(_features, plan.layers)) for plan in (first, second))
    return tuple(
        f"a layer is in one of two builds only: {kind} {' '.join(nodes)} {inputs} -> {outputs}"
        for kind, nodes, inputs, _, outputs in ((one - two) + (two - one))
    )


def _features(
    layer: LayerInfo,
) -> tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return what two builds of one model share in a layer: no inner names, no order."""
    sides = (onnx_nodes(layer), layer.inputs, layer.constants, layer.outputs)
    nodes, inputs, constants, outputs = (tuple(sorted(side)) for side in sides)
    return layer.kind, nodes, inputs, constants, outputs


def _difference(one: bytes, two: bytes) -> str:
    if len(one) != len(two):
        return f"{len(one)} and {len(two)} bytes"
    at = np.flatnonzero(np.frombuffer(one, np.uint8) != np.frombuffer(two, np.uint8))
    return f"{at.size} of {len(one)} bytes, first at {at[0]}"


def _typed(plan: Plan, expected: Expectation, ran: Mapping[str, str], precision: str) -> tuple[str, ...]:
    """The layer list is there and tells the type of every node that multiplies and accumulates; TF32 is as asked."""
    complaints = []
    if not plan.layers:
        complaints.append("the build log has no layer list: nothing proves the precision")
    else:
        complaints += [
            f"no layer names node {name!r}: nothing proves its precision"
            for name in expected.working
            if name not in ran
        ]
    if ("TF32" in plan.flags) != (precision == "tf32"):
        complaints.append(f"the builder flag TF32 reads back {'TF32' in plan.flags} at {precision}")
    return tuple(complaints)


def _beside(ran: Mapping[str, str], precision: str, hybrid: str) -> tuple[str, ...]:
    """With INT8 and a 16-bit type asked for, a node that multiplies is in one of them and never in float32."""
    if hybrid == "off":
        return ()
    return tuple(
        f"node {name!r} ran in {kind}, and {precision} with {hybrid} was asked for"
        for name, kind in ran.items()
        if kind not in (precision, hybrid, UNPROVEN)
    )


def show_layers(layers: Sequence[LayerInfo]) -> tuple[str, ...]:
    """Return the layers with their types, one a line."""
    return tuple(
        f"{layer.kind:<16} {','.join(layer.inputs) or '-'} -> {','.join(layer.outputs) or '-'}  {layer.metadata}"
        for layer in layers
    )


def limit_example(operator: str, when: Sequence[str], *, inside: bool) -> tuple[ModelProto, Shapes]:
    """Return the smallest model with an operator on which conditions of the table hold, or do not.

    Parameters
    ----------
    operator : str
        Conv, ConvTranspose, Gemm, MatMul, a pool, or an operator with one input.
    when : sequence of str
        Of `pytest_trt.cases.limits.CONDITIONS`.
    inside : bool
        False drops the last condition: two dimensions for three, no dilation.
    """
    kept = list(when) if inside else list(when)[:-1]
    dims = next((int(word[0]) for word in kept if word in ("1d", "2d", "3d")), 2)
    stride, dilation = 1 + ("strided" in kept), 1 + ("dilated" in kept)
    shape: tuple[int, ...] = (2, 8, *(6,) * dims)
    names, weights = ["x"], []
    attributes: dict[str, Any] = {}
    if operator in ("Conv", "ConvTranspose"):
        names, weights = ["x", "w"], [(8, 8, *(3,) * dims)]
        attributes = {"strides": [stride] * dims, "dilations": [dilation] * dims}
    elif operator in ("Gemm", "MatMul"):
        shape, names, weights = (4, 16), ["x", "w"], [(16, 8)]
    elif operator in ("AveragePool", "MaxPool"):
        attributes = {"kernel_shape": [2] * dims, "strides": [stride] * dims, "dilations": [dilation] * dims}
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], name="node", **attributes)],
        "limit",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(rng.standard_normal(sizes).astype(np.float32), "w") for sizes in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return model, {"x": shape}
