"""What the tests of a session reported, kept until the summary tells it; light, since every session loads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_trt.report.tally import Counts

PROPERTY = "trt_tally"
SUPPORT = "trt_support"
MISSING = "trt_missing"


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
        from pytest_trt.report.tally import Counts, Tally  # only sessions with a check pay for it

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
