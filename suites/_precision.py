"""Which layers of small networks are in the precision that was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.cases import limits
from pytest_trt.errors import FallbackWarning, UnsupportedError
from pytest_trt.precision import Prepared, measure_ranges, prepare
from pytest_trt.precision.attribution import typed_products
from pytest_trt.precision.proof import Proof, complaint, prove, remark
from pytest_trt.records import Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan

from ._named import Checked

PRECISION = "precision"
POOL = "pool"
REFUSED = "builds"
KNOWN = "known-fallback"
TF32_FLAG = "tf32-flag"
TF32_PLAN = "tf32-plan"
BATCH = 2
OBEY = "OBEY_PRECISION_CONSTRAINTS"
_LEAST_SM_TF32 = 80


@dataclass(frozen=True)
class Route:
    """A way to a precision.

    Attributes
    ----------
    strong : bool
        The network is strongly typed; else builder flags permit the precision.
    hybrid : str
        `fp16` or `bf16` where INT8 may stand beside that type; else `off`.
    constraints : str
        `obey` where every layer of a weakly typed network is given the type; else `off`.
    """

    strong: bool
    hybrid: str = "off"
    constraints: str = "off"

    @property
    def words(self) -> str:
        """The route in words."""
        words = ["strongly typed" if self.strong else "weakly typed"]
        if self.hybrid != "off":
            words.append(f"hybrid with {self.hybrid}")
        if self.constraints != "off":
            words.append("constraints obeyed")
        return ", ".join(words)


@dataclass(frozen=True)
class Proven:
    """What one network showed: its name, the route and the proof."""

    network: str
    route: Route
    proof: Proof


def routes(rt: Runtime, precision: str, settings: Settings) -> list[Route]:
    """Return the ways to a precision that a TensorRT has: those of `--trt-typing`, else every one."""
    typings = [True] if rt.features.strong_typing else []
    typings += [False] if rt.features.weak_typing else []
    if settings.typing != "auto":
        typings = [settings.typing == "strong"]
    hybrids = ("off",) if precision != "int8" else tuple(dict.fromkeys(("off", "fp16", settings.hybrid)))
    found = [Route(strong, hybrid) for strong in typings for hybrid in hybrids]
    if False in typings and precision in ("fp16", "bf16") and OBEY in rt.features.builder_flags:
        found.append(Route(strong=False, constraints="obey"))
    return found


def _model(
    nodes: list[NodeProto], shape: tuple[int, ...], weights: dict[str, tuple[int, ...]], out: tuple[int, ...]
) -> ModelProto:
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.standard_normal(sizes).astype(np.float32), name)
        for name, sizes in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "proven",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (BATCH, *shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (BATCH, *out))],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def networks() -> dict[str, ModelProto]:
    """Return the networks by name: a convolution, a Gemm, and a residual block of three convolutions with a Gemm behind."""
    node, pads = helper.make_node, {"pads": [1, 1, 1, 1]}
    conv = [node("Conv", ["x", "w", "b"], ["y"], name="conv", **pads)]
    gemm = [node("Gemm", ["x", "w", "b"], ["y"], name="gemm")]
    block = [
        node("Conv", ["x", "w0"], ["c0"], name="conv0", **pads),
        node("Relu", ["c0"], ["r0"], name="relu0"),
        node("Conv", ["r0", "w1"], ["c1"], name="conv1", **pads),
        node("Relu", ["c1"], ["r1"], name="relu1"),
        node("Conv", ["r1", "w2"], ["c2"], name="conv2", **pads),
        node("Add", ["c2", "r0"], ["s"], name="add"),
        node("GlobalAveragePool", ["s"], ["p"], name="pool"),
        node("Flatten", ["p"], ["f"], name="flatten"),
        node("MatMul", ["f", "w3"], ["y"], name="matmul"),
    ]
    square = (16, 16, 3, 3)
    return {
        "conv": _model(conv, (16, 8, 8), {"w": square, "b": (16,)}, (16, 8, 8)),
        "gemm": _model(gemm, (32,), {"w": (32, 16), "b": (16,)}, (16,)),
        "block": _model(block, (16, 8, 8), {"w0": square, "w1": square, "w2": square, "w3": (16, 8)}, (8,)),
    }


def prepare_network(model: ModelProto, precision: str, route: Route) -> Prepared:
    """Return a network made ready at a precision, INT8 scales from drawn data."""
    sizes = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    feed = {"x": np.random.default_rng(1).standard_normal(sizes).astype(np.float32)}
    ranges = measure_ranges(model, [feed]) if precision == "int8" else None
    how = {"strong": route.strong, "hybrid": route.hybrid, "constraints": route.constraints}
    return prepare(model, precision, ranges=ranges, **how)


def build_network(rt: Runtime, ready: Prepared) -> Plan:
    """Return the plan of a network that has been made ready."""
    request = BuildRequest(
        model=ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
        constraints=ready.constraints,
    )
    return build_plan(rt, request)


def check_precision(
    rt: Runtime, precision: str, route: Route, *, told: list[Proven] | None = None
) -> Iterator[Checked]:
    """Yield for each network whether every convolution and matrix product is in the precision asked for.

    Under weak typing a 16-bit type is a permission: which layers use it is TensorRT's choice, and an engine that uses it
    nowhere is a `FallbackWarning`. A type outside of the pool is refused under either typing. TF32 shows in hardly any layer
    list; that it is on or off is read back from the configuration, and its plan is another one than that of FP32. Where the table
    of known limits says that a real TensorRT refuses a network it is left out; where it falls back, that has to be seen.

    Parameters
    ----------
    told : list of Proven, optional
        Gets the proof of each network that was built.
    """
    for name, model in networks().items():
        known = None if rt.emulated else _known(rt, model, precision)
        if known == limits.REFUSED:
            continue  # the suite of builds holds it against the table of known limits
        place = f"{name}, {route.words}"
        ready = prepare_network(model, precision, route)
        try:
            plan = build_network(rt, ready)
        except UnsupportedError as error:
            yield REFUSED, f"{place}, at {precision}: {error.what}"
            continue
        binding = route.strong or route.constraints == "obey" or precision not in ("fp16", "bf16")
        wanted = typed_products(ready.matched) if binding else None
        proof = prove(plan.layers, precision, hybrid=route.hybrid, wanted=wanted)
        if told is not None:
            told.append(Proven(name, route, proof))
        if known == limits.FALLS_BACK:
            absent = f"{place}: the table of known limits says that it falls back, and every layer is in {precision}"
            yield KNOWN, absent if proof.holds else None
            continue
        yield _judge(place, proof, binding)
        if "TF32" in rt.features.builder_flags:
            on = "TF32" in plan.flags
            wrong = f"{place}: the builder flag TF32 reads back {'on' if on else 'off'} at {precision}"
            yield TF32_FLAG, None if on == (precision == "tf32") else wrong
        if precision == "tf32" and "TF32" in plan.flags and rt.gpu.sm >= _LEAST_SM_TF32:
            plain = build_network(rt, prepare_network(model, "fp32", Route(route.strong)))
            same = f"{place}: the plan is the same with and without TF32"
            yield TF32_PLAN, None if plain.data != plan.data else same


def _known(rt: Runtime, model: ModelProto, precision: str) -> str:
    facts = {"sm": rt.gpu.sm, "product": rt.product, "version": rt.version}
    return limits.expected_outcome(model, precision, **facts).outcome


def _judge(place: str, proof: Proof, binding: bool) -> Checked:
    wrong = complaint(proof, binding=binding)
    if wrong is None and proof.fell_back:
        warnings.warn(FallbackWarning(f"{place}: {remark(proof)}"), stacklevel=2)
    return POOL if proof.breaches else PRECISION, None if wrong is None else f"{place}: {wrong}"


def table(told: Iterable[Proven], precision: str) -> dict[str, object]:
    """Return the layers by type of each network as a section of the report: a title, a head and rows."""
    rows = [
        [
            entry.network,
            entry.route.words,
            f"{entry.proof.in_asked} of {entry.proof.worked + len(entry.proof.unproven)}",
            ", ".join(f"{kind} {count}" for kind, count in sorted(entry.proof.layers.items())),
            str(entry.proof.reformats),
        ]
        for entry in told
    ]
    head = ["network", "route", f"working layers in {precision}", "layers by type", "reformat layers"]
    return {"title": f"Layers by type: {precision}", "head": head, "rows": rows}
