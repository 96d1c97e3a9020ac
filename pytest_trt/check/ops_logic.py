"""Limits of comparisons, boolean operators and Where: one admissible value, or both where an interval leaves it open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_trt.check.interpret import Step, handles
from pytest_trt.check.ops_pointwise import any_loose, shaped
from pytest_trt.numerics.bounds import Bound

Truth = np.ndarray


def _decided(surely: Truth, possibly: Truth, mid: Truth, *inputs: Bound) -> list[Bound]:
    """Return a boolean bound: true for sure, or possibly true."""
    values = mid.astype(np.float64)
    found = any_loose(*inputs)
    loose = None if found is None else shaped(found, values)
    if np.array_equal(surely, possibly):
        return [replace(Bound.exact(values, "bool"), loose=loose)]
    return [Bound(values, surely.astype(np.float64), possibly.astype(np.float64), "bool", loose=loose)]


@handles("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _order(step: Step) -> list[Bound]:
    a, b = step.arg(0), step.arg(1)
    compare = {
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
    }[step.node.op]
    first, second = (compare(a.low, b.high), compare(a.high, b.low))
    return _decided(first & second, first | second, compare(a.mid, b.mid), a, b)


@handles("Equal")
def _equal(step: Step) -> list[Bound]:
    a, b = step.arg(0), step.arg(1)
    possibly = (a.low <= b.high) & (b.low <= a.high)
    surely = (a.low == a.high) & (b.low == b.high) & (a.low == b.low)
    return _decided(surely, possibly, a.mid == b.mid, a, b)


_GATES: dict[str, Callable[[Truth, Truth], Truth]] = {"And": np.logical_and, "Or": np.logical_or}


@handles(*_GATES)
def _gate(step: Step) -> list[Bound]:
    a, b = step.arg(0), step.arg(1)
    gate = _GATES[step.node.op]
    return _decided(gate(a.low, b.low), gate(a.high, b.high), gate(a.mid, b.mid), a, b)


@handles("Xor")
def _xor(step: Step) -> list[Bound]:
    a, b = step.arg(0), step.arg(1)
    open_ = (a.low != a.high) | (b.low != b.high)
    mid = np.logical_xor(a.mid, b.mid)
    return _decided(mid & ~open_, mid | open_, mid, a, b)


@handles("Not")
def _not(step: Step) -> list[Bound]:
    x = step.arg(0)
    return _decided(x.high == 0, x.low == 0, x.mid == 0, x)


@handles("IsNaN")
def _is_nan(step: Step) -> list[Bound]:
    x = step.arg(0)
    found = np.isnan(x.mid)
    return _decided(found, found, found, x)


@handles("Where")
def _where(step: Step) -> list[Bound]:
    """One of two tensors, element by element; the hull of both where the condition is not decided."""
    test, a, b = step.arg(0), step.arg(1), step.arg(2)
    surely, possibly = test.low != 0, test.high != 0
    mid = np.where(test.mid != 0, a.mid, b.mid)
    blank = np.zeros((), bool)
    loose_a = blank if a.loose is None else a.loose
    loose_b = blank if b.loose is None else b.loose
    loose = (possibly & loose_a) | (~surely & loose_b)
    if test.loose is not None:
        loose = loose | test.loose
    open_ = shaped(loose, mid) if loose.any() else None
    if a.is_exact and b.is_exact and test.is_exact:
        return [replace(Bound.exact(mid, step.kind), loose=open_)]
    low = np.where(surely, a.low, np.where(possibly, np.minimum(a.low, b.low), b.low))
    high = np.where(surely, a.high, np.where(possibly, np.maximum(a.high, b.high), b.high))
    return [Bound(mid, low, high, step.kind, loose=open_)]
