"""Implicit INT8, where a TensorRT still has calibrators: the table's scales are those of the data, and the engine's.

Claims 3, 12 and 14 of the TensorRT FAQ: min-max calibration takes the largest magnitude of each tensor, scale = amax / 127, and
entropy calibration leaves outliers out (TensorRT documentation, "Quantized Types", "Post-Training Quantization Using
Calibration"); a cache that the calibrator offers replaces the batches; one of another version is not accepted in silence
("Calibration caching": caches are not portable between releases); a tensor without a scale is named in a warning, and its
reader is not INT8.
"""

from __future__ import annotations

import pytest

from ._calibrate import check_calibration
from ._named import demand

pytestmark = [pytest.mark.faq(3), pytest.mark.faq(12), pytest.mark.faq(14)]


@pytest.mark.trt_precision("int8")
def test_calibration_gives_the_scales_of_the_data(trt_runtime, trt_precision, request):
    """Two matrix products, every calibrator: tables, batching, caches, missing scales, and the levels that the engine has."""
    if not trt_runtime.features.calibrators:
        pytest.skip(
            f"not applicable: {trt_runtime.title} has no calibrators; they ended with TensorRT 10.16, INT8 is Q/DQ since"
        )
    demand(check_calibration(trt_runtime), request)
