"""The report of an upgrade, told once, at the end of a session whose goldens are those of another version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.session import Session, session_of

if TYPE_CHECKING:
    from pytest_trt.golden.book import Entry
    from pytest_trt.golden.record import Golden
    from pytest_trt.golden.upgrade import Change
    from pytest_trt.report.ledger import Ledger

PROPERTY = "trt_upgrade"  # as golden.upgrade, which imports numpy
GOLDEN = "trt_golden"  # as golden.travel: comparisons that nobody told more about
JSON, MARKDOWN = "upgrade.json", "upgrade.md"


def note_change(item: pytest.Item, entry: Entry, then: Golden | None, now: Golden) -> None:
    """Put on a test's report what a golden of today is beside an older one; `then` is None where there was none."""
    from pytest_trt.golden.upgrade import Change

    item.user_properties.append((PROPERTY, Change.of(entry, then, now).to_text()))


def tell(session: Session, ledger: Ledger) -> dict[str, Any] | None:
    """Return the document of an upgrade, None where no golden of another version was compared with.

    Its sections go to the ledger and, with `--trt-report`, files beside the report: `upgrade.md` and `upgrade.json`.
    """
    if session.settings.golden_from is None:
        return None
    from pytest_trt.golden.upgrade import make_report
    from pytest_trt.golden.upgrade_words import make_sections, render_markdown
    from pytest_trt.report.files import write_files
    from pytest_trt.report.plain import to_text
    from pytest_trt.report.sections import SECTION, make_section

    changes = collect(ledger)
    if not changes:
        return None
    report = make_report(changes)
    for section in make_sections(report):
        ledger.records.append(("of this session", SECTION, to_text(make_section(section))))
    folder = session.settings.report_dir
    if folder is not None:
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        try:
            write_files(Path(folder), {JSON: text, MARKDOWN: render_markdown(report)})
        except OSError as error:
            ledger.problems.append(f"the report of the upgrade cannot be written to {folder!r}: {error}")
    return report


def collect(ledger: Ledger) -> list[Change]:
    """Return the changes that the tests of a session told, each golden once; a missing one is none."""
    from pytest_trt.golden.record import MISSING
    from pytest_trt.golden.travel import read_entry
    from pytest_trt.golden.upgrade import Change

    told = {one.comparison.key: one for one in map(Change.from_text, ledger.values(PROPERTY))}
    for text in ledger.values(GOLDEN):
        entry = read_entry(text)
        told.setdefault(entry.comparison.key, Change(entry))
    return [one for one in told.values() if one.comparison.outcome != MISSING]


class Upgrades:
    """Tells the report of an upgrade at the end; registered where there is no xdist worker."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell it before the report of the session is written, which is last."""
        summary: Any = session.config.pluginmanager.get_plugin("trt-summary")
        if summary is not None:
            tell(session_of(session.config), summary.ledger)


def pytest_configure(config: pytest.Config) -> None:
    """Register what tells it, once."""
    if not config.pluginmanager.has_plugin("trt-upgrades"):
        config.pluginmanager.register(Upgrades(), "trt-upgrades")
