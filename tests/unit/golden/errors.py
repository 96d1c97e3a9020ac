"""Outputs with errors of a known size, and their limits."""

from __future__ import annotations

import numpy as np

from pytest_trt.golden.key import Key
from pytest_trt.golden.record import OUTPUTS, Golden
from pytest_trt.numerics.bounds import Bound

SHAPE = (4, 5, 8, 8)
# Errors and the limit's half-width: thousands of steps of float32, and a hundredth of the limit.
SIZE, WIDTH = 2.0**-12, 2.0**-5
THEN, NOW = "tensorrt-10.0.0", "tensorrt-10.13.3"


def reference(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


def limit(mid, width=WIDTH, **fields):
    return Bound(mid, mid - width, mid + width, "fp32", **fields)


def errors(seed, shape=SHAPE, size=SIZE):
    return np.random.default_rng([seed, 1]).standard_normal(shape) * size


def stored(mid, error):
    return (mid + error).astype(np.float32)


def golden(product=THEN, facts=None, **arrays):
    return Golden(Key("case", "fp32", "t4", product), OUTPUTS, arrays, facts or {})
