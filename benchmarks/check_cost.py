"""What one conformance check costs, as a ratio to Polygraphy's comparison of two ONNX Runtime runners.

    pip install -e '.[bench]' && python benchmarks/check_cost.py [--rounds 12] [--precision fp32 fp16 int8]

Ours: `Workbench.check` of one model with one input on the emulator: rewrite, build, run, reference, limits, relations.
Theirs: `Comparator.run` with two `OnnxrtRunner`s on the same input and on the model that ours builds (the FP16 or Q/DQ
graph, which it gets ready made), and `compare_accuracy`; its log is silenced. Every model has fresh weights, so that no
cache of either side helps. Both are measured alternately in one process, and the ratio is taken model by model.

A chain costs ours a second engine, for the relation that one more output changes nothing; FP16 and INT8 cost it the rewrite,
and INT8 the measurement of ranges, which theirs is spared. All are reported. The limit is held against single operators, which
most drawn configurations are, in FP32, which is what two ONNX Runtime runners compare. Exit status 1: it is exceeded.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover

Feed = dict[str, NDArray[np.float32]]
Shape = tuple[int, ...]


def make_model(
    op: str,
    x: Shape,
    y: Shape,
    weights: dict[str, Shape],
    rng: np.random.Generator,
    chain: bool,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a model of one node `y = op(x, weights...)` with normal weights; `chain` puts a Relu behind it."""
    tensors = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    nodes = [helper.make_node(op, ["x", *weights], ["t" if chain else "y"], **attributes)]
    if chain:
        nodes.append(helper.make_node("Relu", ["t"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def draw_models(rng: np.random.Generator) -> Iterator[tuple[str, onnx.ModelProto, Feed]]:
    """Yield small models of the kinds that the suites draw, each with one input."""
    shapes: list[tuple[str, str, Shape, Shape, dict[str, Shape], dict[str, Any]]] = [
        (
            "conv 3x3",
            "Conv",
            (2, 8, 12, 12),
            (2, 16, 12, 12),
            {"w": (16, 8, 3, 3), "b": (16,)},
            {"pads": [1] * 4},
        ),
        ("conv strided", "Conv", (1, 3, 16, 16), (1, 8, 7, 7), {"w": (8, 3, 3, 3)}, {"strides": [2, 2]}),
        ("conv depthwise", "Conv", (2, 16, 8, 8), (2, 16, 6, 6), {"w": (16, 1, 3, 3)}, {"group": 16}),
        ("conv 1-d", "Conv", (2, 7, 33), (2, 9, 31), {"w": (9, 7, 3), "b": (9,)}, {}),
        ("gemm", "Gemm", (8, 64), (8, 32), {"w": (64, 32), "b": (32,)}, {}),
        ("matmul", "MatMul", (4, 16, 32), (4, 16, 24), {"w": (32, 24)}, {}),
    ]
    for name, op, x, y, weights, attributes in shapes:
        feed = {"x": rng.uniform(-1, 1, x).astype(np.float32)}
        yield name, make_model(op, x, y, weights, rng, False, **attributes), feed
        yield f"{name} + relu", make_model(op, x, y, weights, rng, True, **attributes), feed


def time_ours(workbench: Workbench, model: onnx.ModelProto, feed: Feed, precision: str) -> float:
    """Return the seconds of one conformance check; it raises where the verdict is not a pass."""
    start = time.perf_counter()
    workbench.check(model, feed, precision=precision)
    return time.perf_counter() - start


def time_theirs(model: onnx.ModelProto, feed: Feed) -> float:
    """Return the seconds of Polygraphy's run and comparison."""
    from polygraphy.backend.onnxrt import OnnxrtRunner, SessionFromOnnx
    from polygraphy.comparator import Comparator

    start = time.perf_counter()
    data = model.SerializeToString()
    runners = [OnnxrtRunner(SessionFromOnnx(data), name=name) for name in ("first", "second")]
    results = Comparator.run(runners, data_loader=[feed])
    same = bool(Comparator.compare_accuracy(results))
    seconds = time.perf_counter() - start
    assert same
    return seconds


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--limit", type=float, default=0.5)
    parser.add_argument("--precision", nargs="+", default=["fp32", "fp16", "int8"])
    given = parser.parse_args()
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    ratios: dict[tuple[str, str], list[float]] = {}
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(runtime="emulator", gpu="t4", cache_dir=folder)
        workbench = Workbench(settings, discover(settings))
        rng = np.random.default_rng(0)
        for index in range(given.rounds + 1):
            for precision in given.precision:
                for name, model, feed in draw_models(rng):
                    ranges = measure_ranges(model, [feed]) if precision == "int8" else None
                    built = prepare(model, precision, strong=True, ranges=ranges).model
                    if index % 2:
                        ours, theirs = time_ours(workbench, model, feed, precision), time_theirs(built, feed)
                    else:
                        theirs, ours = time_theirs(built, feed), time_ours(workbench, model, feed, precision)
                    if index:  # the first round imports and warms up
                        ratios.setdefault((precision, name), []).append(ours / theirs)
                        times.setdefault((precision, name), []).append((ours, theirs))
        workbench.close()
    print(f"{'precision':<10} {'model':<16} {'ours ms':>8} {'theirs ms':>10} {'ratio':>6}")
    for (precision, name), values in ratios.items():
        ours, theirs = (
            1000 * statistics.median(column) for column in zip(*times[precision, name], strict=True)
        )
        print(f"{precision:<10} {name:<16} {ours:8.2f} {theirs:10.2f} {statistics.median(values):6.2f}")
    for precision in given.precision:
        print(
            f"{precision}: {describe(ratios, precision, chain=False)}, {describe(ratios, precision, chain=True)}"
        )
    held = given.precision[0]
    single = [v for (p, name), values in ratios.items() if p == held and "relu" not in name for v in values]
    median = statistics.median(single)
    print(f"median ratio {median:.2f} of {len(single)} {held} checks of one operator, limit {given.limit:g}")
    return int(median > given.limit)


def describe(ratios: dict[tuple[str, str], list[float]], precision: str, *, chain: bool) -> str:
    """Return the median ratio of one precision in words."""
    chosen = [
        v
        for (p, name), values in ratios.items()
        if p == precision and ("relu" in name) == chain
        for v in values
    ]
    return f"{'operator with ReLU' if chain else 'one operator'} {statistics.median(chosen):.2f}"


if __name__ == "__main__":
    sys.exit(main())
