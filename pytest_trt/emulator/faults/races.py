"""Faults of contexts that run beside each other: one run in so many gets an answer that belongs to another context."""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.sessions import exchange_rows


@fault("concurrency", mutants="M23")
def crosstalk_one_in_8(site: Any) -> None:
    """Give a row of another context's answer in one run of 8 (issues 1121, 2040 and 2353)."""
    exchange_rows(site, 1 / 8)


@fault("concurrency", mutants="M23")
def crosstalk_one_in_100(site: Any) -> None:
    """Give a row of another context's answer in one run of 100 (microsoft/onnxruntime issue 19275)."""
    exchange_rows(site, 1 / 100)


@fault("concurrency", mutants="M23")
def crosstalk_one_in_1000(site: Any) -> None:
    """Give a row of another context's answer in one run of 1,000 (microsoft/onnxruntime issue 19275)."""
    exchange_rows(site, 1 / 1000)
