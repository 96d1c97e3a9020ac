"""Implicit INT8 calibrations: the tables that TensorRT writes, what it does with a cache, and the scales that its engine uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.errors import CalibrationError, UnsupportedError
from pytest_trt.precision.proof import prove
from pytest_trt.precision.tables import ALGORITHMS, CalibrationTable
from pytest_trt.records import LogLine
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.calibration import Calibrator, make_calibrator, table_product
from pytest_trt.runtime.inspect import engine_layers
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.session import Session, load_engine

from ._named import Checked

HEADER = "calibration-header"
TABLE = "calibration-table"
BATCHING = "calibration-batching"
RENEWED = "calibration-renewed"
ALGORITHM = "calibration-algorithm"
CACHE = "calibration-cache"
VERSION = "calibration-cache-version"
FALLBACK = "calibration-fallback"
ENGINE = "calibrated-engine"

WIDTH = 8
# A table holds float32 scales; inner tensors come from sums in an order of TensorRT's own, and in TF32 where it is on.
TABLE_LIMIT = 2.0**-9
# Products of integers and scales in float32: a few roundings. A value that lies on a tie may go either way: one level.
ENGINE_LIMIT = 2.0**-18
# Of a normal distribution and one value at 20 times its spread: what an algorithm that leaves outliers out may keep.
OUTLIER, MOST_KEPT, LEAST_KEPT = 20.0, 15.0, 1.0
# Legacy: one value in 4096 lies outside.
QUANTILE = 0.999


def gains() -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of the two products: diagonal, equal in size, so that one scale does for each."""
    return 2 * np.eye(WIDTH, dtype=np.float32), 3 * np.eye(WIDTH, dtype=np.float32)


