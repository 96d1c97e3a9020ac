import onnx
import onnx.parser
import pytest


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


def test_conforms(trt_check, model):
    """Once per precision: built, run, each output element judged, rows and batches compared."""
    trt_check(model, profile={"x": ((1, 1, 8, 8), (4, 1, 8, 8), (8, 1, 8, 8))})
