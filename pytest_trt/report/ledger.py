"""What the tests of a session reported, kept until the summary tells it; light, since every session loads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_trt.report.tally import Counts, Tally

PROPERTY = "trt_tally"
SUPPORT = "trt_support"
MISSING = "trt_missing"
CLAIMS = "trt_claims"  # names of the claims and bugs that a test checks
FIDELITY = "trt_fidelity"  # how near the test of a bug comes to the report


class Ledger:
    """All that the tests of a session reported, and what of it the summary tells."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str, Any]] = []
        self.not_run: dict[str, Any] = {}
        self.problems: list[str] = []
        self._seen: dict[tuple[str, str], list[Any]] = {}
        self._tallies: dict[tuple[str, str], str] = {}

    def add(self, test: str, properties: Any, run: str = "") -> None:
        """Keep the entries of a report's `user_properties` that are ours, each once.

        The reports of a test's phases repeat the entries of those before. `run` tells apart the runs of one test in
        several processes.
        """
        key = (test, run)
        seen = self._seen.get(key, [])
        entries = list(properties)
        fresh = entries[len(seen) :] if entries[: len(seen)] == seen else entries
        if entries:
            self._seen[key] = entries
        for name, value in fresh:
            if not str(name).startswith("trt_"):
                continue
            self.records.append((test, name, value))
            if name == PROPERTY:
                self._tallies[key] = value  # counts go on: the last entry of a test has all of them

    def note_not_run(self, plain: Mapping[str, Any]) -> None:
        """Keep what a process did not run; xdist's workers collect the same tests: none is added up."""
        if plain.get("uses", 0) >= self.not_run.get("uses", 0):
            self.not_run = dict(plain)

    def values(self, name: str) -> list[Any]:
        """Return the values of all records of one name."""
        return [value for _, kind, value in self.records if kind == name]

    def tallies_of_tests(self) -> list[tuple[str, Tally]]:
        """Return what the checks of each test saw, in the order of the tests."""
        from pytest_trt.report.tally import Tally  # only sessions with a check pay for it

        return [(test, Tally.from_text(text)) for (test, _), text in self._tallies.items()]

    def tallies(self) -> dict[tuple[str, str], Counts]:
        """Return the counts by test function and precision, in the order of the tests."""
        found: dict[tuple[str, str], Counts] = {}
        for _, tally in self.tallies_of_tests():
            for precision, counts in tally.by_precision.items():
                known = found.get((tally.test, precision))
                if known is None:
                    found[tally.test, precision] = counts
                else:
                    known.merge(counts)
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

    def sections(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the sections that tests attached, each with its test, by test and in the order of attaching."""
        from pytest_trt.report.sections import SECTION, read_section

        found = [(test, read_section(value)) for test, name, value in self.records if name == SECTION]
        return sorted(found, key=lambda pair: pair[0])

    def failures(self) -> dict[str, list[dict[str, Any]]]:
        """Return the errors of ours that ended tests, with their verdicts, by test."""
        from pytest_trt.report.failures import FAILURE, read_failure

        found: dict[str, list[dict[str, Any]]] = {}
        for test, name, value in self.records:
            plain = read_failure(value) if name == FAILURE else None
            if plain is not None:
                found.setdefault(test, []).append(plain)
        return found