def network(batch: int) -> ModelProto:
    """Return y = (x A) B, each product with a scale of its own in front."""
    first, second = gains()
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
            helper.make_node("MatMul", ["h", "b"], ["y"], name="second"),
        ],
        "calibrated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, WIDTH])],
        [numpy_helper.from_array(first, "a"), numpy_helper.from_array(second, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def data() -> np.ndarray:
    """Return the calibration data: four rows, the largest value in one of them."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, WIDTH)).astype(np.float32)
    x[2, 3] = 1.4375
    return x


def outlying() -> np.ndarray:
    """Return 4096 values of a normal distribution, one of them replaced by one that is far off."""
    x = np.random.default_rng(1).standard_normal((512, WIDTH)).astype(np.float32)
    x[100, 5] = OUTLIER
    return x


class Calibrated:
    """One calibration and its build: `plan`, `table`, what the calibrator saw, and the warnings."""

    def __init__(self, plan: Plan, calibrator: Calibrator, lines: Sequence[LogLine]) -> None:
        self.plan = plan
        self.written = calibrator.written
        self.asked = calibrator.batches_given
        self.table = CalibrationTable.parse(self.written, name="the table") if self.written else None
        self.warnings = [line.text for line in lines if line.severity == "WARNING"]


def calibrate(
    rt: Runtime, batches: Sequence[np.ndarray], algorithm: str = "minmax", cache: bytes | None = None
) -> Calibrated:
    """Return what comes of a build with a calibrator; a cache is handed over unseen, for TensorRT to judge.

    Raises
    ------
    UnsupportedError
        TensorRT refused.
    """
    request = BuildRequest(
        network(len(batches[0])).SerializeToString(), strongly_typed=False, flags=frozenset({"INT8"})
    )
    feeds = [{"x": batch} for batch in batches]
    with make_calibrator(
        rt, feeds, algorithm=algorithm, cache=cache, check_cache=False, quantile=QUANTILE
    ) as made:
        with rt.logger.collect() as lines, made.watched():
            plan = build_plan(rt, request, calibrator=made.raw)
        return Calibrated(plan, made, lines)


def _scales(made: Calibrated) -> dict[str, float]:
    return {} if made.table is None else {name: float(scale) for name, scale in made.table.scales.items()}


def _wrong_header(rt: Runtime, made: Calibrated, algorithm: str) -> str | None:
    """Return in what a table's first line does not name this TensorRT and the algorithm of its calibrator."""
    if made.table is None:
        return "no table was written"
    try:
        made.table.check_version(table_product(rt), rt.version)
        made.table.check_algorithm(algorithm)
    except CalibrationError as error:
        return error.what
    return None


def _wrong_scales(table: dict[str, float], x: np.ndarray) -> str | None:
    """Return which scales of a table are not those of the data: largest magnitude over 127."""
    first, second = gains()
    reach = {"x": x, "h": x @ first, "y": x @ first @ second}
    wrong = []
    for name, values in reach.items():
        want = float(np.abs(values).max()) / 127
        got = table.get(name)
        if got is None:
            wrong += [f"{name}: no scale"] if name != "y" else []  # nothing reads the output again
        elif not abs(got - want) <= TABLE_LIMIT * want:
            wrong.append(f"{name}: scale {got:.6g} is {got / want:.4g} times what the data give")
    return "; ".join(wrong) or None


def _wrong_batching(whole: Calibrated, parts: Calibrated, count: int) -> str | None:
    if parts.asked != count:
        return f"{parts.asked} of {count} batches were taken"
    return None if _scales(parts) == _scales(whole) else "the same data in two batches give another table"


def _not_renewed(before: Calibrated, after: Calibrated, factor: float) -> str | None:
    """Return which scales did not grow with the data."""
    old, new = _scales(before), _scales(after)
    wrong = [
        f"{name}: scale {new.get(name, 0.0):.6g} after {old[name]:.6g}"
        for name in old
        if not abs(new.get(name, 0.0) - factor * old[name]) <= TABLE_LIMIT * factor * old[name]
    ]
    return f"data {factor:g} times as large: {'; '.join(wrong)}" if wrong else None


def _kept_outlier(made: Calibrated, algorithm: str) -> str | None:
    """Return how an algorithm that leaves outliers out did not."""
    reach = 127 * _scales(made).get("x", 0.0)
    if LEAST_KEPT <= reach <= MOST_KEPT:
        return None
    return f"{algorithm}: normal data with one value at {OUTLIER:g} are taken to reach to {reach:.4g}"


def _levels(values: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.rint(values / scale), -128, 127)


def _wrong_answer(rt: Runtime, made: Calibrated, algorithm: str, x: np.ndarray) -> str | None:
    """Return how an engine's answer differs from that of INT8 arithmetic with the scales of the table."""
    table = _scales(made)
    if not {"x", "h"} <= table.keys():
        return (
            None if algorithm == "minmax" else f"{algorithm}: no scale of x or h"
        )  # of min-max TABLE says so
    engine = load_engine(rt, made.plan)
    if not prove(engine_layers(rt.trt, engine), "int8").holds:
        return None if not rt.emulated else "a product was not built in int8"  # TensorRT may prefer fp32
    return _wrong_values(rt, engine, table["x"], table["h"], x)


def _wrong_values(
    rt: Runtime, engine: Any, x_scale: float, h_scale: float | None, x: np.ndarray
) -> str | None:
    """Return how an engine differs from products of rounded levels; of floats in the second one, if h has no scale."""
    with Session(rt, engine) as session:
        got = session.run({"x": x})["y"].astype(np.float64)
    first, second = (float(weights[0, 0]) for weights in gains())
    inner = first * _levels(x.astype(np.float64), x_scale) * x_scale
    tie = np.zeros_like(inner)
    if h_scale is not None:
        tie = np.where(np.abs(np.abs(inner / h_scale % 1) - 0.5) < 1e-3, 1.001 * second * h_scale, 0)
        inner = _levels(inner, h_scale) * h_scale
    want = second * inner
    apart = np.abs(got - want)
    bad = apart > tie + ENGINE_LIMIT * np.abs(want)
    if not bad.any():
        return None
    return f"{int(bad.sum())} of {bad.size} values are not those of the table's scales, by up to {apart.max():.3g}"


def _next_version(version: str) -> str:
    major, minor, patch = version.split(".")[:3]
    return f"{major}.{minor}.{int(patch) + 1}"


def _foreign_cache(rt: Runtime, made: Calibrated, x: np.ndarray) -> str | None:
    """Return how a table of another version was accepted: neither refused nor calibrated again."""
    if made.table is None:
        return None  # HEADER says so
    wrong = {name: np.float32(4 * scale) for name, scale in made.table.scales.items()}
    foreign = replace(made.table, version=_next_version(made.table.version), header="", scales=wrong)
    try:
        again = calibrate(rt, [x], cache=foreign.to_bytes())
    except UnsupportedError:
        return None
    if not again.asked:
        return f"a cache that begins with {foreign.header!r} was used, and no batch was asked for"
    return None if _scales(again) == _scales(made) else "scales of another version's cache are in the table"


def _without_h(rt: Runtime, made: Calibrated, x: np.ndarray) -> Calibrated | None:
    """Return what comes of the table without the line of h; None where there is no such table, or it is not used."""
    if made.table is None or not {"x", "h"} <= made.table.scales.keys():
        return None  # TABLE says so
    kept = {name: scale for name, scale in made.table.scales.items() if name != "h"}
    part = calibrate(rt, [x], cache=replace(made.table, scales=kept).to_bytes())
    return None if part.asked else part  # CACHE says so


def _is_int8(rt: Runtime, engine: Any, name: str) -> bool:
    return any(
        name in layer.name and layer.inputs[:1] == ("int8",) for layer in engine_layers(rt.trt, engine)
    )


def _check_fallback(rt: Runtime, made: Calibrated, x: np.ndarray, wide: np.ndarray) -> Iterator[Checked]:
    """Yield how a tensor without a scale was not told of, or its reader was INT8, or the other product used other scales."""
    part = _without_h(rt, made, x)
    if part is None:
        return
    told = [f"{text}," for text in part.warnings if "scale" in text.lower()]
    named = {name for name in ("x", "h", "y") if any(f"tensor {name}," in text for text in told)}
    engine = load_engine(rt, part.plan)
    note = None
    if named != {"h"}:
        note = f"without a scale of h, the warnings name {', '.join(sorted(named)) or 'no tensor'}"
    elif _is_int8(rt, engine, "second"):
        note = "without a scale of h, the product that reads it is INT8"
    yield FALLBACK, note
    if note is None and _is_int8(rt, engine, "first"):
        yield ENGINE, _wrong_values(rt, engine, _scales(made)["x"], None, wide)


def check_calibration(rt: Runtime) -> Iterator[Checked]:
    """Yield whether tables hold the scales of the data, caches are used as they should be, and engines use the tables."""
    x = data()
    whole = calibrate(rt, [x])
    yield TABLE, _wrong_scales(_scales(whole), x)
    yield BATCHING, _wrong_batching(whole, calibrate(rt, [x[:2], x[2:]]), 2)
    yield RENEWED, _not_renewed(whole, calibrate(rt, [(4 * x).astype(np.float32)]), 4.0)
    again = calibrate(rt, [x], cache=whole.written)
    yield CACHE, f"{again.asked} batches were asked for in spite of a cache" if again.asked else None
    yield VERSION, _foreign_cache(rt, whole, x)
    # Twice the calibrated range and more: what lies outside is clipped.
    wide = (2.5 * x).astype(np.float32)
    yield from _check_fallback(rt, whole, x, wide)
    for algorithm in ALGORITHMS:
        made = whole if algorithm == "minmax" else calibrate(rt, [x], algorithm)
        yield HEADER, _wrong_header(rt, made, algorithm)
        yield ENGINE, _wrong_answer(rt, made, algorithm, wide)
        if algorithm != "minmax":
            yield ALGORITHM, _kept_outlier(calibrate(rt, [outlying()], algorithm), algorithm)
