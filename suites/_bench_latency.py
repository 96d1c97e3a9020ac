"""Two networks whose latency is measured, and what has to hold of the times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.bench.measure import Measurement
from pytest_trt.bench.profile import Profile
from pytest_trt.bench.timer import CUDA_EVENTS
from pytest_trt.runtime.session import Session

from ._named import Checked
from ._times import check_layer_sum

CLOCK = "clock-uncontradicted"
DEEP_LAYERS = 16
CHANNELS, SIZE = 16, 28
PROFILE = {"x": ((1, CHANNELS, SIZE, SIZE),) * 3}


def networks() -> dict[str, ModelProto]:
    """Return the networks by name: one convolution, and sixteen with a ReLU behind each."""
    return {"simple": _convolutions(1), "deep": _convolutions(DEEP_LAYERS)}


def _convolutions(count: int) -> ModelProto:
    rng = np.random.default_rng(0)
    deviation = np.sqrt(2 / (9 * CHANNELS))  # keeps the scale of the values (He et al. 2015, section 2.2)
    nodes, tensors, last = [], [], "x"
    for number in range(count):
        weights = deviation * rng.standard_normal((CHANNELS, CHANNELS, 3, 3))
        tensors.append(numpy_helper.from_array(weights.astype(np.float32), f"w{number}"))
        nodes.append(
            helper.make_node(
                "Conv", [last, f"w{number}"], [f"c{number}"], name=f"conv{number}", pads=[1, 1, 1, 1]
            )
        )
        last = "y" if number == count - 1 else f"r{number}"
        nodes.append(helper.make_node("Relu", [f"c{number}"], [last], name=f"relu{number}"))
    shape = [1, CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "latency",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def start(session: Session) -> None:
    """Run a session once with data of a fixed seed."""
    session.run({"x": np.random.default_rng(1).standard_normal(PROFILE["x"][0]).astype(np.float32)})


def check_latency(found: Measurement, profile: Profile) -> Iterator[Checked]:
    """Yield what holds of the time of one run: nothing contradicts its clock; where it is computed, it is that of the layers."""
    yield CLOCK, "; ".join(found.contradictions) or None
    if found.clock != CUDA_EVENTS:
        yield from check_layer_sum(profile)
