"""What the checks of a test saw, counted: a record that merges and travels between processes as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.records import VIOLATES, Tolerance, Verdict

PROPERTY = "trt_tally"
SUPPORT = "trt_support"
MISSING = "trt_missing"


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


class Ledger:
    """All that the tests of a session reported, and what of it the summary tells."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Any]] = []
        self.not_run: dict[str, Any] = {}
        self.problems: list[str] = []

    def add(self, test: str, properties: Any) -> None:
        """Keep the entries of a report's `user_properties` that are ours."""
        self.records.extend((test, name, value) for name, value in properties if str(name).startswith("trt_"))

    def note_not_run(self, plain: Mapping[str, Any]) -> None:
        """Keep what a process did not run; xdist's workers collect the same tests: none is added up."""
        if plain.get("uses", 0) >= self.not_run.get("uses", 0):
            self.not_run = dict(plain)

    def values(self, name: str) -> list[Any]:
        """Return the values of all records of one name."""
        return [value for _, kind, value in self.records if kind == name]

    def tallies(self) -> dict[tuple[str, str], Counts]:
        """Return the counts by test function and precision, in the order of the tests."""
        found: dict[tuple[str, str], Counts] = {}
        for text in self.values(PROPERTY):
            tally = Tally.from_text(text)
            for precision, counts in tally.by_precision.items():
                found.setdefault((tally.test, precision), Counts()).merge(counts)
        return found

    def support(self) -> dict[tuple[str, str, str], Counter[str]]:
        """Return the outcomes of builds by operator family, precision and GPU class."""
        found: dict[tuple[str, str, str], Counter[str]] = {}
        for family, precision, gpu, outcome in self.values(SUPPORT):
            found.setdefault((family, precision, gpu), Counter())[outcome] += 1
        return found

    def missing(self) -> Counter[tuple[str, str, str]]:
        """Return how many tests were skipped for lack of a thing: by requirement, reason, way to get it."""
        return Counter(
            (str(requirement), str(reason), str(mend)) for requirement, reason, mend in self.values(MISSING)
        )
