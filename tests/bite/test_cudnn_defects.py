"""A known kernel of cuDNN explains an output only where it ran and nothing else is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import numpy_helper

from benchmarks import _cudnn_defects as defects
from pytest_trt.bite.data import draw
from pytest_trt.bite.problems import make_problem
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.records import CONFORMS, RUNGS

# As they were refused on an H200: strided, with and without bias, residual and ReLU.
SEEN = ((3000, 167), (4000, 2), (4000, 20), (4000, 41), (4000, 125))
KERNELS = [
    "sm80_xmma_fprop_implicit_gemm_indexed_wo_smem_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x32x64_stage1"
]
# 5 x 5 at stride 1, with bias and ReLU, and with a residual.
SEEN_5X5 = ((3000, 407), (3000, 707))
KERNELS_5X5 = ["void cudnn::winograd_nonfused::winogradForwardData9x9_5x5<float, __half>(...)"]


def play(seed, kind, stored_for_minus_inf):
    """Return a problem, its data, its check and what a kernel gives that stores something in place of -inf."""
    problem = make_problem("fp16", seed)
    drawn = draw(problem, kind)
    admissible = Admissible(Graph(drawn.model), drawn.values, replace(problem.promise, sm=90), RUNGS)

    def conforms(got):
        return admissible.judge("y", got.astype(np.float32), statistics=False).status == CONFORMS

    sums = defects._sums(problem, drawn)
    known = defects._known(drawn)
    with np.errstate(over="ignore", invalid="ignore"):
        got = np.where(sums <= -65520, np.float16(stored_for_minus_inf), sums.astype(np.float16))
        if problem.bias:
            got = got + known["b"].astype(np.float16).reshape(1, -1, 1, 1)
        if problem.residual:
            got = got + known["r"].astype(np.float16)
        got = np.maximum(got, np.float16(0)) if problem.relu else got
    return problem, drawn, conforms, got


def play_winograd(seed, kind, units):
    """Return the same of a kernel whose sums are off by so many units of float32 rounding of the largest product of a tile."""
    problem, drawn, conforms, _ = play(seed, kind, -np.inf)
    known, sums = defects._known(drawn), defects._sums(problem, drawn)
    largest = float(np.abs(known["x"]).max()) * np.abs(known["w"].astype(np.float64)).sum(axis=(1, 2, 3))
    noise = np.random.default_rng(0).choice([-1.0, 1.0], sums.shape) * largest.reshape(1, -1, 1, 1)
    return problem, drawn, conforms, defects._behind(problem, drawn, sums + units * 2.0**-24 * noise)


@pytest.mark.parametrize("seed", SEEN_5X5, ids=str)
@pytest.mark.parametrize("kind", ["uniform11", "int_small"])
def test_a_winograd_of_9_by_9_tiles_is_explained(seed, kind):
    problem, drawn, conforms, got = play_winograd(seed, kind, 2500)
    assert not conforms(got)
    assert defects.explain(problem, drawn, got, conforms, KERNELS_5X5) == defects.WINOGRAD_5X5
    assert defects.explain(problem, drawn, got, conforms, KERNELS) == ""  # a direct kernel has no such errors
    assert defects.explain(problem, drawn, got, conforms, []) == ""


@pytest.mark.parametrize("seed", SEEN_5X5, ids=str)
def test_larger_errors_are_not(seed):
    problem, drawn, conforms, got = play_winograd(seed, "int_small", 4 * defects._GROWTH)
    assert defects.explain(problem, drawn, got, conforms, KERNELS_5X5) == ""


def test_a_transposed_filter_is_not():
    problem, drawn, conforms, _ = play(SEEN_5X5[1], "uniform11", -np.inf)
    other = draw(problem, "uniform11")
    (w,) = (tensor for tensor in other.model.graph.initializer if tensor.name == "w")
    w.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(w).swapaxes(2, 3)), "w"))
    got = defects._behind(problem, other, defects._sums(problem, other))
    assert not conforms(got)
    assert defects.explain(problem, drawn, got, conforms, KERNELS_5X5) == ""


@pytest.mark.parametrize("seed", SEEN, ids=str)
@pytest.mark.parametrize("kind", ["index", "big"])
def test_a_kernel_that_stores_0_for_minus_inf_is_explained(seed, kind):
    problem, drawn, conforms, got = play(seed, kind, 0.0)
    assert not conforms(got)
    assert defects.explain(problem, drawn, got, conforms, KERNELS) == defects.LOST_OVERFLOW


@pytest.mark.parametrize("seed", SEEN, ids=str)
def test_another_wrong_element_is_not(seed):
    problem, drawn, conforms, got = play(seed, "index", 0.0)
    at = np.flatnonzero(np.isfinite(got) & (got != 0))[-1]
    got.flat[at] = -2 * got.flat[at]
    assert defects.explain(problem, drawn, got, conforms, KERNELS) == ""


def test_another_number_in_place_of_minus_inf_is_not():
    problem, drawn, conforms, got = play(SEEN[0], "index", 7.0)
    assert not conforms(got) and defects.explain(problem, drawn, got, conforms, KERNELS) == ""


def test_zero_where_nothing_overflows_is_not():
    problem, drawn, conforms, got = play(SEEN[0], "int_small", 0.0)
    assert conforms(got)
    got.flat[3] = 0.0
    assert defects.explain(problem, drawn, got, conforms, KERNELS) == ""
