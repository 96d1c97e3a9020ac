"""What the tests on a real GPU share: the emulator on `cuda:0`, and the words of a skip where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pytest_trt.errors import RuntimeMissingError
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, build_plan, discover

from ..unit.emulator.models import make

CHANNELS, SIZE = 8, 16
SHAPE = (CHANNELS, SIZE, SIZE)
PROFILE = ((1, *SHAPE), (2, *SHAPE), (8, *SHAPE))


def network(seed=0):
    """Two convolutions with a ReLU, of small whole numbers: float32 sums them exactly in any order."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.integers(-1, 2, (CHANNELS, CHANNELS, 3, 3)).astype("f4") for name in "vw"}
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["c"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w"], ["y"], name="second", pads=[1] * 4),
    ]
    return make(nodes, {"x": ["N", *SHAPE]}, {"y": ["N", *SHAPE]}, weights)


def frames(batch, seed):
    """Return inputs of small whole numbers."""
    return np.random.default_rng(seed).integers(-2, 3, (batch, *SHAPE)).astype("f4")


@pytest.fixture(scope="session")
def rt():
    """The emulator on the first GPU."""
    try:
        found = discover(Settings(runtime="emulator", device="cuda:0")).executor
    except RuntimeMissingError as error:
        pytest.skip(f"needs a GPU with PyCUDA and ONNX Runtime's CUDA provider: {error.what}")
    yield found
    found.memory.close()


@pytest.fixture(scope="session")
def cpu(rt):
    """The emulator on the CPU, of the same GPU class."""
    found = discover(Settings(runtime="emulator", device="cpu", gpu=rt.gpu.name)).executor
    yield found
    found.memory.close()


@pytest.fixture(scope="session")
def plan(rt):
    """The network, built."""
    return build_plan(rt, BuildRequest(network().SerializeToString(), profile={"x": PROFILE}))
