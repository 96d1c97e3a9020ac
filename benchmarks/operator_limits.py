"""Hold the limit of each operator against honest kernels: how often it is broken, and how many values it leaves.

    python benchmarks/operator_limits.py [--tensors 150] [--only Erf Gelu] [--markdown]

Each operator is run on random tensors in FP32, FP16 and BF16 by ONNX Runtime's CPU kernels with graph optimisations off and
on, and by numpy in float32 written in a second way (another order of sums, another formula) where one is listed. FP16 and BF16
inputs and outputs are rounded, the arithmetic is FP32, as TensorRT promises. Shapes, scales and attributes change from tensor
to tensor; the seed is fixed. Printed are the outputs with a value outside the limit, and the median number of values of the
type that the limit admits: 1 is equality. Exit status 1: an honest output was outside.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check import operators
from pytest_trt.check.graph import Graph
from pytest_trt.check.interpret import HANDLERS, Step
from pytest_trt.numerics.bounds import Bound, Contract, store
from pytest_trt.numerics.formats import FORMATS, round_to
from pytest_trt.numerics.judge import measure

Single = NDArray[np.float32]
Arrays = Sequence[Single]
Variant = Callable[[Arrays, Mapping[str, Any]], Single]
KINDS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Trial:
    """One node and what it is fed: data inputs, constants behind them, attributes."""

    inputs: tuple[Single, ...]
    constants: tuple[NDArray[Any] | None, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18


@dataclass(frozen=True)
class Subject:
    """One operator: how it is drawn, and a second float32 implementation."""

    draw: Callable[[np.random.Generator], Trial]
    second: Variant | None = None


def _shape(rng: np.random.Generator, rank: int = 4) -> tuple[int, ...]:
    top = {1: 200, 2: 40, 3: 16, 4: 9}[rank]
    return tuple(int(v) for v in rng.integers(1, top, rank))


def _values(rng: np.random.Generator, shape: tuple[int, ...], scale: float | None = None) -> Single:
    """Return normal data of a drawn scale, sometimes off zero, sometimes with a few large values."""
    scale = float(rng.choice([0.1, 1.0, 3.0])) if scale is None else scale
    made = rng.standard_normal(shape) * scale + (rng.choice([0.0, 0.0, 2.0]) * scale)
    made = np.where(rng.random(shape) < 0.01, made * 8, made)
    return np.asarray(made, dtype=np.float32)


def _plain(positive: bool = False, **attributes: Any) -> Callable[[np.random.Generator], Trial]:
    def draw(rng: np.random.Generator) -> Trial:
        x = _values(rng, _shape(rng, int(rng.integers(1, 5))))
        return Trial((np.abs(x) + np.float32(2.0**-6) if positive else x,), attributes=attributes, opset=20)

    return draw


def _pair(positive: bool = False) -> Callable[[np.random.Generator], Trial]:
    def draw(rng: np.random.Generator) -> Trial:
        shape = _shape(rng, 3)
        a, b = _values(rng, shape), _values(rng, (1, *shape[1:]))
        if positive:
            b = np.copysign(np.abs(b) + np.float32(0.125), b)
        return Trial((a, np.asarray(b, dtype=np.float32)))

    return draw


def _many(rng: np.random.Generator) -> Trial:
    shape = _shape(rng, 3)
    return Trial(tuple(_values(rng, shape) for _ in range(int(rng.integers(2, 6)))))


def _pow(rng: np.random.Generator) -> Trial:
    exponent = float(rng.choice([2.0, 3.0, 0.5, -1.0, -0.5, 1.7, 0.25]))
    x = _values(rng, _shape(rng, 3))
    x = x if exponent in (2.0, 3.0) else np.abs(x) + np.float32(2.0**-6)
    return Trial((np.asarray(x, np.float32), np.full((), exponent, np.float32)))


def _prelu(rng: np.random.Generator) -> Trial:
    shape = _shape(rng)
    return Trial((_values(rng, shape), _values(rng, (shape[1], 1, 1), 0.3)))


def _where(rng: np.random.Generator) -> Trial:
    shape = _shape(rng, 3)
    return Trial((_values(rng, shape), _values(rng, shape)), (rng.random(shape) < 0.5,))


def _reduced(rng: np.random.Generator) -> Trial:
    shape = tuple(int(v) for v in rng.integers(1, 17, 4))
    axes = rng.choice(4, int(rng.integers(1, 4)), replace=False).astype(np.int64)
    return Trial((_values(rng, shape),), (axes,), {"keepdims": int(rng.integers(2))})


def _product(rng: np.random.Generator) -> Trial:
    x = _values(rng, (3, int(rng.integers(1, 12)), 5), 1.0)
    return Trial((x,), (np.array([1], np.int64),), {"keepdims": 1})


def _softmax(rng: np.random.Generator) -> Trial:
    shape = _shape(rng, 3)
    return Trial((_values(rng, shape),), attributes={"axis": int(rng.integers(3))})


def _last_axis(op_inputs: int, opset: int) -> Callable[[np.random.Generator], Trial]:
    def draw(rng: np.random.Generator) -> Trial:
        shape = (*_shape(rng, 2), int(rng.integers(4, 300)))
        x = _values(rng, (min(shape[0], 4), min(shape[1], 8), shape[2]))
        extra = (_values(rng, shape[2:], 1.0), _values(rng, shape[2:], 1.0))[: op_inputs - 1]
        epsilon = float(rng.choice([1e-5, 1e-3, 1e-12]))
        return Trial((x, *extra), attributes={"axis": -1, "epsilon": epsilon}, opset=opset)

    return draw


def _per_channel(groups: bool) -> Callable[[np.random.Generator], Trial]:
    def draw(rng: np.random.Generator) -> Trial:
        parts = int(rng.choice([1, 2, 4]))
        channels = parts * int(rng.integers(1, 5))
        x = _values(
            rng, (int(rng.integers(1, 4)), channels, int(rng.integers(2, 12)), int(rng.integers(2, 12)))
        )
        attributes: dict[str, Any] = {"epsilon": 1e-5}
        if groups:
            attributes["num_groups"] = parts
        extra = (_values(rng, (channels,), 1.0), _values(rng, (channels,), 1.0))
        return Trial((x, *extra), attributes=attributes, opset=21)

    return draw


def _batch_norm(rng: np.random.Generator) -> Trial:
    shape = _shape(rng)
    c = shape[1]
    parts = (_values(rng, (c,), 1.0), _values(rng, (c,), 1.0), _values(rng, (c,), 1.0))
    variance = np.asarray(rng.uniform(0.2, 4, c), np.float32)
    return Trial((_values(rng, shape), *parts, variance), opset=15)


def _lp(rng: np.random.Generator) -> Trial:
    shape = _shape(rng, 3)
    return Trial(
        (_values(rng, shape),), attributes={"axis": int(rng.integers(3)), "p": int(rng.integers(1, 3))}
    )


def _lrn(rng: np.random.Generator) -> Trial:
    shape = (2, int(rng.integers(1, 12)), *_shape(rng, 2))
    attributes = {"size": int(rng.choice([1, 3, 5])), "alpha": 0.01, "beta": 0.75, "bias": 1.0}
    return Trial((_values(rng, shape),), attributes=attributes)


def _resize(mode: str) -> Callable[[np.random.Generator], Trial]:
    def draw(rng: np.random.Generator) -> Trial:
        shape = (1, int(rng.integers(1, 4)), int(rng.integers(2, 12)), int(rng.integers(2, 12)))
        coordinates = str(rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]))
        attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": coordinates}
        if mode == "nearest":
            attributes["nearest_mode"] = str(
                rng.choice(["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
            )
        if rng.integers(2):
            scales = np.array([1, 1, *rng.choice([2.0, 3.0, 1.5, 0.5], 2)], np.float32)
            sizes = None
            if coordinates == "align_corners":
                scales = np.array([1, 1, 2, 3], np.float32)
        else:
            scales = None
            sizes = np.array([*shape[:2], *rng.integers(1, 24, 2)], np.int64)
        return Trial((_values(rng, shape),), (None, scales, sizes), attributes)

    return draw


def _pool(rng: np.random.Generator) -> Trial:
    return Trial((_values(rng, (2, 3, int(rng.integers(1, 16)), int(rng.integers(1, 16)))),))


# -- second float32 implementations: another formula or another order

F = np.float32


def _sig(x: Single) -> Single:
    return np.asarray(F(1) / (F(1) + np.exp(-x)))


def _gelu_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    x = a[0]
    inner = x * (F(0.7978845608) * (F(1) + F(0.044715) * x * x))
    return np.asarray(F(0.5) * x * (F(1) + np.tanh(inner)))


def _layer_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    """One pass: E[x^2] - E[x]^2, summed from the end."""
    x = a[0]
    n = F(x.shape[-1])
    mean = np.add.accumulate(x[..., ::-1], axis=-1)[..., -1:] / n
    power = np.add.accumulate((x * x)[..., ::-1], axis=-1)[..., -1:] / n
    variance = np.maximum(power - mean * mean, F(0))
    factor = F(1) / np.sqrt(variance + F(attributes["epsilon"])) * a[1]
    return np.asarray(x * factor + (a[2] - mean * factor))


def _rms_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    x = a[0]
    power = np.add.accumulate(x * x, axis=-1)[..., -1:] * (F(1) / F(x.shape[-1]))
    return np.asarray(x / np.sqrt(power + F(attributes["epsilon"])) * a[1])


def _instance_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    x = a[0].reshape(*a[0].shape[:2], -1)
    mean = np.add.accumulate(x, axis=-1)[..., -1:] / F(x.shape[-1])
    away = x - mean
    variance = np.add.accumulate(away * away, axis=-1)[..., -1:] / F(x.shape[-1])
    made = away / np.sqrt(variance + F(attributes["epsilon"])) * a[1][:, None] + a[2][:, None]
    return np.asarray(made.reshape(a[0].shape), np.float32)


def _softmax_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    power = np.exp(a[0] - a[0].max(axis=attributes["axis"], keepdims=True))
    return np.asarray(power * (F(1) / power.sum(axis=attributes["axis"], keepdims=True)))


def _log_softmax_second(a: Arrays, attributes: Mapping[str, Any]) -> Single:
    return np.asarray(np.log(_softmax_second(a, attributes)))


def _exp2_form(x: Single) -> Single:
    return np.asarray(np.exp2(x * F(1.4426950408889634)))


def _erf_second(x: Single) -> Single:
    """Return the error function rounded to float32, the last bit flipped in every other element."""
    right = np.array([math.erf(v) for v in x.reshape(-1).tolist()], np.float32).reshape(x.shape)
    return np.asarray(np.where(np.arange(x.size).reshape(x.shape) % 2, np.nextafter(right, F(2)), right))


SUBJECTS: dict[str, Subject] = {
    "Add": Subject(_pair(), lambda a, _: a[0] + a[1]),
    "Sub": Subject(_pair(), lambda a, _: a[0] - a[1]),
    "Mul": Subject(_pair(), lambda a, _: a[0] * a[1]),
    "Div": Subject(_pair(positive=True), lambda a, _: a[0] * (F(1) / a[1])),
    "Sum": Subject(_many, lambda a, _: np.asarray(sum(a[::-1]), np.float32)),
    "Mean": Subject(_many, lambda a, _: np.asarray(sum(v * F(1 / len(a)) for v in a[::-1]), np.float32)),
    "Max": Subject(_many),
    "Min": Subject(_many),
    "Relu": Subject(_plain()),
    "LeakyRelu": Subject(_plain(alpha=0.2)),
    "PRelu": Subject(_prelu, lambda a, _: np.maximum(a[0], F(0)) + a[1] * np.minimum(a[0], F(0))),
    "ThresholdedRelu": Subject(_plain(alpha=0.7)),
    "Floor": Subject(_plain()),
    "Ceil": Subject(_plain()),
    "Round": Subject(_plain()),
    "Sign": Subject(_plain()),
    "Where": Subject(_where),
    "Greater": Subject(_pair()),
    "Reciprocal": Subject(_plain(positive=True)),
    "Sqrt": Subject(_plain(positive=True)),
    "Exp": Subject(_plain(), lambda a, _: _exp2_form(a[0])),
    "Log": Subject(_plain(positive=True), lambda a, _: np.log2(a[0]) * F(0.6931471805599453)),
    "Pow": Subject(_pow, lambda a, _: np.power(a[0], a[1])),
    "Sin": Subject(_plain(), lambda a, _: np.sin(a[0])),
    "Cos": Subject(_plain(), lambda a, _: np.cos(a[0])),
    "Sigmoid": Subject(_plain(), lambda a, _: _sig(a[0])),
    "Tanh": Subject(_plain(), lambda a, _: np.tanh(a[0])),
    "Erf": Subject(_plain(), lambda a, _: _erf_second(a[0])),
    "Gelu": Subject(
        _plain(approximate="none"), lambda a, _: F(0.5) * a[0] * (F(1) + _erf_second(a[0] * F(0.70710678)))
    ),
    "Gelu (tanh)": Subject(_plain(approximate="tanh"), _gelu_second),
    "Mish": Subject(_plain(), lambda a, _: a[0] * np.tanh(np.log1p(np.exp(np.minimum(a[0], F(60)))))),
    "Softplus": Subject(
        _plain(), lambda a, _: np.log(F(1) + np.exp(np.minimum(a[0], F(20)))) + np.maximum(a[0] - F(20), F(0))
    ),
    "Softsign": Subject(_plain(), lambda a, _: a[0] * (F(1) / (F(1) + np.abs(a[0])))),
    "Elu": Subject(_plain(), lambda a, _: np.where(a[0] > 0, a[0], np.exp(np.minimum(a[0], F(0))) - F(1))),
    "Selu": Subject(_plain()),
    "Celu": Subject(_plain(alpha=1.5)),
    "HardSigmoid": Subject(_plain()),
    "HardSwish": Subject(_plain()),
    "Softmax": Subject(_softmax, _softmax_second),
    "LogSoftmax": Subject(_softmax, _log_softmax_second),
    "BatchNormalization": Subject(_batch_norm),
    "LayerNormalization": Subject(_last_axis(3, 17), _layer_second),
    "RMSNormalization": Subject(_last_axis(2, 23), _rms_second),
    "InstanceNormalization": Subject(_per_channel(False), _instance_second),
    "GroupNormalization": Subject(_per_channel(True)),
    "LpNormalization": Subject(_lp),
    "LRN": Subject(_lrn),
    "ReduceSum": Subject(_reduced),
    "ReduceMean": Subject(_reduced),
    "ReduceL1": Subject(_reduced),
    "ReduceL2": Subject(_reduced),
    "ReduceSumSquare": Subject(_reduced),
    "ReduceMax": Subject(_reduced),
    "ReduceMin": Subject(_reduced),
    "ReduceProd": Subject(_product),
    "GlobalAveragePool": Subject(_pool),
    "Resize (nearest)": Subject(_resize("nearest")),
    "Resize (linear)": Subject(_resize("linear")),
    "Resize (cubic)": Subject(_resize("cubic")),
}


def _model(op: str, trial: Trial) -> onnx.ModelProto:
    """Return the one-node model: data inputs are inputs, the rest are constants (Where's condition comes first)."""
    inputs, tensors = [], []
    names = []
    for position, values in enumerate(trial.inputs):
        names.append(f"x{position}")
        inputs.append(helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, values.shape))
    fixed = []
    for position, constant in enumerate(trial.constants):
        fixed.append("" if constant is None else f"c{position}")
        if constant is not None:
            tensors.append(numpy_helper.from_array(constant, f"c{position}"))
    node = helper.make_node(
        op, [*fixed, *names] if op == "Where" else [*names, *fixed], ["y"], **trial.attributes
    )
    kind = TensorProto.BOOL if op in ("Greater", "Less", "Equal") else TensorProto.FLOAT
    out = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "g", inputs, [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", trial.opset)], ir_version=10)


def _run(model: onnx.ModelProto, feeds: Mapping[str, Single], optimised: bool) -> NDArray[Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(feeds))[0])


