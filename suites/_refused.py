"""What a real TensorRT is known to refuse is not applicable, and anything else that it refuses fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from onnx import ModelProto

from pytest_trt.cases.limits import REFUSED, expected_outcome
from pytest_trt.errors import UnsupportedError
from pytest_trt.runtime.load import Runtime


@contextmanager
def known_refusals(rt: Runtime, model: ModelProto, precision: str) -> Iterator[None]:
    """Skip where the block builds a model that the table of known limits says is refused."""
    try:
        yield
    except UnsupportedError as error:
        known = expected_outcome(model, precision, sm=rt.gpu.sm, product=rt.product, version=rt.version)
        if rt.emulated or known.outcome != REFUSED:
            raise
        pytest.skip(f"not applicable: {error.what}")
