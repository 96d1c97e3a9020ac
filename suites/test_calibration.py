"""Implicit INT8, where a TensorRT still has calibrators: the table's scales are those of the data, and the engine's.

Claims: min-max calibration takes the largest magnitude of each tensor, scale = amax / 127 (TensorRT documentation, "Quantized
Types", "Post-Training Quantization Using Calibration"); a cache that the calibrator offers replaces the batches.
"""

from __future__ import annotations

import pytest

from ._calibrate import check_calibration
from ._named import demand


@pytest.mark.trt_precision("int8")
def test_calibration_gives_the_scales_of_the_data(trt_runtime, trt_precision, request):
    """Two matrix products: table, batching, cache, and the levels that the engine rounds to."""
    if not trt_runtime.features.calibrators:
        pytest.skip(f"not applicable: {trt_runtime.title} has no calibrators")
    demand(check_calibration(trt_runtime), request)
