"""Bugs of quantised skip connections."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto

from pytest_trt.cases.triggers.nets import levels, net, node, quantised
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.admissible import Admissible
from pytest_trt.numerics.formats import Array


class _Block:
    """A residual block with Q/DQ on both addends, as a post-training quantiser writes ResNet, and a classifier behind it."""

    channels, classes, size = 8, 10, 8

    def __init__(self, *, dyadic: bool) -> None:
        """Make one; with `dyadic` scales all are powers of two, nothing rounds but to levels, and every class is decided."""
        self.dyadic = dyadic
        self.rng = np.random.default_rng(0)
        self.constants: dict[str, Any] = {}
        self.nodes: list[NodeProto] = []

    def pair(self, tensor: str, reach: float) -> str:
        self.nodes += quantised(tensor, float(self._scales(reach / 127)), self.constants)
        return f"{tensor}_dq"

    def _scales(self, values: Any) -> Any:
        return 2.0 ** np.rint(np.log2(values)) if self.dyadic else values

    def conv(self, data: str, out: str, inner: int) -> None:
        shape = (self.channels, inner, 3, 3)
        scale = self._scales(self.rng.uniform(0.5, 1.5, self.channels) / 127 / np.sqrt(inner * 9))
        bias = self.rng.integers(-16, 17, self.channels) / 64
        self.constants |= {
            f"{out}_w": levels(shape, len(self.nodes)),
            f"{out}_scale_w": scale.astype(np.float32),
            f"{out}_zero_w": np.zeros(self.channels, np.int8),
            f"{out}_b": bias.astype(np.float32),
        }
        self.nodes.append(
            node("DequantizeLinear", f"{out}_w {out}_scale_w {out}_zero_w", f"{out}_w_dq", axis=0)
        )
        self.nodes.append(node("Conv", f"{data} {out}_w_dq {out}_b", out, kernel_shape=[3, 3], pads=[1] * 4))

    def model(self) -> ModelProto:
        self.conv(self.pair("x", 3.0), "c1", 3)
        self.nodes.append(node("Relu", "c1", "r1"))
        first = self.pair("r1", 3.0)
        self.conv(first, "c2", self.channels)
        self.nodes.append(node("Relu", "c2", "r2"))
        self.conv(self.pair("r2", 2.5), "c3", self.channels)
        # The skip has a pair of its own: another scale than that of the branch.
        self.nodes.append(node("Identity", "r1", "skip"))
        self.nodes.append(node("Add", f"{self.pair('c3', 2.2)} {self.pair('skip', 2.7)}", "sum"))
        self.nodes.append(node("Relu", "sum", "r3"))
        half = self.size // 2
        quarters = node(
            "AveragePool", self.pair("r3", 4.0), "means", kernel_shape=[half] * 2, strides=[half] * 2
        )
        self.nodes += [quarters, node("Flatten", "means", "flat")]
        # What weighs on one quarter of the image weighs against another: no class leads on all images.
        drawn = levels((self.channels, 2, self.classes), 99)
        self.constants |= {
            "w": np.concatenate([drawn, -drawn], axis=1).reshape(4 * self.channels, self.classes),
            "w_scale": np.float32(self._scales(1 / 127)),
            "w_zero": np.int8(0),
        }
        self.nodes.append(node("DequantizeLinear", "w w_scale w_zero", "w_dq"))
        self.nodes.append(node("MatMul", f"{self.pair('flat', 2.0)} w_dq", "y"))
        shape = ["N", 3, self.size, self.size]
        return net(self.nodes, {"x": shape}, {"y": ["N", self.classes]}, self.constants)

    def images(self, count: int, seed: int) -> Array:
        """Return images whose quarters differ in brightness, with noise."""
        rng = np.random.default_rng(seed)
        half = self.size // 2
        bright = rng.standard_normal((count, 3, 2, 2)).repeat(half, axis=2).repeat(half, axis=3)
        return np.asarray((bright + rng.standard_normal(bright.shape) / 2).astype(np.float32))


@trigger("B33", precisions="int8", fidelity=STAND_IN, faults="residual_added_in_wrong_scale")
def quantised_skip_is_added_in_its_own_scale(trial: Trial) -> None:
    """A residual block whose skip has a scale of its own gives what fake quantisation gives."""
    block = _Block(dyadic=False)
    trial.check(block.model(), {"x": block.images(4, 1)})


@trigger("B33", precisions="int8", fidelity=STAND_IN, faults="residual_added_in_wrong_scale")
def classes_are_those_of_fake_quantisation(trial: Trial) -> None:
    """Of many images, each gets the class that fake quantisation gives it, wherever its score leads by more than roundings."""
    count = 128
    block = _Block(dyadic=True)
    x = block.images(count, 2)
    item = x.shape[1:]
    profile = {"x": ((1, *item), (count, *item), (count, *item))}
    with trial.subject(block.model(), profile) as subject:
        scores = subject.run({"x": x})["y"]
        limits = Admissible(subject.graph, {"x": x}, subject.contract, ("direct",)).on("direct")
    bound = limits.tensors["y"]
    want = bound.mid.argmax(axis=1)
    others = np.where(np.arange(block.classes) == want[:, None], -np.inf, bound.high).max(axis=1)
    decided = bound.low[np.arange(count), want] > others
    wrong = int((decided & (scores.argmax(axis=1) != want)).sum())
    note = f"{wrong} of {int(decided.sum())} classes are not those of fake quantisation" if wrong else None
    if decided.sum() < count / 2:
        note = f"{int(decided.sum())} of {count} classes are decided: the check proves nothing"
    trial.demand([("end-to-end", note)])
