"""What a precision means: typed graphs, INT8 scales from data, builder flags, and the proof of what ran."""

from __future__ import annotations

from pytest_trt.precision.prepare import Prepared, prepare
from pytest_trt.precision.proof import Proof, prove
from pytest_trt.precision.ranges import measure_ranges

__all__ = ["Prepared", "Proof", "measure_ranges", "prepare", "prove"]
