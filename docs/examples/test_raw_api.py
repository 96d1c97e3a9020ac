import numpy as np
import onnx
import onnx.parser
import pytest


def make_model() -> (
    onnx.ModelProto
):  # the marker takes a path, bytes, a ModelProto, or a function that gives one
    return onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[N, 4] x) => (float[N, 2] y)
        <float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
        {
            y = MatMul (x, w)
        }
        """
    )


PROFILE = {"x": ((1, 4), (8, 4), (32, 4))}


@pytest.mark.trt_model(make_model, profile=PROFILE)
def test_shapes_follow_the_batch(engine, context):
    """Raw ICudaEngine and IExecutionContext, once per precision."""
    assert engine.get_tensor_profile_shape("x", 0)[2] == (32, 4)
    assert context.set_input_shape("x", (5, 4))
    assert tuple(context.get_tensor_shape("y")) == (5, 2)


@pytest.mark.trt_precision("fp32", "fp16")
def test_sums_of_columns(trt_session):
    """A session has buffers and a stream of its own, and checks every return code."""
    with trt_session(make_model(), profile=PROFILE) as session:
        got = session.run({"x": np.ones((3, 4), dtype=np.float32)})
    assert got["y"].tolist() == [[16.0, 20.0]] * 3
