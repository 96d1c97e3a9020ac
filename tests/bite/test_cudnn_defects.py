"""A known defect of cuDNN explains an output only where nothing else is wrong with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import _cudnn_defects as defects
from pytest_trt.bite.data import draw
from pytest_trt.bite.problems import make_problem
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.records import CONFORMS, RUNGS

# As they were refused on an H200: strided, with and without bias, residual and ReLU.
SEEN = ((3000, 167), (4000, 2), (4000, 20), (4000, 41), (4000, 125))


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


@pytest.mark.parametrize("seed", SEEN, ids=str)
@pytest.mark.parametrize("kind", ["index", "big"])
def test_a_kernel_that_stores_0_for_minus_inf_is_explained(seed, kind):
    problem, drawn, conforms, got = play(seed, kind, 0.0)
    assert not conforms(got)
    assert defects.explain(problem, drawn, got, conforms) == defects.LOST_OVERFLOW


@pytest.mark.parametrize("seed", SEEN, ids=str)
def test_another_wrong_element_is_not(seed):
    problem, drawn, conforms, got = play(seed, "index", 0.0)
    at = np.flatnonzero(np.isfinite(got) & (got != 0))[-1]
    got.flat[at] = -2 * got.flat[at]
    assert defects.explain(problem, drawn, got, conforms) == ""


def test_another_number_in_place_of_minus_inf_is_not():
    problem, drawn, conforms, got = play(SEEN[0], "index", 7.0)
    assert not conforms(got) and defects.explain(problem, drawn, got, conforms) == ""


def test_zero_where_nothing_overflows_is_not():
    problem, drawn, conforms, got = play(SEEN[0], "int_small", 0.0)
    assert conforms(got)
    got.flat[3] = 0.0
    assert defects.explain(problem, drawn, got, conforms) == ""
