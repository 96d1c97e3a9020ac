"""What became of each test: the reports of its phases, put together."""

from __future__ import annotations

from typing import Any

PASSED, FAILED, ERROR, SKIPPED, XFAILED, XPASSED = (
    "passed",
    "failed",
    "error",
    "skipped",
    "xfailed",
    "xpassed",
)
UNFINISHED = "unfinished"  # the session ended before the test did
OUTCOMES = (FAILED, ERROR, PASSED, SKIPPED, XFAILED, XPASSED, UNFINISHED)
BAD = (FAILED, ERROR)
LONGEST = 20_000  # characters of a traceback that are kept

# A later phase replaces what an earlier one said only if it is worse: a test that failed stays failed.
_RANK = (UNFINISHED, SKIPPED, XFAILED, XPASSED, PASSED, ERROR, FAILED)


class Ran:
    """One test, from the first of its phases to the last.

    Attributes
    ----------
    test : str
        Its id.
    outcome : str
        One of `OUTCOMES`.
    seconds : float
        Of all its phases.
    reason : str
        Why it was skipped or expected to fail.
    troubles : list of dict
        For each phase that failed: `when`, `words` (one line), `text` (as pytest prints it).
    """

    def __init__(self, test: str) -> None:
        self.test = test
        self._start()

    def _start(self) -> None:
        self.outcome = UNFINISHED
        self.seconds = 0.0
        self.reason = ""
        self.troubles: list[dict[str, str]] = []
        self._over = False

    def add(self, report: Any) -> None:
        """Take the report of one phase (a `pytest.TestReport`); a test that starts again is counted anew."""
        if self._over:
            self._start()
        self.seconds += report.duration
        self._over = report.when == "teardown"
        outcome = classify(report)
        if outcome is None:
            return
        if _RANK.index(outcome) > _RANK.index(self.outcome):
            self.outcome = outcome
        if outcome in BAD:
            text = report.longreprtext
            self.troubles.append({"when": report.when, "words": find_words(report), "text": shorten(text)})
        elif outcome != PASSED:
            self.reason = self.reason or find_reason(report)


def classify(report: Any) -> str | None:
    """Return what one phase of a test means for the test, None where it means nothing yet."""
    expected = hasattr(report, "wasxfail")
    if report.outcome == "failed":
        return FAILED if report.when == "call" else ERROR
    if report.outcome == "skipped":
        return XFAILED if expected else SKIPPED
    if report.outcome == "passed" and report.when == "call":
        return XPASSED if expected else PASSED
    return None


def find_words(report: Any) -> str:
    """Return the first line of what failed."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = [line for line in str(getattr(crash, "message", "")).splitlines() if line.strip()]
    if lines:
        return lines[0].strip()
    lines = [line for line in report.longreprtext.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no words"


def find_reason(report: Any) -> str:
    """Return why a test was skipped or expected to fail."""
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    longrepr = report.longrepr
    words = str(longrepr[2]) if isinstance(longrepr, tuple) else report.longreprtext
    return words.removeprefix("Skipped: ").strip()


def shorten(text: str) -> str:
    """Return a text without its middle where it is long; what is left out is counted."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
