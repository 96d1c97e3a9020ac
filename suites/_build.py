"""One model, built by a real TensorRT in two threads at once, and how that ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, TensorProto

from pytest_trt.cases.limits import BUILDS, FALLS_BACK, REFUSED, Expectation, compare, expected_outcome
from pytest_trt.errors import UnsupportedError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.attribution import attribute
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


def draw_feed(model: ModelProto, shapes: Shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Return one normal input for each float32 input of a model, for the ranges that INT8 scales come from."""
    rng = np.random.default_rng(seed)
    return {
        value.name: rng.standard_normal(shapes[value.name]).astype(np.float32)
        for value in model.graph.input
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name in shapes
    }


def build_twice(
    rt: Runtime, model: ModelProto, precision: str, shapes: Shapes, profile: Profile | None = None
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
    """
    request = make_request(rt, model, precision, shapes, profile)
    expected = expected_outcome(model, precision, sm=rt.gpu.sm, product=rt.product, version=rt.version)
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="trt-build") as pool:
        first, second = pool.map(lambda number: _attempt(rt, request), range(2))
    if isinstance(first, UnsupportedError) or isinstance(second, UnsupportedError):
        refused = first if isinstance(first, UnsupportedError) else second
        assert isinstance(refused, UnsupportedError)
        both = isinstance(first, UnsupportedError) and isinstance(second, UnsupportedError)
        complaints = compare(expected, REFUSED, words=refused.why)
        if not both:
            complaints += ("one of two builds of the same model was refused and the other was not",)
        return Built(REFUSED, expected, words=refused.why, complaints=complaints)
    ran = attribute(first.layers, expected.working, precision)
    fallback = tuple(name for name, kind in ran.items() if kind != precision)
    outcome = FALLS_BACK if fallback else BUILDS
    complaints = (
        *compare(expected, outcome, fallback=fallback),
        *_same(first, second),
        *_typed(first, expected, ran, precision),
    )
    return Built(outcome, expected, (), ran, complaints, first.captured, first)


def make_request(
    rt: Runtime, model: ModelProto, precision: str, shapes: Shapes, profile: Profile | None
) -> BuildRequest:
    """Return the request of one build: the model rewritten for the precision, scales from drawn data."""
    ranges = measure_ranges(model, [draw_feed(model, shapes)]) if precision == "int8" else None
    ready = prepare(model, precision, strong=rt.features.strong_typing, ranges=ranges)
    return BuildRequest(
        model=ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
        profile=profile,
    )


def _attempt(rt: Runtime, request: BuildRequest) -> Plan | UnsupportedError:
    try:
        return build_plan(rt, request)
    except UnsupportedError as error:
        return error


def _same(first: Plan, second: Plan) -> tuple[str, ...]:
    """A build repeats byte for byte, also in parallel."""
    if first.data == second.data:
        return ()
    if len(first.data) != len(second.data):
        return (f"two builds of one model differ: {len(first.data)} and {len(second.data)} bytes",)
    one, two = (np.frombuffer(plan.data, np.uint8) for plan in (first, second))
    at = np.flatnonzero(one != two)
    return (f"two builds of one model differ in {at.size} of {one.size} bytes, first at {at[0]}",)


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


def show_layers(layers: Sequence[LayerInfo]) -> str:
    """Return the layers with their types, one a line, for a failure."""
    return "\n".join(
        f"{layer.kind:<16} {','.join(layer.inputs) or '-':<14} -> {','.join(layer.outputs) or '-':<8} {layer.metadata}"
        for layer in layers
    )
