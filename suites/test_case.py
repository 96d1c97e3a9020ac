"""Replays one configuration: collected only with `--trt-case TEXT`."""

from __future__ import annotations

import pytest

from pytest_trt.strategies import Case


def test_case(conform, trt_settings):
    """The configuration of `--trt-case`, on the data that it was drawn with."""
    conform(Case.parse(trt_settings.case))


@pytest.mark.usefixtures("trt_precision")
def test_build_case(built, trt_settings):
    """The configuration of `--trt-case`, built by a real TensorRT."""
    built(Case.parse(trt_settings.case))
