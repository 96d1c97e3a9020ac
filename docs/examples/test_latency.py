import numpy as np
import onnx
import onnx.parser
import pytest

PROFILE = {"x": ((1, 1, 8, 8), (1, 1, 8, 8), (8, 1, 8, 8))}


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:  # here: one layer; yours: "model.onnx"
    return onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 1, 8, 8] x) => (float[N, 1, 8, 8] y)
        <float[1, 1, 3, 3] w = {1, 0, -1, 2, 0, -2, 1, 0, -1}>
        {
            c = Conv <pads = [1, 1, 1, 1]> (x, w)
            y = Relu (c)
        }
        """
    )


def test_latency(trt_session, trt_timer, trt_profile, model):
    """Once per precision: device time of one run, and where it goes."""
    session = trt_session(model, profile=PROFILE)
    session.run({"x": np.ones((1, 1, 8, 8), np.float32)})  # these inputs, shapes and buffers are timed
    found = trt_timer(session, batch=1)
    assert not found.reliable or found.median_seconds < 0.004
    trt_profile(session, whole=found)
