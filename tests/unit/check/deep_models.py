"""A residual network that is deep enough to be judged layer by layer."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from tests.unit.check.models import make_model

SHAPE = (4, 3, 8, 8)
PROFILE = {"x": ((1, *SHAPE[1:]), SHAPE, (8, *SHAPE[1:]))}


def deep_model(depth: int = 6, channels: int = 12, seed: int = 0) -> onnx.ModelProto:
    """Return convolutions `conv0` ... with ReLUs, every second with a residual, and a classifier with output `y`."""
    rng = np.random.default_rng(seed)
    nodes, constants = [], {}
    before, skip, width = "x", "", 3
    for index in range(depth):
        w = rng.standard_normal((channels, width, 3, 3)) * np.sqrt(2 / (9 * width))
        constants |= {f"w{index}": w, f"b{index}": rng.standard_normal(channels) / 10}
        given = [before, f"w{index}", f"b{index}"]
        nodes.append(helper.make_node("Conv", given, [f"c{index}"], name=f"conv{index}", pads=[1] * 4))
        last = f"c{index}"
        if index % 2 == 0 and skip:
            nodes.append(helper.make_node("Add", [last, skip], [f"a{index}"], name=f"add{index}"))
            last = f"a{index}"
        nodes.append(helper.make_node("Relu", [last], [f"r{index}"], name=f"relu{index}"))
        before, width = f"r{index}", channels
        skip = before if index % 2 == 0 else skip
    constants |= {"wh": rng.standard_normal((channels, 10)), "bh": rng.standard_normal(10)}
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"], name="pool"))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"))
    nodes.append(helper.make_node("Gemm", ["flat", "wh", "bh"], ["y"], name="head"))
    stored = {name: values.astype(np.float32) for name, values in constants.items()}
    model = make_model(nodes, ("N", *SHAPE[1:]), stored)
    del model.graph.output[0].type.tensor_type.shape.dim[2:]
    return model
