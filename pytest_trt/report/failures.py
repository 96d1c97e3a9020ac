"""Why a test failed, in full: our error with its verdict, as data that travels with the test's report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_trt.errors import TrtError
from pytest_trt.records import Finding, Verdict
from pytest_trt.report.plain import to_plain, to_text

FAILURE = "trt_failure"
REPEAT = "repeat: "

_NUMBERS = ("got", "low", "high", "want")


def attach_failure(item: Any, error: BaseException | None) -> None:
    """Attach what ended a test to it: each error of ours, with the whole verdict of a ConformanceError.

    Parameters
    ----------
    item : pytest.Item
        The test.
    error : BaseException or None
        The exception that ended a phase of it; the members of a group count one by one. Others than ours are left
        to pytest. The same error is attached once.
    """
    for one in _ours(error):
        entry = (FAILURE, to_text(describe_failure(one)))
        if entry not in item.user_properties:
            item.user_properties.append(entry)


def _ours(error: BaseException | None) -> Iterator[TrtError]:
    if isinstance(error, TrtError):
        yield error
    for member in getattr(error, "exceptions", ()):
        yield from _ours(member)


def describe_failure(error: TrtError) -> dict[str, Any]:
    """Return an error as plain data: its words, the command that repeats it, and its verdict where it has one."""
    verdict = getattr(error, "verdict", None)
    mend = error.mend or ""
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "why": list(error.why),
        "mend": "" if mend.startswith(REPEAT) else mend,
        "replay": mend[len(REPEAT) :] if mend.startswith(REPEAT) else "",
        "verdict": verdict_to_plain(verdict) if isinstance(verdict, Verdict) else None,
    }


def read_failure(value: Any) -> dict[str, Any] | None:
    """Return what `attach_failure` attached, None for text that is none of ours."""
    try:
        plain = json.loads(value)
    except (ValueError, TypeError):
        return None
    keys = {"kind", "what", "why", "mend", "replay", "verdict"}
    return plain if isinstance(plain, dict) and plain.keys() == keys else None


def verdict_to_plain(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as lists, dicts, numbers and text; what JSON cannot say of a float is text."""
    made: dict[str, Any] = to_plain({**vars(verdict), "findings": [vars(one) for one in verdict.findings]})
    return made


def verdict_from_plain(plain: Mapping[str, Any]) -> Verdict:
    """Return the verdict that `verdict_to_plain` made plain; tuples inside of its provenance are lists."""
    findings = []
    for one in plain["findings"]:
        kept = dict(one)
        kept.update({name: float(one[name]) for name in _NUMBERS})
        kept.update({name: tuple(one[name]) for name in ("index", "axes", "fits")})
        kept["sources"] = tuple((name, float(size)) for name, size in one["sources"])
        findings.append(Finding(**kept))
    return Verdict(**{**plain, "findings": tuple(findings), "relations": tuple(plain["relations"])})
