"""The line after collection and the summary at the end, in the one process that talks to the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import TrtError
from pytest_trt.golden_news import GoldenNews
from pytest_trt.report.ledger import CLAIMS, Ledger
from pytest_trt.session import Session
from pytest_trt.xdist import NOT_RUN, is_distributing

if TYPE_CHECKING:
    from pytest_trt.report.claims import ClaimBook
    from pytest_trt.reporting import Reporter


def place_of(session: Session) -> str:
    """Return who ran the tests of a session, as which GPU, and who built.

    Raises
    ------
    RuntimeMissingError, SettingsError
        The runtime or GPU that was asked for cannot be had.
    """
    discovery = session.discovery
    builder = discovery.builder
    built = "" if builder is None or builder is discovery.executor else f"; {builder.title} builds"
    return f"{discovery.label}, {session.gpu.name}{built}"


class Summary:
    """Collects what the reports of tests carry; registered where there is no xdist worker."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ledger = Ledger()
        self.told = False
        self.line = ""
        self.reporter: Reporter | None = None
        self.claims: ClaimBook | None = None
        self.goldens = GoldenNews(session)

    def pytest_configure(self, config: pytest.Config) -> None:
        """Have a report written where one is asked for."""
        folder = self.session.settings.report_dir
        if folder is not None:
            from pytest_trt.reporting import Reporter

            self.reporter = Reporter(self.session, self.ledger, Path(folder))
            config.pluginmanager.register(self.reporter, "trt-report")

    def describe(self) -> str:
        """Return the line that says what runs.

        Raises
        ------
        RuntimeMissingError, SettingsError
            The runtime that was asked for cannot be had.
        """
        from pytest_trt.report.terminal import describe_session

        self.told = True
        return describe_session(self.session.settings, self.session.gpu, self.session.discovery)

    def pytest_sessionstart(self) -> None:
        """Under xdist, find what was asked for and cannot be had before the workers start."""
        if self.session.asked and is_distributing(self.session.config):
            try:
                self.line = self.describe()
            except TrtError as error:
                raise pytest.UsageError(str(error)) from None

    def pytest_report_collectionfinish(self) -> list[str]:
        """Say what will run, if a collected test uses us or an option of ours was given."""
        listing = (
            self.session.config.getoption("collectonly") and self.session.config.getoption("verbose") < 0
        )
        if listing or not (self.session.asked or self.session.not_run.uses):
            return []
        try:
            return [self.describe()]
        except TrtError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Say what will run, under xdist, where the controller collects nothing itself."""
        reporter: Any = self.session.config.pluginmanager.get_plugin("terminalreporter")
        line, self.line = self.line, ""
        if line and reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test reported, in its call or around it."""
        self.ledger.add(report.nodeid, report.user_properties, getattr(report, "worker_id", ""))
        self.goldens.see(report)
        if any(name == CLAIMS for name, _ in report.user_properties):
            if self.claims is None:
                from pytest_trt.report.claims import ClaimBook  # only sessions with a claim pay for it

                self.claims = ClaimBook()
            self.claims.add(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what an xdist worker counted."""
        self.ledger.note_not_run((getattr(node, "workeroutput", None) or {}).get(NOT_RUN, {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a passing session that has problems of its own."""
        self.ledger.note_not_run(self.session.not_run.to_plain())
        self._tell_claims()
        shared = self.goldens.tell(self.ledger, session)
        hook = session.config.hook
        found: Sequence[Sequence[str] | None] = hook.pytest_trt_make_problems(
            config=session.config, records=tuple(self.ledger.records)
        )
        self.ledger.problems = [*shared, *(text for texts in found if texts for text in texts)]
        hook.pytest_trt_update_problems(
            config=session.config, problems=self.ledger.problems, facts=dict(self.ledger.not_run)
        )
        if self.ledger.problems and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _tell_claims(self) -> None:
        """Add what became of claims and bugs to the summary, and keep it as the last result of this place."""
        if self.claims is None:
            return
        from pytest_trt.report import claims
        from pytest_trt.report.plain import to_text
        from pytest_trt.report.sections import SECTION, make_section

        try:
            where, executor = place_of(self.session), self.session.discovery.executor
        except TrtError:  # each test that needed it has failed with the same words
            return
        results = self.claims.results(emulated=executor is not None and bool(executor.emulated))
        section = to_text(make_section(claims.make_section(results, where)))
        self.ledger.records.append(("of this session", SECTION, section))
        if self.session.settings.faults:
            return  # a TensorRT that was made wrong says nothing about any other
        from datetime import datetime, timezone

        from pytest_trt.runtime.plans import default_folder

        folder = self.session.settings.cache_dir
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        try:
            claims.store(results, Path(folder) if folder else default_folder(), where, when)
        except OSError:
            return  # a cache that cannot be written is no reason to fail

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell what was checked, how strictly, and what was not; nothing without news or under -q."""
        config = self.session.config
        news = bool(self.ledger.records or self.ledger.problems)
        news = news or bool(
            self.ledger.not_run.get("deselected") or self.ledger.not_run.get("not_applicable")
        )
        verbose = config.getoption("verbose")
        written = None if self.reporter is None else self.reporter.written
        if verbose < 0 or not (news or written):
            return
        from pytest_trt.report.terminal import ROWS, TITLE, summarise

        terminalreporter.write_sep("=", TITLE)
        if not self.told:
            try:
                terminalreporter.write_line(self.describe())
            except TrtError as error:  # each test that needed it has failed with the same words
                terminalreporter.write_line(f"trt: {error}")
        builder = self.session.discovery.builder if self.ledger.support() else None
        names = (builder.title,) if builder is not None else ()
        rows = None if verbose > 0 else ROWS
        for line in summarise(self.ledger, self.session.gpu.name, *names, rows=rows):
            terminalreporter.write_line(line, red=line.startswith("problem: "))
        if written is not None:
            terminalreporter.write_line(f"report: {written}")
