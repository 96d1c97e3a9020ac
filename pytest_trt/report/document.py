"""The report as one plain document, from which JSON, HTML and Markdown are written."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_trt import __version__
from pytest_trt.records import PRECISIONS
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.outcomes import OUTCOMES, SKIPPED, Ran
from pytest_trt.report.plain import to_plain
from pytest_trt.report.tally import Counts

SCHEMA = 1  # rises when a key changes its meaning or goes

PACKAGES = (
    "hypothesis",
    "numpy",
    "nvidia-modelopt",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "pycuda",
    "pytest",
    "pytest-xdist",
)


def make_document(
    session: Mapping[str, Any],
    ran: Sequence[Ran],
    ledger: Ledger,
    *,
    started: str,
    seconds: float,
    exit_status: tuple[int, str],
    replay: str = "",
    collection: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Return the report of a session: text, numbers, lists and dicts only.

    Parameters
    ----------
    session : mapping
        Who ran, where and with which settings.
    ran : sequence of Ran
        Every test; the order does not count.
    ledger : Ledger
        What the tests reported.
    started : str
        Date and time in ISO 8601.
    seconds : float
        The whole session.
    exit_status : tuple of int and str
        pytest's status, and its name.
    replay : str
        Options of this run, for the line that repeats a test.
    collection : sequence of mapping
        Files that could not be collected: `where`, `words`, `text`.
    """
    tests = _tests(ran, ledger, replay)
    whole = Counts()
    tallies = ledger.tallies()
    for counts in tallies.values():
        whole.merge(counts)
    made: dict[str, Any] = to_plain(
        {
            "schema": SCHEMA,
            "product": {"name": "pytest-trt", "version": __version__},
            "started": started,
            "seconds": round(seconds, 3),
            "exit_status": {"code": exit_status[0], "name": exit_status[1]},
            "session": session,
            "packages": list_packages(),
            "outcomes": _count_outcomes(ran),
            "totals": whole.to_plain(),
            "checks": [
                {"test": test, "precision": precision, **counts.to_plain()}
                for (test, precision), counts in sorted(tallies.items(), key=_by_precision)
            ],
            "not_run": _not_run(ran, ledger),
            "collection": collection,
            "problems": ledger.problems,
            "sections": [{"test": test, **section} for test, section in ledger.sections()],
            "support": [
                {
                    "family": family,
                    "precision": precision,
                    "gpu": gpu,
                    "outcomes": dict(sorted(outcomes.items())),
                }
                for (family, precision, gpu), outcomes in sorted(ledger.support().items())
            ],
            "tests": tests,
        }
    )
    return made


def write_json(document: Mapping[str, Any]) -> str:
    """Return a document as strict JSON, one that reads the same however often it is written."""
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def list_packages() -> dict[str, str]:
    """Return the versions of the installed packages that results depend on, TensorRT's by their own names."""
    found = {"python": platform.python_version()}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").replace("_", "-").lower()
        if name in PACKAGES or name.startswith(("tensorrt", "onnxruntime-ep-")):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def _by_precision(item: tuple[tuple[str, str], Counts]) -> tuple[str, int, str]:
    (test, precision), _ = item
    return test, PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS), precision


def _count_outcomes(ran: Sequence[Ran]) -> dict[str, int]:
    counted = Counter(one.outcome for one in ran)
    return {name: counted[name] for name in OUTCOMES}


def _tests(ran: Sequence[Ran], ledger: Ledger, replay: str) -> list[dict[str, Any]]:
    from shlex import quote

    failures = ledger.failures()
    checks: dict[str, dict[str, Any]] = {}
    for test, tally in ledger.tallies_of_tests():
        for precision, counts in tally.by_precision.items():
            checks.setdefault(test, {})[precision] = counts.to_plain()
    made = []
    for one in sorted(ran, key=lambda one: (one.test, one.outcome)):
        errors = failures.get(one.test, [])
        replays = [error["replay"] for error in errors if error["replay"]]
        bare = " ".join(part for part in (f"pytest {quote(one.test)}", replay) if part)
        made.append(
            {
                "test": one.test,
                "outcome": one.outcome,
                "seconds": round(one.seconds, 3),
                "reason": one.reason,
                "checks": checks.get(one.test, {}),
                "errors": errors,
                "troubles": one.troubles,
                "replay": (replays or [bare])[0] if one.troubles else "",
            }
        )
    return made


def _not_run(ran: Sequence[Ran], ledger: Ledger) -> dict[str, Any]:
    missing = sorted(ledger.missing().items())
    ours = {f"trt: {reason}; to get it: {mend}" for (_, reason, mend), _ in missing}
    reasons = Counter(one.reason for one in ran if one.outcome == SKIPPED and one.reason not in ours)
    return {
        "deselected": ledger.not_run.get("deselected", 0),
        "not_applicable": [
            {"reason": reason, "tests": number}
            for reason, number in sorted(ledger.not_run.get("not_applicable", {}).items())
        ],
        "missing": [
            {"requirement": requirement, "reason": reason, "mend": mend, "tests": number}
            for (requirement, reason, mend), number in missing
        ],
        "skipped": [{"reason": reason, "tests": number} for reason, number in sorted(reasons.items())],
    }
