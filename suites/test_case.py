"""Replays one configuration: collected only with `--trt-case TEXT`."""

from __future__ import annotations

from pytest_trt.strategies import Case


def test_case(conform, trt_settings):
    """The configuration of `--trt-case`, on the data that it was drawn with."""
    conform(Case.parse(trt_settings.case))
