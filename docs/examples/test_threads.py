"""Many contexts of one engine, each in a thread of its own: every answer of every run is checked."""

from contextlib import ExitStack

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.check.crosstalk import answer_alone, deal, hammer
from pytest_trt.runtime.session import Session

RNG = np.random.default_rng(0)
MODEL = helper.make_model(
    helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4, 6, 6])],
        [numpy_helper.from_array(RNG.integers(-2, 3, (4, 4, 3, 3)).astype(np.float32), "w")],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=8,
)
FEEDS = [{"x": RNG.integers(-4, 5, (2, 4, 8, 8)).astype(np.float32)} for _ in range(16)]


def test_my_engine_in_threads(trt_runtime, trt_session):
    """Eight contexts of one engine, 2,000 runs."""
    with trt_session(MODEL) as lone, ExitStack() as held:
        bases = answer_alone(trt_runtime, lone.engine, FEEDS)  # two for each thread: arrays by input name
        sessions = [held.enter_context(Session(trt_runtime, lone.engine)) for _ in range(8)]
        found = hammer(sessions, deal(bases, 8), runs=2_000)
    assert found.wrong == 0, str(found)