def _bound(model: onnx.ModelProto, feeds: Mapping[str, Single], kind: str) -> Bound | None:
    """Return the limit of the node in a storage type, as an interpretation of the typed graph gives it."""
    graph = Graph(model)
    node = graph.nodes[0]
    args = [
        None if not name else graph.constant(name) or Bound.exact(feeds[name].astype(np.float64), kind)
        for name in node.inputs
    ]
    is_bool = graph.outputs["y"][0] == "bool"
    with np.errstate(all="ignore"):
        made = HANDLERS[node.op](
            Step(node, tuple(args), Contract(), "bool" if is_bool else kind, graph.opset)
        )
        return None if not made else made[0] if is_bool else store(made[0], kind)


def _admitted(bound: Bound, kind: str) -> float:
    """Return the median number of values of the type that the elements of a bound admit."""
    if bound.kind == "bool":
        return float(np.median(bound.high - bound.low + 1))
    form = FORMATS[kind]
    free = np.isfinite(bound.low) & np.isfinite(bound.high)
    if not free.any():
        return 1.0
    ranks = []
    for end in (bound.low[free], bound.high[free]):
        _, exponent = np.frexp(np.abs(end))
        exponent = np.maximum(exponent, form.emin + 1)
        steps = np.ldexp(np.abs(end), form.bits - exponent) + (exponent - form.emin - 1.0) * 2.0 ** (
            form.bits - 1
        )
        ranks.append(np.copysign(steps, end))
    return float(np.median(ranks[1] - ranks[0] + 1))


