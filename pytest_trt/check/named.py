"""Failures by name: a check outside of the numeric judgement fails in the same words, with the same record behind them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_trt.check import tell
from pytest_trt.check.conclude import replay_line
from pytest_trt.records import VIOLATES, Finding, Settings, Verdict
from pytest_trt.runtime.load import Runtime

# The name of a check, and what is wrong; None where it holds.
Checked = tuple[str, str | None]


def demand(
    checked: Iterable[Checked],
    rt: Runtime,
    settings: Settings,
    *,
    precision: str | None = None,
    replay: str = "",
) -> Verdict:
    """Return the verdict on checks that hold.

    Parameters
    ----------
    checked : iterable of (str, str or None)
        Names of checks, each with what is wrong.
    rt : Runtime
        Who ran; named in the message, with the settings.
    precision : str, optional
        Default: the first of the settings.
    replay : str
        Start of the command that repeats the check.

    Raises
    ------
    ConformanceError
        A check does not hold, or nothing was checked.
    """
    __tracebackhide__ = True
    rows = list(checked)
    findings = tuple(Finding(check, VIOLATES, note=note) for check, note in rows if note is not None)
    if not rows:
        findings = (Finding("compared", VIOLATES, note="nothing was checked"),)
    place = {"precision": precision or settings.precisions[0], "gpu": rt.gpu.name}
    place |= {"runtime": rt.title, "device": rt.device, "replay": replay}
    if findings:
        verdict = Verdict(VIOLATES, findings, provenance=place)
        raise tell.failure(verdict, replay_line(verdict, settings))
    return Verdict("conforms", relations=tuple(dict.fromkeys(name for name, _ in rows)), provenance=place)
