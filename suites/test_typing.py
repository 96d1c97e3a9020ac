"""Every route to a precision that this TensorRT has gives it, and every one that it lacks is refused in words.

Claims: in a strongly typed network the graph names every type (TensorRT documentation, "Strongly Typed Networks"); in a weakly
typed one, up to TensorRT 10.x, builder flags permit types, and layer precisions with OBEY_PRECISION_CONSTRAINTS order them
("Precision Control"); FAQ items 5, 11 and 17.
"""

from __future__ import annotations

from ._named import demand
from ._typing import check_ways


def test_every_route_gives_the_types_that_it_says(trt_runtime, trt_precision, request):
    """A convolution, a Gemm and a residual block: typing, constraints, hybrid INT8, a layer with a type of its own."""
    demand(check_ways(trt_runtime, trt_precision), request)