@dataclass
class Row:
    """What was found for one operator and type."""

    outputs: int = 0
    flagged: int = 0
    unlimited: int = 0
    counts: list[float] = field(default_factory=list)
    example: str = ""


def measure_operator(name: str, kind: str, tensors: int) -> Row:
    """Return how honest outputs of one operator lie in its limits."""
    subject, op, row = SUBJECTS[name], name.split(" (")[0], Row()
    for number in range(tensors):
        rng = np.random.default_rng([number, *name.encode()])
        trial = subject.draw(rng)
        feeds = {
            f"x{i}": np.asarray(round_to(v.astype(np.float64), kind), np.float32)
            for i, v in enumerate(trial.inputs)
        }
        model = _model(op, trial)
        bound = _bound(model, feeds, kind)
        if bound is None:
            row.unlimited += 1
            continue
        row.counts.append(_admitted(bound, kind))
        for origin, got in _honest(subject, model, feeds, trial):
            row.outputs += 1
            stored = got if got.dtype == bool else round_to(got.astype(np.float64), kind)
            found = measure(stored, bound)
            if found.bad:
                row.flagged += 1
                row.example = row.example or f"{origin}, tensor {number} {dict(trial.attributes)}: {found}"
    return row


def _honest(
    subject: Subject, model: onnx.ModelProto, feeds: Mapping[str, Single], trial: Trial
) -> Iterator[tuple[str, NDArray[Any]]]:
    for optimised in (False, True):
        try:
            yield f"ONNX Runtime, optimised={optimised}", _run(model, feeds, optimised)
        except Exception as error:  # classes of its own C++ half: no kernel for a form
            if "NOT_IMPLEMENTED" not in str(error) and "NotImplemented" not in type(error).__name__:
                raise
    if subject.second is not None:
        with np.errstate(all="ignore"):
            yield "numpy", np.asarray(subject.second(list(feeds.values()), trial.attributes))


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--tensors", type=int, default=150)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS))
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/limits.md")
    given = parser.parse_args()
    missing = {name.split(" (")[0] for name in SUBJECTS} - operators.with_limit()
    assert not missing, f"no limit: {sorted(missing)}"
    flagged = 0
    bar = "|" if given.markdown else " "
    print(f"{bar} {'operator':<22} {bar} outputs {bar} flagged {bar} admitted: {', '.join(KINDS)} {bar}")
    if given.markdown:
        print("| --- | --- | --- | --- |")
    for name in given.only:
        rows = {kind: measure_operator(name, kind, given.tensors) for kind in KINDS}
        outputs, bad = (sum(getattr(row, key) for row in rows.values()) for key in ("outputs", "flagged"))
        flagged += bad
        admitted = ", ".join(
            f"{statistics.median(row.counts):.4g}" if row.counts else "-" for row in rows.values()
        )
        print(f"{bar} {name:<22} {bar} {outputs:>7} {bar} {bad:>7} {bar} {admitted:<22} {bar}", flush=True)
        for kind, row in rows.items():
            if row.example:
                print(f"    {kind}: {row.example}", file=sys.stderr)
            if row.unlimited == given.tensors:
                print(f"    {kind}: no limit at all", file=sys.stderr)
                flagged += 1
    print(f"{flagged} flagged")
    return int(flagged > 0)


if __name__ == "__main__":
    sys.exit(main())
