from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given

from pytest_trt.errors import SettingsError
from pytest_trt.records import Settings
from pytest_trt.strategies import apply_budget, conv_cases, corners, with_corners
from pytest_trt.strategies.corners import CORNERS

from .test_families import STRATEGIES, session

EVERY = [pytest.param(case, id=case.text) for name in CORNERS for case in corners(name)]


def test_each_strategy_has_corners():
    assert set(CORNERS) == set(STRATEGIES)
    assert all(CORNERS.values())


@pytest.mark.parametrize("case", EVERY)
def test_a_corner_is_a_valid_case(case):
    model = case.model()
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(0)
    data = {k: rng.standard_normal(s).astype(np.float32) for k, s in case.input_shapes.items()}
    assert np.isfinite(session(model).run(None, data)[0]).all()


def test_their_texts_are_canonical():
    for name, texts in CORNERS.items():
        assert tuple(case.text for case in corners(name)) == texts


def test_every_motif_has_one():
    assert {case.family for case in corners("motif")} == set(corners("motif")[0].families)


def test_they_run_first_and_on_top_of_the_budget():
    seen = []

    @with_corners("conv")
    @given(case=conv_cases())
    def check(case):
        seen.append(case)

    apply_budget(check, Settings())()
    assert tuple(seen[: len(CORNERS["conv"])]) == corners("conv")
    assert len(seen) == len(CORNERS["conv"]) + 20


def test_an_unknown_name_is_refused_with_the_good_ones():
    with pytest.raises(SettingsError, match="no corner cases for 'conf'") as caught:
        corners("conf")
    assert "conv_transpose" in str(caught.value)
