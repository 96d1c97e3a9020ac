"""The limits of ScatterND: what is written and what stays, each with its own bound."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.numerics.bounds import Bound
from tests.unit.check.nodes import OneNode, refused

DATA = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
ROWS = 100 + np.arange(32, dtype=np.float32).reshape(2, 4, 4)


@pytest.mark.parametrize("indices", [[[0], [2]], [[-1], [1]]])
def test_rows_are_put_in_their_places(indices):
    made = OneNode("ScatterND", DATA, constants=[np.array(indices, np.int64), ROWS])
    limits, honest = made.limits(), made.run()
    assert limits.is_exact and refused(honest, limits) == 0
    assert refused(DATA, limits) == ROWS.size
    assert refused(np.roll(honest, 1, axis=0), limits) > ROWS.size


def test_single_elements_are_put_in_their_places():
    indices = np.array([[[0, 1, 2]], [[3, -1, 0]]], np.int64)
    made = OneNode("ScatterND", DATA, constants=[indices, np.float32([[7], [8]])])
    assert refused(made.run(), made.limits()) == 0 and refused(DATA, made.limits()) == 2


def test_intervals_and_loose_elements_move_along():
    made = OneNode("ScatterND", DATA, constants=[np.array([[1]], np.int64), ROWS[:1]])
    loose = np.zeros(DATA.shape, bool)
    loose[0] = loose[1] = True
    limits = made.limits(x0=Bound(DATA, DATA - 1.0, DATA + 1.0, "fp32", loose=loose))
    assert (limits.high - limits.low).tolist()[1] == np.zeros((4, 4)).tolist()
    assert (limits.high[2] - limits.low[2] == 2).all()
    assert limits.loose[0].all() and not limits.loose[1:].any()


@pytest.mark.parametrize(("indices", "attributes"), [([[1], [1]], {}), ([[0], [1]], {"reduction": "add"})])
def test_what_onnx_lays_down_no_order_for_has_no_limit(indices, attributes):
    made = OneNode("ScatterND", DATA, constants=[np.array(indices, np.int64), ROWS], **attributes)
    assert made.limits() is None
