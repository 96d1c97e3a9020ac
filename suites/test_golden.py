"""Outputs beside those of an earlier run: identical, benign, drifted or wrong.

`--trt-golden=record` keeps them, `--trt-golden-from=PRODUCT-VERSION` compares with another version's: `docs/golden.md`.
On the emulator those of whole numbers are compared, whose sums have one admissible value on every machine; the goldens of all
other outputs hold on one processor alone and are kept only there. Outputs of a real TensorRT need a GPU.
"""

from __future__ import annotations

import pytest

from pytest_trt.cases.models import find_models
from pytest_trt.records import Missing

from ._golden import CANONICAL

FOUND = find_models()
NAMES = ("det", "rec", "cls")


@pytest.mark.parametrize("canonical", CANONICAL, ids=lambda canonical: canonical.title)
def test_canonical_case(trt_golden, trt_precision, canonical):
    """One fixed network with one operator or motif, on fixed data; INT8 with fixed scales."""
    trt_golden(canonical.title, **canonical.arguments(trt_precision))


@pytest.mark.parametrize("position", range(3), ids=NAMES)
def test_trained_network(trt_golden, position):
    """One of three trained OCR networks on fixed images."""
    if isinstance(FOUND, Missing):
        pytest.skip(f"{FOUND.reason}; to get it: {FOUND.mend}")
    found = FOUND[position]
    trt_golden(found.name, model=found.model(), inputs=found.inputs(), profile=found.profile)
