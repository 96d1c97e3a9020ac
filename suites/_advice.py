"""Advice on optimising: given where the FAQ gives it, harmless where it is followed, and true of what a real TensorRT builds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import PrecisionError, UnsupportedError
from pytest_trt.lint import lint
from pytest_trt.lint.rewrite import mend
from pytest_trt.runtime.load import Runtime

from ._named import Checked

GIVEN = "advice-given"
SILENT = "advice-where-nothing-is-wrong"
HARMLESS = "advice-harmless"
FUSES = "advice-saves-a-layer"
DUMMY = "dummy-range-marked"

SLOPE = 0.25  # a power of two: nothing rounds


def network(activation: str, channels: int) -> ModelProto:
    """Return two convolutions of small integers with an activation between: `PRelu` with equal slopes, or `LeakyRelu`."""
    rng = np.random.default_rng(channels)
    weights = {
        "w0": rng.integers(-3, 4, (channels, 8, 3, 3)).astype(np.float32),
        "w1": rng.integers(-3, 4, (channels, channels, 3, 3)).astype(np.float32),
    }
    if activation == "PRelu":
        weights["slopes"] = np.full((channels, 1, 1), SLOPE, np.float32)
        between = helper.make_node("PRelu", ["a", "slopes"], ["b"], name="activation")
    else:
        between = helper.make_node("LeakyRelu", ["a"], ["b"], name="activation", alpha=SLOPE)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1] * 4),
            between,
            helper.make_node("Conv", ["b", "w1"], ["y"], name="second", pads=[1] * 4),
        ],
        "advised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 6, 6])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def check_advice(bench: Workbench) -> Iterator[Checked]:
    """Yield whether the FAQ's advice is given, is not given elsewhere, and leaves the answers as they are."""
    rt = bench.executor
    flawed, sound = network("PRelu", 60), network("LeakyRelu", 64)
    asked = tuple(p for p in ("fp16", "int8") if p in rt.gpu.precisions) or ("fp32",)
    rules = {one.rule for one in lint(flawed, gpu=rt.gpu, precisions=asked)}
    wanted = {"prelu-uniform"} | (
        {"channels-off-multiple"} if asked != ("fp32",) and rt.gpu.sm >= 70 else set()
    )
    lacking = sorted(wanted - rules)
    yield (
        GIVEN,
        f"no word about {', '.join(lacking)} in a network with PReLU and 60 channels" if lacking else None,
    )
    told = [one for one in lint(sound, gpu=rt.gpu, precisions=asked) if one.rule in wanted]
    yield SILENT, f"a network without flaws is told: {told[0].what}" if told else None
    feed = {"x": np.random.default_rng(1).integers(-4, 5, (1, 8, 6, 6)).astype(np.float32)}
    with bench.session(flawed, "fp32") as one, bench.session(mend(flawed).model, "fp32") as other:
        before, after = one.run(feed)["y"], other.run(feed)["y"]
    wrong = int(np.count_nonzero(before != after))
    yield HARMLESS, f"{wrong} of {before.size} values changed when PReLU became LeakyReLU" if wrong else None


def check_dummy(bench: Workbench) -> Iterator[Checked]:
    """Yield whether an INT8 engine with dummy ranges, which is good for timing alone, can be mistaken for one that computes."""
    with bench.subject(network("LeakyRelu", 64), "int8", dummy_range=8.0) as subject:
        marked = not subject.plan.accurate
        try:
            subject.prepared.demand_accurate()
            judged = True
        except PrecisionError:
            judged = False
    yield DUMMY, None if marked else "the plan of dummy ranges says that it is accurate"
    yield DUMMY, "an engine of dummy ranges may be judged" if judged else None


def check_builds(bench: Workbench, rt: Runtime) -> Iterator[Checked]:
    """Yield whether a real builder makes a layer more of PReLU than of LeakyReLU, in FP16; nothing where it refuses FP16."""
    counts = {}
    for activation in ("PRelu", "LeakyRelu"):
        try:
            with bench.subject(network(activation, 64), "fp16", rt=rt) as subject:
                counts[activation] = len(subject.plan.layers)
        except UnsupportedError:
            return
    more = counts["PRelu"] - counts["LeakyRelu"]
    words = (
        f"PReLU takes {counts['PRelu']} layers and LeakyReLU {counts['LeakyRelu']}: an exchange gains nothing"
    )
    yield FUSES, None if more > 0 else words
