"""What judging one FP16 output costs, as a ratio to np.allclose on the same output.

    python benchmarks/verdict_cost.py [--rounds 7]

Three convolutions of a residual network, batch 2, FP16 in and out, one core. `check`: the limits are known from an earlier
run on the same inputs (a second run, or another engine). `first`: the limits are worked out as well: the sum, the sum of
moduli, the sum of squares; beside it the FP32 reference (ONNX Runtime) and np.allclose. np.allclose compares FP32 arrays of
the same size, which is its fastest case. Both sides are timed alternately. Exit status 1: the median of the three layers
exceeds 4 (`check`) or 5 (`first`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.numerics.bounds import Contract
from pytest_trt.precision import prepare

LAYERS = ((64, 64, 3, 56), (256, 256, 1, 28), (128, 128, 3, 28))
CHECK_LIMIT, FIRST_LIMIT = 4.0, 5.0


def make_model(inputs: int, outputs: int, side: int, size: int, rng: np.random.Generator) -> onnx.ModelProto:
    """Return one FP32 convolution with normal weights, FP16 numbers."""
    weight = rng.standard_normal((outputs, inputs, side, side)) / np.sqrt(inputs * side * side)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], pads=[side // 2] * 4)],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, inputs, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, outputs, size, size])],
        [numpy_helper.from_array(weight.astype(np.float16).astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def timed(call: Callable[[], object]) -> float:
    """Return the processor seconds of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(layer: tuple[int, int, int, int], rounds: int) -> dict[str, float]:
    """Return nanoseconds an output element, medians, by what was timed."""
    rng = np.random.default_rng(layer[0])
    model = make_model(*layer, rng)
    plain = OnnxRuntime(Graph(model))
    typed = Graph(prepare(model, "fp16", strong=True).matched)
    contract = Contract(sm=75, statistics=True)
    taken: dict[str, list[float]] = {}
    for index in range(rounds + 1):
        x = rng.uniform(-1, 1, (2, layer[0], layer[3], layer[3])).astype(np.float16).astype(np.float32)
        feeds = {"x": x}
        want = plain.run(feeds)["y"]
        got = want.astype(np.float16)
        wide = got.astype(np.float32)
        known = Admissible(typed, feeds, contract, ("direct",))

        def judge(known: Admissible = known, got: NDArray[np.float16] = got) -> None:
            judged = known.judge("y", got, statistics=True)
            assert judged.status == "conforms", judged

        times = {
            "reference": timed(partial(plain.run, feeds)),
            "first": timed(judge),
            "allclose": timed(partial(np.allclose, wide, want, 1e-3, 1e-5)),
            "check": timed(judge),
        }
        if index:  # the first round makes sessions and warms up
            for name, seconds in times.items():
                taken.setdefault(name, []).append(1e9 * seconds / want.size)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    print("ns an output element      reference  allclose     check     first  | check/allclose  first/both")
    checks, firsts = [], []
    for layer in LAYERS:
        took = measure(layer, given.rounds)
        check, first = (
            took["check"] / took["allclose"],
            took["first"] / (took["reference"] + took["allclose"]),
        )
        checks.append(check)
        firsts.append(first)
        name = f"{layer[0]}->{layer[1]} k{layer[2]}, {layer[3]}x{layer[3]}"
        print(
            f"{name:<24} {took['reference']:10.2f} {took['allclose']:9.2f} {took['check']:9.2f} {took['first']:9.2f}"
            f"  | {check:14.2f} {first:11.2f}"
        )
    check, first = statistics.median(checks), statistics.median(firsts)
    print(f"median: check {check:.2f} x np.allclose (limit {CHECK_LIMIT:g}), ", end="")
    print(f"first {first:.2f} x reference and np.allclose (limit {FIRST_LIMIT:g})")
    return int(check > CHECK_LIMIT or first > FIRST_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
