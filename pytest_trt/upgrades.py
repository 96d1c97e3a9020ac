"""The report of an upgrade, told once, at the end of a session whose goldens are those of another version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import GoldenError
from pytest_trt.session import Session, session_of

if TYPE_CHECKING:
    from pytest_trt.golden.book import Entry
    from pytest_trt.golden.key import Key
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


def tell(session: Session, ledger: Ledger) -> list[str]:
    """Tell of an upgrade where goldens of another version were compared with, and return what is wrong with that.

    Its sections go to the ledger and, with `--trt-report`, files beside the report: `upgrade.md` and `upgrade.json`.
    """
    changes = collect(session, ledger) if session.settings.golden_from is not None else []
    if not changes:
        return []
    from pytest_trt.golden.upgrade import make_report
    from pytest_trt.golden.upgrade_words import make_sections, render_markdown
    from pytest_trt.report.files import write_files
    from pytest_trt.report.plain import to_text
    from pytest_trt.report.sections import SECTION, make_section

    report = make_report(changes)
    for section in make_sections(report):
        ledger.records.append(("of this session", SECTION, to_text(make_section(section))))
    folder = session.settings.report_dir
    if folder is not None:
        text = json.dumps(report, indent=1, sort_keys=True) + "\n"
        try:
            write_files(Path(folder), {JSON: text, MARKDOWN: render_markdown(report)})
        except OSError as error:
            words = f"{type(error).__name__}: {error}"
            return [f"the report of the upgrade cannot be written to {str(folder)!r}: {words}"]
    return []


def collect(session: Session, ledger: Ledger) -> list[Change]:
    """Return the changes that the tests of a session told, each golden once; a missing one is none."""
    from pytest_trt.golden.record import MISSING
    from pytest_trt.golden.travel import read_entry
    from pytest_trt.golden.upgrade import Change

    told = {one.comparison.key: one for one in map(Change.from_text, ledger.values(PROPERTY))}
    entries = [read_entry(text) for text in ledger.values(GOLDEN)]
    alone = [one for one in entries if one.comparison.key not in told and one.comparison.outcome != MISSING]
    if alone:
        then, now = _places(session, [entry.comparison.other for entry in alone])
        for entry in alone:
            place = then.get(entry.comparison.other, {})
            told[entry.comparison.key] = Change(entry, from_place=place, to_place=now)
    return [one for one in told.values() if one.comparison.outcome != MISSING]


def _places(session: Session, keys: list[Key]) -> tuple[dict[Key, Mapping[str, Any]], Mapping[str, Any]]:
    """Return where older goldens come from, as their files say, and where today's outputs come from."""
    from pytest_trt.golden.outputs import describe_runtime
    from pytest_trt.golden.store import open_store
    from pytest_trt.goldens import find_place

    store = open_store(find_place(session))
    found: dict[Key, Mapping[str, Any]] = {}
    for key in keys:
        with suppress(GoldenError):  # the comparison says that it is damaged
            found[key] = store.load(key).provenance
    runtime = session.discovery.executor
    return found, {} if runtime is None else describe_runtime(runtime)


class Upgrades:
    """Tells the report of an upgrade at the end, before the report of the session is written."""

    def pytest_trt_make_problems(self, config: pytest.Config) -> list[str]:
        """Tell it in the process that talks to the user; a report that cannot be written fails the session."""
        summary: Any = config.pluginmanager.get_plugin("trt-summary")
        return [] if summary is None else tell(session_of(config), summary.ledger)


def register(config: pytest.Config) -> None:
    """Register what tells it, once."""
    if not config.pluginmanager.has_plugin("trt-upgrades"):
        config.pluginmanager.register(Upgrades(), "trt-upgrades")
