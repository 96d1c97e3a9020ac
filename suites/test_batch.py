"""Batches and optimization profiles: min <= opt <= max, and any batch between them, gives the rows that batch 1 gives.

Claim 6 of the TensorRT FAQ, as far as answers go: the batch is a dimension, its range is that of the profile, and what lies
outside is refused. How time per frame falls with the batch is a benchmark's to say.

Relations that need no reference run on the first data kind of every check: identical rows, batch N against batch 1, row
permutation, one more output, a wider profile, a repeated run.
"""

from __future__ import annotations

import pytest
from hypothesis import given

from pytest_trt import strategies

from ._named import demand, demand_built
from ._profiles import check_profiles, check_shapes

pytestmark = pytest.mark.faq(6)

# NVIDIA/TensorRT issue 4821: AveragePool was wrong at a batch of 65536, the first that 16 bits do not count.
LARGE = (
    "average_pool2d-n65535-c1-i1x2-k1x2-t1x1-p0x0x0x0-z0-y0-w_int-s0",
    "average_pool2d-n65536-c1-i1x2-k1x2-t1x1-p0x0x0x0-z0-y0-q1x65536x65536-w_int-s0",
    "average_pool2d-n65537-c1-i1x2-k1x2-t1x1-p0x0x0x0-z0-y0-w_int-s0",
)
# Issues 2457, 3821 and 4035: of a dynamic width, only the largest one was right.
EXTENTS = {"smallest": (1, 3, 2, 3), "between": (2, 3, 5, 6), "largest": (4, 3, 8, 9)}


@given(case=strategies.batch_cases())
@strategies.with_corners("batch")
def test_batch(conform, case):
    """Batches at 1, 7 to 9, 31 to 33, 39 to 41 and 64: thresholds at which public bugs changed rows."""
    verdict = conform(case)
    assert (
        verdict is None
        or case.profile is None
        or "batch N equals N times batch 1" in verdict.relations
        or case.batch < 2
    )


@pytest.mark.parametrize("text", LARGE)
def test_large_batch(conform, text):
    """A pool of batches around 65536."""
    conform(strategies.Case.parse(text))


@pytest.mark.parametrize("place", EXTENTS)
def test_dynamic_extents(trt_check, place):
    """A convolution with dynamic batch, height and width, at the ends of its profile and between them."""
    case = strategies.Case.parse("conv2d-n4-c3-o5-i8x9-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x4x4-w_int-s0")
    model = case.model()
    for tensor in (*model.graph.input, *model.graph.output):
        for axis, name in ((2, "H"), (3, "W")):
            tensor.type.tensor_type.shape.dim[axis].dim_param = name
    trt_check(
        model,
        profile={"x": (EXTENTS["smallest"], EXTENTS["between"], EXTENTS["largest"])},
        shapes={"x": EXTENTS[place]},
    )


def test_shapes_outside_of_the_profile_are_refused(trt_runtime, request):
    """`set_input_shape` takes the batches of the profile, and answers False with a logged error to all others."""
    demand(check_shapes(trt_runtime), request)


def test_profiles_are_needed_and_ordered(trt_runtime, request):
    """A dynamic batch without a profile is not built; a profile with min > opt is not added."""
    demand(check_profiles(trt_runtime), request)


def test_profiles_of_the_builder(targeted):
    """The same of the real TensorRT that builds."""
    demand_built(check_profiles(targeted))
