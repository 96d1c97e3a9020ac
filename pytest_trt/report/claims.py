"""What became of the claims of the FAQ and of the public bugs: by test, by claim, and as it was the last time."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.report.files import write_files
from pytest_trt.report.ledger import CLAIMS, FIDELITY
from pytest_trt.report.outcomes import BAD, PASSED, SKIPPED, XFAILED, XPASSED, Ran

SCHEMA = 1
FOLDER = "claims"
INAPPLICABLE = "not applicable"

# What becomes of a claim, and of a bug, worst first.
BROKEN, HOLDS, KNOWN, NOT_RUN = "broken", "holds", "known failure", "not run"
PRESENT, NOT_SEEN, FIXED = "present", "not seen", "fixed"
PASSES = "passes"  # a bug's test on the emulator: that says nothing about any TensorRT
OUTCOMES = (BROKEN, PRESENT, KNOWN, NOT_RUN, INAPPLICABLE, NOT_SEEN, PASSES, FIXED, HOLDS)
STAND_IN = "stand-in"


@dataclass
class Result:
    """What became of one claim or bug in one session.

    Attributes
    ----------
    name : str
        `faq-7`, `B02`.
    tests : Counter of str
        Tests by outcome: `passed`, `failed`, `not applicable`, `skipped`, `known failure`.
    words : str
        Why it is broken or was not run, where it is or was.
    stand_in : bool
        No test of it came nearer to the report than a stand-in.
    emulated : bool
        The emulator ran, and no TensorRT.
    """

    name: str
    tests: Counter[str] = field(default_factory=Counter)
    words: str = ""
    stand_in: bool = True
    emulated: bool = False

    @property
    def is_bug(self) -> bool:
        """True for a bug, False for a claim of the FAQ."""
        return not self.name.startswith("faq-")

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        if self.tests["failed"]:
            return PRESENT if self.is_bug else BROKEN
        if self.tests[PASSED]:
            if not self.is_bug:
                return HOLDS
            return PASSES if self.emulated else NOT_SEEN if self.stand_in else FIXED
        if self.tests[KNOWN]:
            return KNOWN
        return INAPPLICABLE if self.tests[INAPPLICABLE] and not self.tests[SKIPPED] else NOT_RUN


class ClaimBook:
    """Collects the reports of tests that check a claim or a bug."""

    def __init__(self) -> None:
        self._ran: dict[tuple[str, str], tuple[Ran, tuple[str, ...], str]] = {}

    def add(self, report: Any) -> None:
        """Take the report of one phase of a test; those of other tests are not kept."""
        told = dict(report.user_properties)
        names = told.get(CLAIMS)
        if not names:
            return
        key = (report.nodeid, getattr(report, "worker_id", ""))
        ran = self._ran[key][0] if key in self._ran else Ran(report.nodeid)
        ran.add(report)
        self._ran[key] = (ran, tuple(names), str(told.get(FIDELITY, "")))

    def results(self, emulated: bool = False) -> dict[str, Result]:
        """Return what became of each claim and bug, the FAQ first, each sorted by number.

        `emulated`: the emulator ran the tests.
        """
        found: dict[str, Result] = {}
        for ran, names, fidelity in self._ran.values():
            kind = _kind(ran)
            for name in names:
                result = found.setdefault(name, Result(name, emulated=emulated))
                result.tests[kind] += 1
                result.stand_in &= fidelity == STAND_IN
                if kind == "failed":
                    result.words = ran.troubles[0]["words"] if ran.troubles else "failed"
                elif kind != PASSED and not result.words:
                    result.words = ran.reason
        for result in found.values():
            if result.outcome in (HOLDS, FIXED, PASSES, NOT_SEEN):
                result.words = ""
        return dict(sorted(found.items(), key=lambda item: sort_key(item[0])))


def _kind(ran: Ran) -> str:
    if ran.outcome in BAD:
        return "failed"
    if ran.outcome == SKIPPED:
        return INAPPLICABLE if INAPPLICABLE in ran.reason else SKIPPED
    return {PASSED: PASSED, XFAILED: KNOWN, XPASSED: PASSED}.get(ran.outcome, SKIPPED)


def sort_key(name: str) -> tuple[int, int, str]:
    """Return where a claim stands: the FAQ by number, then bugs by name."""
    number = name.partition("-")[2]
    return (0, int(number), "") if name.startswith("faq-") and number.isdigit() else (1, 0, name)


def count_words(results: Iterable[Result]) -> list[str]:
    """Return a line for the FAQ and a line for the bugs, of those that there are."""
    lines = []
    for bugs, title in ((False, "FAQ claims"), (True, "public bugs")):
        counts = Counter(result.outcome for result in results if result.is_bug == bugs)
        if counts:
            words = ", ".join(f"{outcome} {counts[outcome]}" for outcome in OUTCOMES if counts[outcome])
            lines.append(f"{title}: {words}")
    return lines


def make_section(results: Mapping[str, Result], where: str) -> dict[str, Any]:
    """Return the section of the summary and the report: counts, and what does not hold first."""
    rows = sorted(results.values(), key=lambda each: (OUTCOMES.index(each.outcome), sort_key(each.name)))
    return {
        "title": f"Claims and known bugs, {where}",
        "text": count_words(results.values()),
        "head": ["claim", "outcome", "tests", "why"],
        "rows": [[r.name, r.outcome, sum(r.tests.values()), r.words[:160]] for r in rows],
    }


def store(results: Mapping[str, Result], folder: Path, where: str, when: str) -> Path:
    """Keep the results as the last ones of this place; those of claims that were not asked for stay.

    Parameters
    ----------
    folder : Path
        The cache; the file goes to `claims` in it.
    where : str
        Who ran, and as which GPU: one file each.
    when : str
        ISO 8601.
    """
    target = folder / FOLDER / f"{re.sub(r'[^A-Za-z0-9.]+', '-', where).strip('-')[:80]}-{_short(where)}.json"
    known = _read(target) or {"results": {}}
    kept = known["results"] | {
        result.name: {
            "outcome": result.outcome,
            "tests": dict(sorted(result.tests.items())),
            "words": result.words,
            "when": when,
        }
        for result in results.values()
    }
    body = {
        "schema": SCHEMA,
        "where": where,
        "results": dict(sorted(kept.items(), key=lambda i: sort_key(i[0]))),
    }
    write_files(target.parent, {target.name: json.dumps(body, indent=1) + "\n"})
    return target


def load(folder: Path) -> list[dict[str, Any]]:
    """Return what `store` kept, by place, sorted; files that are not ours are passed over."""
    found = [_read(path) for path in sorted((folder / FOLDER).glob("*.json"))]
    return sorted((book for book in found if book is not None), key=lambda book: str(book["where"]))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    good = isinstance(book, dict) and book.get("schema") == SCHEMA and isinstance(book.get("results"), dict)
    return book if good and isinstance(book.get("where"), str) else None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
