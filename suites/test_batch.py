"""Batches and optimization profiles: min <= opt <= max, and any batch between them, gives the rows that batch 1 gives.

Relations that need no reference run on the first data kind of every check: identical rows, batch N against batch 1, row
permutation, one more output, a wider profile, a repeated run.
"""

from __future__ import annotations

from hypothesis import given

from pytest_trt import strategies


@given(case=strategies.batch_cases())
@strategies.with_corners("batch")
def test_batch(conform, case):
    """Batches at 1, 7, 8, 9, 31 to 33, 40 and 64: thresholds at which public bugs changed rows."""
    verdict = conform(case)
    assert (
        verdict is None
        or case.profile is None
        or "batch N equals N times batch 1" in verdict.relations
        or case.batch < 2
    )
