"""Failures by name: a check outside of `trt_check` fails in the same words, with the same record behind them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from pytest_trt.check import tell
from pytest_trt.check.conclude import replay_line
from pytest_trt.fixtures import replay_of
from pytest_trt.records import VIOLATES, Finding, Verdict
from pytest_trt.session import session_of

# The name of a check, and what is wrong; None where it holds.
Checked = tuple[str, str | None]


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
    rows = list(checked)
    assert rows, "nothing was checked"
    findings = tuple(Finding(check, VIOLATES, note=note) for check, note in rows if note is not None)
    if not findings:
        return
    session = session_of(request.config)
    rt = session.discovery.executor
    assert rt is not None
    precision = None if session.running is None else session.running.precision
    place = {"precision": precision or session.settings.precisions[0], "gpu": rt.gpu.name}
    place |= {"runtime": rt.title, "device": rt.device, "replay": replay_of(request.node, "")}
    verdict = Verdict(VIOLATES, findings, provenance=place)
    raise tell.failure(verdict, replay_line(verdict, session.settings))
