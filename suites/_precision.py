"""Which layers of small networks are in the precision that was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pytest_trt.cases.limits import BUILDS, expected_outcome
from pytest_trt.errors import UnsupportedError
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.proof import Proof, prove
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan

from ._named import Checked

PRECISION = "precision"
REFUSED = "builds"
TF32_FLAG = "tf32-flag"
BATCH = 2


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


def build_network(rt: Runtime, model: ModelProto, precision: str, strong: bool) -> Plan:
    """Return the plan of a network at a precision, INT8 scales from drawn data."""
    sizes = tuple(d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    feed = {"x": np.random.default_rng(1).standard_normal(sizes).astype(np.float32)}
    ranges = measure_ranges(model, [feed]) if precision == "int8" else None
    ready = prepare(model, precision, strong=strong, ranges=ranges)
    request = BuildRequest(
        model=ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
    )
    return build_plan(rt, request)


def check_precision(rt: Runtime, precision: str, strong: bool) -> Iterator[Checked]:
    """Yield for each network whether every convolution and matrix product is in the precision asked for.

    Under weak typing a 16-bit type is a permission: which layers use it is TensorRT's choice. TF32 shows in no layer list; that
    it is on or off is read back from the configuration.
    """
    for name, model in networks().items():
        if not rt.emulated:
            known = expected_outcome(model, precision, sm=rt.gpu.sm, product=rt.product, version=rt.version)
            if known.outcome != BUILDS:
                yield PRECISION, None  # held against the table of known limits by the other suites
                continue
        try:
            plan = build_network(rt, model, precision, strong)
        except UnsupportedError as error:
            yield REFUSED, f"{name} at {precision}: {error.what}"
            continue
        allowed = not strong and precision in ("fp16", "bf16")
        yield PRECISION, None if allowed else _unproven(name, prove(plan.layers, precision))
        if "TF32" in rt.features.builder_flags:
            on = "TF32" in plan.flags
            wrong = f"{name}: the builder flag TF32 reads back {'on' if on else 'off'} at {precision}"
            yield TF32_FLAG, None if on == (precision == "tf32") else wrong


def _unproven(name: str, proof: Proof) -> str | None:
    if proof.holds:
        return None
    if not proof.ran:
        return f"{name}: no layer that multiplies is told, so nothing proves {proof.asked}"
    worked = sum(proof.ran.values())
    share = f"{worked - len(proof.fallback)} of {worked} working layers are in {proof.asked}"
    return f"{name}: {share}; in another type: {', '.join(proof.fallback)}"
