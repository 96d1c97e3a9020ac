"""How often a fault in one random layer of a deep network is seen: layer by layer, end to end, and by the usual tolerances.

    pip install -e . && python benchmarks/layer_detection.py [--nets 40] [--depth 16] [--channels 8] [--seed 0]

Each network has `--depth` convolutions with ReLUs, every second with a residual, and a classifier; FP16 storage and FP32
accumulation, on the emulator. In each network every fault of the table is planted in turn, in the same one random layer. `per
layer` judges each layer on the engine's own inputs of that layer (marked outputs). `12 sigma` judges the logits by the
variance model. The others compare the logits with ONNX Runtime's on the typed graph: `np.allclose` with 1e-3 and with 1e-2 as
both tolerances, cosine 0.999, the same top-1 for every item. A fault that changes no bit of any layer (a dead channel dropped)
does not count.

Exit status 1: a fault is seen per layer in fewer networks than `--limit`, or an honest network is refused per layer or end to
end.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.layers import choose_marks, judge_layers
from pytest_trt.check.operators import with_limit
from pytest_trt.check.reference import OnnxRuntime
from pytest_trt.check.subject import Subject
from pytest_trt.check.variance import end_to_end
from pytest_trt.check.workbench import Workbench
from pytest_trt.numerics.judge import measure
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover

Values = NDArray[Any]
Change = Callable[[Values, Any, "Plan"], Values]
SIZE, BATCH, CLASSES = 12, 2, 10
RUNGS = ("direct", "unfused")


@dataclass(frozen=True)
class Plan:
    """Where the fault is: a node, an output channel and a place."""

    node: str
    channel: int
    row: int
    column: int


def drop_last_input_channel(exact: Values, site: Any, plan: Plan) -> Values:
    """Leave the last input channel out of the sum."""
    x, w = (array.astype(np.float64) for array in list(site.inputs.values())[:2])
    padded = np.pad(x[:, -1], [(0, 0), (1, 1), (1, 1)])
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.asarray(exact - np.einsum("nhwij,mij->nmhw", view, w[:, -1]))


def shift_bias(exact: Values, site: Any, plan: Plan) -> Values:
    """Give each channel the bias of its neighbour."""
    bias = list(site.inputs.values())[2].astype(np.float64)
    return np.asarray(exact + (np.roll(bias, 1) - bias)[:, None, None])


def zero_tile(exact: Values, site: Any, plan: Plan) -> Values:
    """Leave a 4 x 4 tile at zero, in all channels of the first item."""
    made: Values = exact.copy()
    made[0, :, plan.row : plan.row + 4, plan.column : plan.column + 4] = 0
    return made


def scale_channel(factor: float) -> Change:
    """Return a change that scales one output channel."""

    def change(exact: Values, site: Any, plan: Plan) -> Values:
        made: Values = exact.copy()
        made[:, plan.channel] *= factor
        return made

    return change


def scale_element(exact: Values, site: Any, plan: Plan) -> Values:
    """Scale one element by 1.05: one that the ReLU lets through, and not so small that it drowns in the residual."""
    made: Values = exact.copy()
    places = np.flatnonzero(exact > 0.25 * exact.max())
    made.flat[places[(plan.row * SIZE + plan.column) * len(places) // SIZE**2]] *= 1.05
    return made


def truncate(exact: Values, site: Any, plan: Plan) -> Values:
    """Cut to FP16 instead of rounding."""
    near = exact.astype(np.float16)
    return np.where(np.abs(near.astype(np.float64)) > np.abs(exact), np.nextafter(near, np.float16(0)), near)


def through_bf16(exact: Values, site: Any, plan: Plan) -> Values:
    """Round to bfloat16 on the way."""
    bits = exact.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.asarray(rounded.astype(np.uint32).view(np.float32))


FAULTS: dict[str, Change] = {
    "last input channel dropped": drop_last_input_channel,
    "bias shifted": shift_bias,
    "4x4 tile zero": zero_tile,
    "one channel x1.01": scale_channel(1.01),
    "one channel x1.001": scale_channel(1.001),
    "one element x1.05": scale_element,
    "truncating store": truncate,
    "bf16 store": through_bf16,
}
HONEST = "none (false alarms)"
ORACLES = ("per layer", "12 sigma", "1e-3", "1e-2", "cosine", "top-1")


class Planted(ModuleType):
    """A module whose `fault` changes one node; the emulator imports faults by module and name."""

    def __init__(self) -> None:
        super().__init__("layer_detection_fault")
        self.change: Change | None = None
        self.plan = Plan("", 0, 0, 0)

    def fault(self, site: Any) -> None:
        """Change the output of the planned node."""
        if self.change is None or site.kind != "node" or site.node_name != self.plan.node:
            return
        name, stored = next(iter(site.outputs.items()))
        made = self.change(site.exact[name].astype(np.float64), site, self.plan)
        site.outputs[name] = made.astype(stored.dtype)


def make_network(depth: int, channels: int, rng: np.random.Generator) -> onnx.ModelProto:
    """Return a residual network of `depth` convolutions on (N, 3, SIZE, SIZE)."""
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def constant(name: str, values: Values) -> str:
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    before, skip, width = "x", "", 3
    for index in range(depth):
        w = rng.standard_normal((channels, width, 3, 3)) * np.sqrt(2 / (9 * width))
        given = [before, constant(f"w{index}", w), constant(f"b{index}", rng.standard_normal(channels) / 10)]
        nodes.append(helper.make_node("Conv", given, [f"c{index}"], name=f"conv{index}", pads=[1] * 4))
        last = f"c{index}"
        if index % 2 == 0 and skip:
            nodes.append(helper.make_node("Add", [last, skip], [f"a{index}"], name=f"add{index}"))
            last = f"a{index}"
        nodes.append(helper.make_node("Relu", [last], [f"r{index}"], name=f"relu{index}"))
        before, width = f"r{index}", channels
        skip = before if index % 2 == 0 else skip
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"))
    head = [
        constant("wh", rng.standard_normal((channels, CLASSES))),
        constant("bh", rng.standard_normal(CLASSES)),
    ]
    nodes.append(helper.make_node("Gemm", ["flat", *head], ["y"], name="head"))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [BATCH, CLASSES])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def judge(
    subject: Subject, inner: dict[str, Values], feeds: dict[str, Values], want: Values, likely: Any
) -> set[str]:
    """Return the oracles that refuse one network, whose marked engine gave `inner`."""
    logits = subject.run(feeds)["y"]
    report = judge_layers(subject.graph, feeds, inner, subject.contract, RUNGS, statistics=True)
    seen = {"per layer"} if report.bad else set()
    if measure(logits, likely).bad:
        seen.add("12 sigma")
    got = logits.astype(np.float64)
    seen |= {name for name in ("1e-3", "1e-2") if not np.allclose(got, want, float(name), float(name))}
    if (got.ravel() @ want.ravel()) / (np.linalg.norm(got) * np.linalg.norm(want)) < 0.999:
        seen.add("cosine")
    if (got.argmax(axis=1) != want.argmax(axis=1)).any():
        seen.add("top-1")
    return seen


def run_networks(given: argparse.Namespace, planted: Planted) -> Iterator[tuple[str, set[str]]]:
    """Yield each fault with the oracles that saw it, network by network."""
    settings = Settings(runtime="emulator", gpu="t4", faults=(f"{planted.__name__}:fault",))
    workbench = Workbench(settings, discover(settings))
    for number in range(given.nets):
        rng = np.random.default_rng([given.seed, number])
        model = make_network(given.depth, given.channels, rng)
        feeds = {"x": rng.uniform(-1, 1, (BATCH, 3, SIZE, SIZE)).astype(np.float32)}
        place = rng.integers(SIZE - 3, size=2)
        # The first layer has three input channels only: any other is as deep as the rest.
        node = f"conv{rng.integers(1, given.depth)}"
        planted.plan = Plan(node, int(rng.integers(given.channels)), int(place[0]), int(place[1]))
        with workbench.subject(model, "fp16") as subject:
            graph = subject.graph
            want = OnnxRuntime(graph).run(feeds)["y"].astype(np.float64)
            likely = end_to_end(graph, feeds, subject.contract)
            assert likely is not None
            with subject.with_outputs(choose_marks(graph)) as marked:
                honest: dict[str, Values] = {}
                for name, change in ((HONEST, None), *FAULTS.items()):
                    planted.change = change
                    inner = marked.run(feeds)
                    if honest and all(np.array_equal(inner[key], honest[key]) for key in honest):
                        continue
                    honest = honest or inner
                    yield name, judge(subject, inner, feeds, want, likely["y"])
    workbench.close()


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--nets", type=int, default=40)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=0.97)
    given = parser.parse_args()
    assert {"Conv", "Gemm", "GlobalAveragePool"} <= with_limit()
    planted = Planted()
    sys.modules[planted.__name__] = planted
    counts: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    for name, seen in run_networks(given, planted):
        totals[name] += 1
        counts.update((name, oracle) for oracle in seen)
    print(
        f"{given.nets} networks of {given.depth} convolutions, FP16, seed {given.seed}; share of networks refused"
    )
    print(f"{'fault in one layer':<28}" + "".join(f"{title:>11}" for title in ("networks", *ORACLES)))
    failed = False
    for name in (HONEST, *FAULTS):
        shares = [counts[name, oracle] / max(1, totals[name]) for oracle in ORACLES]
        print(f"{name:<28}{totals[name]:>11}" + "".join(f"{share:>11.2f}" for share in shares))
        failed |= any(shares[:2]) if name == HONEST else shares[0] < given.limit
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
