from __future__ import annotations

import numpy as np
import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ConformanceError, UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Discovery

BENCH = Workbench(Settings(), Discovery(None, None, (), "none"))
WANT = np.array([1.0, 2.0])


@pytest.mark.parametrize("limit", [0.5, [0.5, 0.1], (WANT - 0.1, WANT + 0.5), (0.0, 3.0)])
def test_inside_any_form_of_limit(limit):
    assert BENCH.compare([1.4, 2.0], WANT, limit=limit).status == "conforms"


def test_outside_is_told_with_the_place():
    with pytest.raises(ConformanceError, match="1 of 2 values") as caught:
        BENCH.compare([1.0, 2.6], WANT, limit=0.5)
    assert "at (1,)" in str(caught.value)


@pytest.mark.parametrize("limit", ["x", None, [1.0, 2.0, 3.0], (1.0, 2.0, 3.0), -0.1])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(UsageError, match="limit"):
        BENCH.compare(WANT, WANT, limit=limit)


@pytest.mark.parametrize(("got", "want"), [([1.0], [1.0, 2.0]), ([], [])])
def test_nothing_is_broadcast_and_nothing_is_no_pass(got, want):
    with pytest.raises(UsageError):
        BENCH.compare(got, want, limit=1.0)
