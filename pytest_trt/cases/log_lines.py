"""The table of known log lines (`log_lines.toml`): warnings and errors of TensorRT that say nothing against a call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pytest_trt.cases.versions import is_within
from pytest_trt.errors import SettingsError
from pytest_trt.records import LogLine
from pytest_trt.toml import parse_toml

SEVERITIES = ("INTERNAL_ERROR", "ERROR", "WARNING")
_FIELDS = {"product", "since", "until", "severity", "pattern", "reason", "source"}


@dataclass(frozen=True)
class KnownLine:
    """One row of the table.

    Attributes
    ----------
    name : str
        Stable, unique.
    product, since, until : str
        `tensorrt` or `tensorrt_rtx`; the first version with the line that was seen, and the first without it (empty: none).
    severity : str
        The worst severity that the row excuses.
    pattern : re.Pattern
        Is searched for in the line.
    reason, source : str
        Why the line is harmless, and where it was seen.
    """

    name: str
    product: str
    since: str
    until: str
    severity: str
    pattern: re.Pattern[str]
    reason: str
    source: str

    def applies(self, product: str, version: str) -> bool:
        """Return whether the row speaks of this TensorRT."""
        return self.product == product and is_within(version, self.since, self.until)

    def excuses(self, line: LogLine) -> bool:
        """Return whether the line is one that the row knows."""
        mild = SEVERITIES.index(self.severity) <= SEVERITIES.index(line.severity)
        return mild and self.pattern.search(line.text) is not None


@cache
def table() -> tuple[KnownLine, ...]:
    """Return all rows, sorted by name.

    Raises
    ------
    SettingsError
        The file is wrong: fields, order, a severity or a pattern.
    """
    path = Path(__file__).with_suffix(".toml")
    rows = parse_toml(path.read_text(encoding="utf-8"))
    if list(rows) != sorted(rows):
        raise SettingsError(f"{path.name} is not sorted", why=f"its rows are {', '.join(rows)}")
    found = []
    for name, row in rows.items():
        if set(row) != _FIELDS or row["severity"] not in SEVERITIES or not row["reason"]:
            raise SettingsError(f"{path.name}, row {name!r}: fields or severity are wrong", why=repr(row))
        found.append(
            KnownLine(**{**row, "name": name, "pattern": compile_pattern(row["pattern"], path.name)})
        )
    return tuple(found)


def known_lines(played: Iterable[tuple[str, str]]) -> tuple[KnownLine, ...]:
    """Return the rows that speak of any of these TensorRTs, each given as product and version."""
    pairs = tuple(played)
    return tuple(row for row in table() if any(row.applies(*pair) for pair in pairs))


def compile_pattern(text: str, where: str) -> re.Pattern[str]:
    """Return a regular expression.

    Raises
    ------
    SettingsError
        It is none, or it is empty and would excuse everything.
    """
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise SettingsError(f"{where}: {text!r} is no regular expression: {error}") from None
    if pattern.search(""):
        raise SettingsError(f"{where}: {text!r} matches every line", mend="name words of the line")
    return pattern
