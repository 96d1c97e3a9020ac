"""The numeric judgement of two arrays alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.check import tell
from pytest_trt.check.findings import to_finding
from pytest_trt.errors import UsageError
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.judge import measure
from pytest_trt.records import CONFORMS, VIOLATES, Verdict


def compare(got: Any, want: Any, limit: Any) -> Verdict:
    """Return the verdict on `got` within `limit` of `want`; see `Workbench.compare`."""
    value, mid = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    __tracebackhide__ = True
    if value.shape != mid.shape:
        raise UsageError(f"got has shape {value.shape}, want {mid.shape}", why="nothing is broadcast")
    if value.size == 0:
        raise UsageError("the arrays are empty: nothing was compared")
    try:
        ends = [
            np.asarray(end, dtype=np.float64) for end in (limit if isinstance(limit, tuple) else (limit,))
        ]
        low, high = ends if isinstance(limit, tuple) else (mid - ends[0], mid + ends[0])
        low, high = np.broadcast_to(low, mid.shape), np.broadcast_to(high, mid.shape)
    except (TypeError, ValueError):
        raise UsageError(
            f"limit {limit!r} cannot be used",
            why="it is the largest absolute difference, or (low, high): numbers, or arrays of the outputs' shape",
        ) from None
    if bool(np.any(high < low)) or any(np.isnan(end).any() for end in ends):
        raise UsageError(f"limit {limit!r} is negative, or no number: nothing could be inside")
    found = measure(value, Bound(mid, low, high))
    finding = to_finding(found, found.cause, VIOLATES, tensor="got", data="given")
    status = VIOLATES if found.bad else CONFORMS
    verdict = Verdict(status, (finding,) if found.bad else (), found.judged, found.certified)
    if found.bad:
        raise tell.failure(verdict, "the same comparison")
    return verdict
