"""The suites' shared parts; they work from a checkout and from an installation, without an ini file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.cases.limits import FALLS_BACK, REFUSED, expected_outcome
from pytest_trt.collecting import apply_budgets
from pytest_trt.errors import UnsupportedError
from pytest_trt.fixtures import running_precision
from pytest_trt.records import Verdict
from pytest_trt.session import session_of
from pytest_trt.strategies import Case

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the property tests their budget; with `--trt-case` keep only the test that replays it."""
    apply_budgets(config, items, HERE)
    replayed = session_of(config).settings.case is not None
    kept = [i for i in items if HERE not in i.path.parents or (i.path.name == "test_case.py") == replayed]
    dropped = [item for item in items if item not in kept]
    if replayed and dropped:
        config.hook.pytest_deselected(items=dropped)
    items[:] = kept


@pytest.fixture(scope="session")
def conform(
    trt_check: Callable[..., Verdict], trt_runtime: Any, pytestconfig: pytest.Config
) -> Callable[[Case], Verdict | None]:
    """Factory: `conform(case)` checks one drawn configuration at the running precision and returns its verdict.

    A refusal by a real TensorRT is held against the table of known limits: None when it is a row there, and a row
    that does not come true fails.
    """

    session = session_of(pytestconfig)

    def conform(case: Case) -> Verdict | None:
        __tracebackhide__ = True
        model = case.model()
        fallback = refused = False
        if not trt_runtime.emulated:
            expected = expected_outcome(
                model,
                running_precision(session, None, "conform"),
                sm=trt_runtime.gpu.sm,
                product=trt_runtime.product,
                version=trt_runtime.version,
            )
            fallback, refused = expected.outcome == FALLS_BACK, expected.outcome == REFUSED
        try:
            verdict = trt_check(
                model,
                profile=case.profile,
                shapes=case.input_shapes,
                label=case.text,
                fallback=fallback,
            )
        except UnsupportedError:
            if refused:
                return None
            raise
        assert not refused, f"{case.text} builds, but the table of known limits says that it is refused"
        return verdict

    return conform
