"""Time per frame over the batch of one engine: where it stops to fall, and whether the curve is one that can be."""

import numpy as np
import onnx.parser

from pytest_trt.bench.batch import doublings, sweep
from pytest_trt.bench.timer import modelled

LARGEST = 16
PROFILE = {"x": ((1, 1, 8, 8), (LARGEST, 1, 8, 8), (LARGEST, 1, 8, 8))}
MODEL = onnx.parser.parse_model(  # yours: "model.onnx"
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


def test_my_batches(trt_runtime, trt_session):
    frames = np.ones((LARGEST, 1, 8, 8), np.float32)
    with modelled(trt_runtime), trt_session(MODEL, profile=PROFILE) as session:
        curve = sweep(session, lambda batch: {"x": frames[:batch]}, doublings(LARGEST))
    print(*curve.describe(), sep="\n")
    assert curve.judge().verdict != "broken", curve.judge().rows
