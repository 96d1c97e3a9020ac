"""The fixture that watches the GPU while a test measures something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_trt.session import session_of
from pytest_trt.studies import attach

if TYPE_CHECKING:
    from pytest_trt.hardware.telemetry import Watch


@pytest.fixture(scope="session")
def trt_telemetry(pytestconfig: pytest.Config) -> Callable[..., AbstractContextManager[Watch]]:
    """Factory: `with trt_telemetry(interval_seconds=0.05) as watch: ...` watches the GPU that executes; `watch.take()`.

    What was seen of clocks, power, temperature and throttling is a section of the test's report, with a plot over time.
    `watch.take()` returns a Telemetry, in the block and after it: `.sm_mhz`, `.power_watts`, `.unreliable` and others.
    Without a GPU it is empty, `.why` says so, and nothing is attached or skipped. `title` is that of the section.
    """
    session = session_of(pytestconfig)

    @contextmanager
    def trt_telemetry(*, interval_seconds: float = 0.05, title: str = "GPU telemetry") -> Iterator[Watch]:
        from pytest_trt.bench.timer import watch_device
        from pytest_trt.hardware.telemetry import watch

        executor = session.discovery.executor
        watching: AbstractContextManager[Watch] = watch(None)
        if executor is not None and executor.memory is not None:
            watching = watch_device(executor, interval_seconds)
        watched: Watch | None = None
        try:
            with watching as watched:
                yield watched
        finally:  # of a test that fails, it is wanted most
            found = None if watched is None else watched.take()
            if found is not None and found.source:
                attach(session, found.section(title))

    return trt_telemetry
