"""Trained networks: built at every precision with a dynamic batch, run, related, and judged layer by layer."""

from __future__ import annotations

import pytest

from pytest_trt.cases.models import find_models
from pytest_trt.records import Missing

FOUND = find_models()
NAMES = ("det", "rec", "cls")


@pytest.mark.parametrize("position", range(3), ids=NAMES)
def test_trained_network(trt_check, position):
    """One of three trained OCR networks; operators without a limit are counted by name."""
    if isinstance(FOUND, Missing):
        pytest.skip(f"{FOUND.reason}; to get it: {FOUND.mend}")
    found = FOUND[position]
    verdict = trt_check(found.model(), found.inputs(), profile=found.profile, label="")
    assert verdict.compared > 0
