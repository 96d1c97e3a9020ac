"""One golden: the arrays of a case, or how its build ended, with all that is known of where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.golden.key import Key

Array = NDArray[Any]

SCHEMA = 1
OUTPUTS, BUILD = "outputs", "build"
KINDS = (OUTPUTS, BUILD)

# Classes of a comparison, from best to worst.
IDENTICAL, BENIGN, DRIFT, REGRESSION = "identical", "benign", "drift", "regression"
# Beside them: there is nothing to compare with, or the golden cannot be used.
MISSING, UNUSABLE = "missing", "unusable"
CLASSES = (IDENTICAL, BENIGN, DRIFT, REGRESSION)


@dataclass(frozen=True)
class Golden:
    """What one TensorRT gave for one case.

    Attributes
    ----------
    key : Key
    kind : str
        `outputs` or `build`.
    arrays : mapping of str to ndarray
        Outputs by name; empty for a build.
    facts : mapping
        Plain data (JSON). Of outputs: `inputs` (digest of the data), `model` (digest), `numbers` by output (RMS and bias of the
        error against the reference, in units of the limit; the largest; how many), `layers`, `seed`. Of a build: `outcome`
        (built, refused), `words`, `layers`, `plan_bytes`, `device_memory_bytes`, `build_seconds`, `types`.
    provenance : mapping
        Plain data: product, version, GPU name and class, SM, driver, CUDA, onnxruntime, `recorded` (ISO 8601), plan digest.
    """

    key: Key
    kind: str
    arrays: Mapping[str, Array] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def same_arrays(self, other: Mapping[str, Array]) -> bool:
        """Tell whether arrays have the same names, types, shapes and bits; NaN equals NaN of the same bits."""
        return self.arrays.keys() == other.keys() and all(
            values.dtype == other[name].dtype
            and values.shape == other[name].shape
            and np.ascontiguousarray(values).tobytes() == np.ascontiguousarray(other[name]).tobytes()
            for name, values in self.arrays.items()
        )


@dataclass(frozen=True)
class Comparison:
    """How what is given today lies beside a golden.

    Attributes
    ----------
    key, other : Key
        Of today, and of the golden.
    kind : str
    outcome : str
        One of `CLASSES`, or `MISSING`, or `UNUSABLE`.
    why : tuple of str
        The rule that decided, with its numbers; one line each.
    numbers : mapping
        By output: `old` and `new` RMS, bias and largest error against the reference, each in units of the limit; `changed`
        elements of `total`.
    histograms : mapping
        By output: `edges`, and counts `old` and `new` of the error in units of the limit.
    changes : tuple of str
        Of builds: layers, types, memory, plan size, words, outcome; told, and no error by themselves.
    """

    key: Key
    other: Key
    kind: str
    outcome: str
    why: tuple[str, ...] = ()
    numbers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
