"""What a session tells of its goldens, in the one process that talks to the user: classes, names used twice, what is unused."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import GoldenError, TrtError
from pytest_trt.goldens import find_place
from pytest_trt.session import Session

if TYPE_CHECKING:
    from pytest_trt.golden.book import Entry
    from pytest_trt.golden.key import Key
    from pytest_trt.golden.store import Store
    from pytest_trt.report.ledger import Ledger

PROPERTY = "trt_golden"  # as golden.travel, which imports numpy
SHOWN = 12


class GoldenNews:
    """Keeps which tests ran and, at the end, tells what became of the goldens that they asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._outcomes: dict[str, str] = {}  # of each test, worst phase
        self._asks = False

    def see(self, report: pytest.TestReport) -> None:
        """Keep what became of a test."""
        self._asks = self._asks or any(name == PROPERTY for name, _ in report.user_properties)
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = report.outcome

    def tell(self, ledger: Ledger, session: pytest.Session) -> list[str]:
        """Add a section to the ledger where a golden was asked for, and return what fails the session."""
        if not self._asks:
            return []
        from pytest_trt.golden.record import MISSING
        from pytest_trt.golden.travel import read_entry
        from pytest_trt.golden.words import make_plots, make_section
        from pytest_trt.report.plain import to_text
        from pytest_trt.report.sections import SECTION
        from pytest_trt.report.sections import make_section as check_section

        asked: list[tuple[str, Entry]] = [
            (test, read_entry(value)) for test, name, value in ledger.records if name == PROPERTY
        ]
        entries = [entry for _, entry in asked]
        local = [entry for entry in entries if _is_local(entry)]
        told = [entry for entry in entries if entry not in local]
        text = []
        if local:
            text.append(
                f"{len(local)} with outputs that are not certified exact and hold on one processor: none is kept of this one"
            )
        text += self._look_around([entry.comparison.key for entry in entries], session)
        older = self._session.settings.golden_from
        title = f"Goldens of {older or 'this version'} in {find_place(self._session)}"
        if text or any(entry.comparison.outcome != MISSING or entry.written for entry in told):
            section = check_section(make_section(title, told, text))
            ledger.records.append(("of this session", SECTION, to_text(section)))
        if self._session.settings.report_dir is not None:
            ledger.records += [
                ("of this session", SECTION, to_text(check_section(made)))
                for made in make_plots(entry.comparison for entry in told)
            ]
        return _find_shared(asked)

    def _look_around(self, asked: list[Key], session: pytest.Session) -> list[str]:
        """Lines on what else is in the store: only where the whole suite ran, else little is known."""
        if self._is_narrowed(session) or "://" in find_place(self._session):
            return []
        from pytest_trt.golden.store import open_store
        from pytest_trt.golden.strangers import sort_problems

        store = open_store(find_place(self._session))
        lines = []
        try:
            wrong, _ = sort_problems(store)
            unused = self._find_unused(store, asked)
        except TrtError as error:
            return [str(error)]
        if unused:
            lines.append(
                f"unused, no test asks for them: {_listed([key.title for key in unused])}; "
                "to remove them: python -m pytest_trt golden prune --yes"
            )
        if wrong:
            lines.append(
                f"wrong in the store: {_listed([f'{name}: {words}' for name, words in sorted(wrong.items())])}"
            )
        if self._session.settings.golden_from is None:
            from pytest_trt.golden.cache import note_unused

            with suppress(OSError, GoldenError):  # a cache that cannot be written is no reason to fail
                note_unused(find_place(self._session), unused, asked, self._session.settings.cache_dir)
        return lines

    def _find_unused(self, store: Store, asked: list[Key]) -> list[Key]:
        """Goldens of this product, class and these precisions whose test ran without asking, or is there no more."""
        if self._session.settings.golden_from is not None:
            return []
        from pytest_trt.golden.outputs import name_machine

        products = {key.product.partition("+cpu-")[0] for key in asked}
        products |= {f"{product}+cpu-{name_machine()}" for product in products}
        gpus = {key.gpu for key in asked}
        files = {test.partition("::")[0] for test in self._outcomes}
        found, kept = [], store.keys()
        for key in kept:
            alike = key.product in products and key.gpu in gpus
            if (
                not alike
                or key in asked
                or key.precision.partition("+")[0] not in self._session.settings.precisions
            ):
                continue
            try:
                test = store.load(key).provenance.get("test")
            except GoldenError:
                continue  # told as damaged
            if not isinstance(test, str) or not test:
                continue
            file = test.partition("::")[0]
            if test in self._outcomes:
                is_unused = self._outcomes[test] == "passed"
            else:
                is_unused = file in files or not (self._session.config.rootpath / file).exists()
            if is_unused:
                found.append(key)
        return found

    def _is_narrowed(self, session: pytest.Session) -> bool:
        """Tell whether tests were left out of the files that ran, or the session ended early."""
        config, settings = session.config, self._session.settings
        options: list[Any] = [
            config.getoption(name, None)
            for name in ("keyword", "markexpr", "deselect", "lf", "stepwise", "collectonly")
        ]
        stopped = bool(session.shouldstop or session.shouldfail) or session.exitstatus not in (
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
        )
        chosen = any("::" in str(argument) for argument in config.args)
        return bool(any(options) or stopped or chosen or settings.claims or settings.case)


def _is_local(entry: Entry) -> bool:
    """Tell whether a golden would hold on this processor alone, and there is none."""
    from pytest_trt.golden.record import MISSING

    compared = entry.comparison
    return compared.outcome == MISSING and not entry.written and "+cpu-" in compared.key.product


def _find_shared(asked: list[tuple[str, Entry]]) -> list[str]:
    """Name goldens that several tests asked for: what one records, the other overwrites."""
    tests: dict[Key, dict[str, None]] = {}
    for test, entry in asked:
        tests.setdefault(entry.comparison.key, {})[test] = None
    return [
        f"golden {key.title} is asked for by {' and by '.join(names)}: give each its own name"
        for key, names in sorted(tests.items())
        if len(names) > 1
    ]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(names[:SHOWN]) + more
