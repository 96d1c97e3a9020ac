"""Plans: a good one is loaded and computes its own network, a damaged or foreign one is refused in words.

Claims: an engine runs on the version and the GPU that it was built for and no other, unless it was built to be compatible, and
deserialisation of anything else fails with an error (TensorRT documentation, "Engine Compatibility"); a network may have
several optimization profiles.
"""

from __future__ import annotations

from ._named import demand
from ._plans import check_plans


def test_plans_are_loaded_or_refused(trt_runtime, request):
    """Good, damaged, truncated, foreign plans; plans of two networks; two optimization profiles."""
    demand(check_plans(trt_runtime), request)
