from pathlib import Path

import numpy as np
import onnx
import onnx.parser

from pytest_trt.precision.identity import DigestedBatches, check_identity, identify, write_identity
from pytest_trt.precision.tables import CalibrationTable, tensors_read_in_int8
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.calibration import make_calibrator

MODEL = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 17]>
    net (float[8, 4] x) => (float[8, 4] y) <float[4, 4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}>
    { h = MatMul(x, w)  r = Relu(h)  y = MatMul(r, w) }"""
)
REQUEST = BuildRequest(MODEL.SerializeToString(), strongly_typed=False, flags=frozenset({"INT8"}))


def load_batches():
    rng = np.random.default_rng(0)
    for _ in range(16):
        yield {"x": rng.standard_normal((8, 4)).astype(np.float32)}


def test_calibrate_and_use_the_table_again(trt_runtime, tmp_path: Path):
    path = tmp_path / "net.cache"

    batches = DigestedBatches(load_batches())
    with make_calibrator(trt_runtime, batches, algorithm="entropy2") as calibrator:
        with calibrator.watched():
            build_plan(trt_runtime, REQUEST, calibrator=calibrator.raw)
        path.write_bytes(calibrator.written)
    write_identity(path, identify(REQUEST.model, "standard normal, v1", batches.digest))

    # Later, perhaps on another GPU with the same TensorRT.
    check_identity(path, identify(REQUEST.model, "standard normal, v1", load_batches()))
    CalibrationTable.parse(path.read_bytes()).check_scales(tensors_read_in_int8(MODEL))
    with make_calibrator(trt_runtime, [], algorithm="entropy2", cache=path.read_bytes()) as calibrator:
        with calibrator.watched():
            plan = build_plan(trt_runtime, REQUEST, calibrator=calibrator.raw)
        assert calibrator.used_cache
    assert {layer.inputs[0] for layer in plan.layers if "MatMul" in layer.name} <= {"int8"}
