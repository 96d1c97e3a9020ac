"""Every route to a precision: typing, constraints, hybrid INT8, types of single layers; offered ones work, others are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from pytest_trt.cases.limits import BUILDS, expected_outcome
from pytest_trt.check.examine import Examiner
from pytest_trt.check.feeds import draw_feeds, scale_of
from pytest_trt.check.graph import Graph
from pytest_trt.check.subject import Subject
from pytest_trt.errors import PrecisionError, UnsupportedError
from pytest_trt.precision import Prepared, measure_ranges, prepare
from pytest_trt.precision.attribution import typed_products
from pytest_trt.precision.proof import complaint, prove
from pytest_trt.precision.support import find_lack
from pytest_trt.runtime.load import Runtime

from ._named import Checked
from ._precision import networks

LAYERS = "typing-layers"
OUTPUTS = "typing-outputs"
REFUSAL = "typing-refusal"
DUMMY = "typing-dummy"
RUNGS = ("direct", "unfused")
DATA = ("uniform11", "int_small")
KEPT = "conv1"  # of the residual block: the layer that stays in fp32 by its own type
_RANGE = 127.0 / 128.0
_HALVES = ("fp16", "bf16")
_LEAST_SM_BF16 = 80


@dataclass(frozen=True)
class Way:
    """One route to a precision: typing, the type beside INT8, where scales come from, constraints, and types of single layers."""

    strong: bool
    hybrid: str = "off"
    implicit: bool = False
    constraints: str = "off"
    keeps: bool = False

    @property
    def words(self) -> str:
        """The route for people: `weak, obey, conv1 in fp32`."""
        parts = [
            "strong" if self.strong else "weak",
            "" if self.hybrid == "off" else f"hybrid {self.hybrid}",
            "implicit" if self.implicit else "",
            "" if self.constraints == "off" else self.constraints,
            f"{KEPT} in fp32" if self.keeps else "",
        ]
        return ", ".join(part for part in parts if part)


def ways(precision: str) -> list[Way]:
    """Return every route to a precision that some TensorRT has, and some that none has."""
    plain = [Way(True), Way(False)]
    if precision == "int8":
        hybrids = [Way(strong, hybrid) for strong in (True, False) for hybrid in _HALVES]
        implicit = [Way(False, hybrid, implicit=True) for hybrid in ("off", "fp16")]
        obeyed = [Way(False, implicit=True, constraints="obey"), Way(False, keeps=True)]
        return [
            *plain,
            *hybrids,
            *implicit,
            *obeyed,
            Way(True, implicit=True),
            Way(False, "fp16", False, "obey"),
        ]
    kinds = [Way(False, constraints=kind) for kind in ("prefer", "obey")]
    return [
        *plain,
        *kinds,
        Way(False, constraints="obey", keeps=True),
        Way(True, constraints="obey"),
        Way(True, keeps=True),
    ]


def is_offered(rt: Runtime, precision: str, way: Way) -> bool:
    """Tell whether a TensorRT has a route, by its features and its GPU."""
    features = rt.features
    if not (features.strong_typing if way.strong else features.weak_typing):
        return False
    single = way.constraints != "off" or way.keeps
    if single and (way.strong or way.hybrid != "off" or not features.layer_precision):
        return False
    if way.implicit and (way.strong or not features.dynamic_ranges):
        return False
    if "bf16" in (precision, way.hybrid):
        known = hasattr(rt.trt.DataType, "BF16") and (way.strong or "BF16" in features.builder_flags)
        return known and rt.gpu.sm >= _LEAST_SM_BF16 and find_lack("bf16") is None
    return True


def check_ways(rt: Runtime, precision: str) -> Iterator[Checked]:
    """Yield for each route and network whether its layers are as asked and its outputs conform, or whether it is refused.

    Single layers have types of their own in the residual block alone. Where a real TensorRT is known to refuse a network, or
    to build it in another type, the table of known limits has the say.
    """
    for way in ways(precision):
        for name, model in networks().items():
            if way.keeps and name != "block":
                continue
            known = not rt.emulated and _outcome(rt, model, precision) != BUILDS
            if not known:
                yield from _follow(rt, f"{name}, {way.words}, at {precision}", model, precision, way)
    if precision == "int8":
        yield DUMMY, _wrong_dummy(rt, networks()["conv"])


def _outcome(rt: Runtime, model: ModelProto, precision: str) -> str:
    facts = {"sm": rt.gpu.sm, "product": rt.product, "version": rt.version}
    return expected_outcome(model, precision, **facts).outcome


def _ranges(model: ModelProto) -> dict[str, float]:
    """Return ranges from drawn data; those of the inputs are exactly what makes their scale 2**-7."""
    source = Graph(model)
    sizes = {name: tuple(map(int, shape)) for name, (_, shape) in source.inputs.items()}
    reach = dict.fromkeys(source.inputs, _RANGE)
    feeds = draw_feeds(source, sizes, "uniform11", "int8", scale_of(source), reach, np.random.default_rng(1))
    return {**measure_ranges(model, [feeds]), **reach}


def _ready(model: ModelProto, precision: str, way: Way, ranges: dict[str, float] | None) -> Prepared:
    return prepare(
        model,
        precision,
        strong=way.strong,
        ranges=None if way.implicit else ranges,
        hybrid=way.hybrid,
        implicit=way.implicit,
        constraints=way.constraints,
        layer_types={KEPT: "fp32"} if way.keeps else None,
    )


def _follow(rt: Runtime, place: str, model: ModelProto, precision: str, way: Way) -> Iterator[Checked]:
    offered = is_offered(rt, precision, way)
    ranges = _ranges(model) if precision == "int8" else None
    try:
        ready = _ready(model, precision, way, ranges)
        build = {"dynamic_ranges": ranges} if way.implicit else {}
        subject = Subject(rt, ready, None, build=build)
        layers = subject.plan.layers
    except (PrecisionError, UnsupportedError) as error:
        if offered:
            yield REFUSAL, f"{place}: refused, although this TensorRT has that route: {error.what}"
        else:
            yield REFUSAL, None if error.mend else f"{place}: refused without a way that works: {error.what}"
        return
    if not offered:
        yield REFUSAL, f"{place}: built, although this TensorRT has no such route"
        return
    # Implicit INT8 and permissions leave the choice to the builder.
    binding = way.strong or way.constraints == "obey" or not (way.implicit or precision in _HALVES)
    wanted = None if way.implicit or not binding else typed_products(ready.matched)
    wrong = complaint(prove(layers, precision, hybrid=way.hybrid, wanted=wanted), binding=binding)
    yield LAYERS, None if wrong is None else f"{place}: {wrong}"
    if way.implicit:
        return  # what is judged there is known from the calibration: the suites of calibration do it
    with subject:
        yield OUTPUTS, _wrong_outputs(subject, Graph(model), place, ranges)


def _wrong_outputs(
    subject: Subject, source: Graph, place: str, ranges: dict[str, float] | None
) -> str | None:
    precision = subject.prepared.precision
    sizes = {name: tuple(map(int, shape)) for name, (_, shape) in source.inputs.items()}
    examiner = Examiner(subject, source, RUNGS)
    try:
        for place_of, kind in enumerate(DATA):
            rng = np.random.default_rng([2, place_of])
            feeds = draw_feeds(source, sizes, kind, precision, scale_of(source), ranges or {}, rng)
            examiner.look(feeds, kind, relations=False)
    finally:
        examiner.close()
    found = examiner.result.findings
    return f"{place}: {found[0].check}, {found[0].tensor}, {found[0].note}" if found else None


def _wrong_dummy(rt: Runtime, model: ModelProto) -> str | None:
    """Return what is wrong with a build for a speed trial: it is in INT8, and nobody can have its outputs judged."""
    ready = prepare(model, "int8", strong=rt.features.strong_typing, dummy_range=1.0)
    with Subject(rt, ready, None) as subject:
        if subject.plan.accurate:
            return "a build with dummy ranges is not marked as inaccurate"
        if not prove(subject.plan.layers, "int8").holds and (rt.emulated or ready.strong):
            return "a build with dummy ranges is not in int8"
    try:
        ready.demand_accurate()
    except PrecisionError:
        return None
    return "the outputs of a build with dummy ranges may be judged"
