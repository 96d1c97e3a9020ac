"""`--trt-report`: keeps what became of each test and writes the report at the end; only where the option is given."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote

import pytest

from pytest_trt.errors import TrtError
from pytest_trt.options import OPTIONS
from pytest_trt.report import files, html
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.outcomes import Ran
from pytest_trt.session import Session


class Reporter:
    """Writes the report; registered in the one process that talks to the user."""

    def __init__(self, session: Session, ledger: Ledger, folder: Path) -> None:
        self.session = session
        self.ledger = ledger
        self.folder = folder
        self.written: Path | None = None
        self.ran = False
        self.collection: list[dict[str, str]] = []
        self._tests: dict[tuple[str, str], Ran] = {}
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._clock = time.perf_counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse a folder that cannot be written, and a report without what writes it, before any test runs."""
        try:
            html.need_jinja2()
            files.check_folder(self.folder)
        except TrtError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Keep that tests were to run: a session may only list them, or fixtures."""
        self.ran = not session.config.getoption("collectonly")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected; xdist's workers all tell it."""
        if report.failed:
            text = report.longreprtext
            words = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no words")
            told = {"where": report.nodeid, "words": words, "text": text}
            if told not in self.collection:
                self.collection.append(told)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what became of a test."""
        key = (report.nodeid, getattr(report, "worker_id", ""))
        if key not in self._tests:
            self._tests[key] = Ran(report.nodeid)
        self._tests[key].add(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the report, unless nothing asked for us; one that cannot be written is a problem of the session."""
        uses = self.session.asked or self.ledger.not_run.get("uses") or self.ledger.records
        if not (uses and self.ran):
            return
        try:
            self._write(session)
        except OSError as error:
            words = f"the report cannot be written to {str(self.folder)!r}: {type(error).__name__}: {error}"
            self.ledger.problems.append(words)
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, session: pytest.Session) -> None:
        from pytest_trt.report import markdown
        from pytest_trt.report.document import make_document, write_json

        status = pytest.ExitCode(session.exitstatus) if session.exitstatus in list(pytest.ExitCode) else None
        document = make_document(
            self._facts(),
            list(self._tests.values()),
            self.ledger,
            started=self._started,
            seconds=time.perf_counter() - self._clock,
            exit_status=(int(session.exitstatus), "another status" if status is None else status.name),
            replay=replay_options(session.config.invocation_params.args, os.environ, self._seed()),
            collection=sorted(self.collection, key=lambda told: told["where"]),
        )
        files.write_files(
            self.folder,
            {
                files.JSON: write_json(document),
                files.MARKDOWN: markdown.render(document),
                files.HTML: html.render(document),
            },
        )
        self.written = self.folder / files.HTML

    def _facts(self) -> dict[str, object]:
        from pytest_trt.report.facts import describe_facts
        from pytest_trt.report.terminal import describe_session

        settings = self.session.settings
        try:
            gpu, discovery = self.session.gpu, self.session.discovery
        except TrtError as error:  # each test that needed it has failed with the same words
            return describe_facts(settings, None, None, f"trt: {error}")
        return describe_facts(settings, gpu, discovery, describe_session(settings, gpu, discovery))

    def _seed(self) -> int | None:
        return self.session.settings.seed if "seed" in self.session.settings.given else None


def replay_options(args: Sequence[str], environ: Mapping[str, str], seed: int | None) -> str:
    """Return the options of ours that a run was given, for the command that repeats one of its tests.

    Parameters
    ----------
    args : sequence of str
        The command line.
    environ : mapping of str to str
        Its variables count where the command line says nothing.
    seed : int or None
        What was drawn from: `random` draws another one next time. None: it was not given.
    """
    flags = {option.flag: option for option in OPTIONS}
    given: dict[str, list[str]] = {}
    words = iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in flags:
            given.setdefault(flag, []).append(value if equals else next(words, ""))
    for option in OPTIONS:
        if option.flag not in given and environ.get(option.variable, "").strip():
            given[option.flag] = [environ[option.variable]]
    given.pop("--trt-report", None)
    if seed is not None:
        given["--trt-seed"] = [str(seed)]
    return " ".join(quote(f"{flag}={value}") for flag in sorted(given) for value in given[flag])
