"""What the checks of a test saw, counted: a record that merges and travels between processes as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.records import VIOLATES, Tolerance, Verdict


@dataclass
class Counts:
    """Counts of the checks of one test at one precision.

    Attributes
    ----------
    checks : int
        Verdicts.
    statuses, unjudged, data, relations : Counter
        Verdicts by status; nodes without a limit by operator; verdicts by kind of data; relations that held.
    compared, certified : int
        Output elements judged, and how many of these had to be bit-exact.
    tolerances : Counter
        Verdicts by allowance of a `trt_tolerance` marker, with its reason.
    places : Counter
        Verdicts by runtime and device.
    """

    checks: int = 0
    compared: int = 0
    certified: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    data: Counter[str] = field(default_factory=Counter)
    relations: Counter[str] = field(default_factory=Counter)
    tolerances: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict | None, tolerance: Tolerance | None = None) -> None:
        """Count one verdict; None stands for a violation that left no record."""
        self.checks += 1
        if tolerance is not None:
            self.tolerances[describe_tolerance(tolerance)] += 1
        if verdict is None:
            self.statuses[VIOLATES] += 1
            return
        self.statuses[verdict.status] += 1
        self.compared += verdict.compared
        self.certified += verdict.certified
        self.unjudged.update(dict(verdict.unjudged))
        self.relations.update(verdict.relations)
        kinds = verdict.provenance.get("data", ())
        self.data.update([kinds] if isinstance(kinds, str) else [str(kind) for kind in kinds])
        if "runtime" in verdict.provenance:
            self.places[str(verdict.provenance["runtime"])] += 1

    def merge(self, other: Counts) -> None:
        """Add the counts of another test or process."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, getattr(self, name) + value)

    def to_plain(self) -> dict[str, Any]:
        """Return numbers and dicts only; empty counts are left out."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Counts:
        """Return what `to_plain` made plain."""
        made = cls()
        for name, value in plain.items():
            setattr(made, name, Counter(value) if isinstance(value, dict) else value)
        return made


class Tally:
    """The counts of one test function, by precision."""

    def __init__(self, test: str) -> None:
        self.test = test
        self.by_precision: dict[str, Counts] = {}

    def add(self, precision: str, verdict: Verdict | None, tolerance: Tolerance | None = None) -> None:
        """Count one verdict."""
        self.by_precision.setdefault(precision, Counts()).add(verdict, tolerance)

    def to_text(self) -> str:
        """Return it as one line of JSON."""
        counts = {precision: one.to_plain() for precision, one in self.by_precision.items()}
        return json.dumps({"test": self.test, "counts": counts}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Tally:
        """Return what `to_text` wrote."""
        plain = json.loads(text)
        tally = cls(plain["test"])
        tally.by_precision = {name: Counts.from_plain(counts) for name, counts in plain["counts"].items()}
        return tally


def describe_tolerance(tolerance: Tolerance) -> str:
    """Return an allowance with its reason, in one line."""
    limits = {"atol": tolerance.atol, "rtol": tolerance.rtol}
    words = ", ".join(f"{key}={value:g}" for key, value in limits.items() if value)
    return f"{words or 'atol=0, rtol=0'} ({tolerance.why})"
