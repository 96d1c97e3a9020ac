"""Failures by name: a check outside of `trt_check` fails in the same words, with the same record behind them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_trt.check import named
from pytest_trt.check.named import Checked
from pytest_trt.fixtures import replay_of
from pytest_trt.session import session_of

__all__ = ["Checked", "demand", "demand_built"]


def demand(checked: Iterable[Checked], request: pytest.FixtureRequest) -> None:
    """Raise `ConformanceError` where a check does not hold; nothing checked is a failure as well.

    Parameters
    ----------
    checked : iterable of (str, str or None)
        Names of checks, each with what is wrong.
    request : FixtureRequest
        Of the test, which uses `trt_runtime`.
    """
    __tracebackhide__ = True
    session = session_of(request.config)
    rt = session.discovery.executor
    assert rt is not None
    precision = None if session.running is None else session.running.precision
    named.demand(checked, rt, session.settings, precision=precision, replay=replay_of(request.node, ""))


def demand_built(checked: Iterable[Checked], nothing: str = "nothing was checked") -> None:
    """Fail where a check of the TensorRT that only builds does not hold; nobody executed, so there is no verdict to tell.

    `nothing` is what is wrong where no check was made.
    """
    __tracebackhide__ = True
    rows = list(checked)
    assert rows, nothing
    wrong = [f"[{check}] {note}" for check, note in rows if note is not None]
    assert not wrong, "\n".join(wrong)
