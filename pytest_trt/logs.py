"""What TensorRT said goes to the test that runs: on its report where it fails, held against the known lines where it passes."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_trt.errors import SettingsError, TrtError
from pytest_trt.session import Session, session_of

if TYPE_CHECKING:
    import re

    from pytest_trt.marks import LogMark
    from pytest_trt.records import LogLine
    from pytest_trt.runtime.kept import KeptLog
    from pytest_trt.runtime.load import Discovery

PLUGIN = "trt-logs"
PROPERTY = "trt_log"  # on a test's `user_properties`: how many unexpected lines of each severity, as JSON
SECTION = "TensorRT log"
ALLOW, FAIL = "trt_log_allow", "trt_log_fail"
FAILS = ("WARNING", "ERROR", "off")
MARKER = "trt_log"
MOST_SHOWN = 5
MOST_NOTED = 500


def add_options(parser: pytest.Parser) -> None:
    """Register the ini keys."""
    parser.addini(
        ALLOW, "regular expressions of TensorRT log lines that are expected, one a line", "linelist"
    )
    parser.addini(
        FAIL,
        "which unexpected lines of TensorRT's log fail a test that passes: WARNING, ERROR, off; default: errors of calls "
        "that succeeded",
        "string",
    )


class Policy(NamedTuple):
    """What is held against the log of one test.

    Attributes
    ----------
    allow : tuple of re.Pattern
        Lines that are expected.
    fail : str
        A member of `FAILS`.
    is_strict : bool
        Somebody asked for `fail`: lines outside of the adapter's calls count as well.
    """

    allow: tuple[re.Pattern[str], ...] = ()
    fail: str = "ERROR"
    is_strict: bool = False


class TestLog:
    """The log of one test: what is kept of it, and the warnings and errors that may be unexpected."""

    __test__ = False

    def __init__(self) -> None:
        from pytest_trt.runtime.kept import KeptLog

        self.kept: KeptLog = KeptLog()
        self.of_calls: list[LogLine] = []
        self.stray: list[LogLine] = []

    def unexpected(self, policy: Policy, known: Iterable[Any] = ()) -> list[LogLine]:
        """Return the warnings and errors that neither the policy nor a known line excuses.

        Those of calls that succeeded, and under a strict policy those outside of calls.
        """
        rows = tuple(known)
        lines = [*self.of_calls, *(self.stray if policy.is_strict else ())]
        return [
            line
            for line in lines
            if not any(pattern.search(line.text) for pattern in policy.allow)
            and not any(row.excuses(line) for row in rows)
        ]


KEY = pytest.StashKey[TestLog]()


class Logs:
    """The plugin: hears TensorRT's loggers from the first use of a runtime on."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._end: Callable[[], None] | None = None
        self._said: tuple[LogMark, ...] | None = None

    # What TensorRT says (a `runtime.log.Listener`).

    def _log(self) -> TestLog | None:
        running = self.session.running
        return None if running is None else running.item.stash.setdefault(KEY, TestLog())

    def hear(self, line: LogLine) -> None:
        """Keep a line for the test that runs, whichever thread it comes from."""
        log = self._log()
        if log is not None:
            log.kept.add(line)

    def note_call(self, lines: Sequence[LogLine]) -> None:
        """Keep the warnings and errors of a call that succeeded."""
        log = self._log()
        if log is not None:
            log.of_calls = [*log.of_calls, *filter(is_loud, lines)][:MOST_NOTED]

    def note_stray(self, line: LogLine) -> None:
        """Keep a warning or an error that came outside of the adapter's calls."""
        log = self._log()
        if log is not None and is_loud(line):
            log.stray = [*log.stray, line][:MOST_NOTED]

    # Hooks.

    def pytest_trt_update_discovery(self, discovery: Discovery) -> None:
        """Begin to listen: before this there is no runtime of ours to hear."""
        if self._end is None:
            from pytest_trt.runtime.log import listen

            self._end = listen(self)

    def pytest_unconfigure(self) -> None:
        """Listen no more."""
        if self._end is not None:
            self._end()
            self._end = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self) -> None:
        """Refuse wrong ini keys, before anything runs; markers are read with all others."""
        try:
            _ = self.said
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test that passed although TensorRT said what nobody expected."""
        result = yield
        log = item.stash.get(KEY, None)
        if log is not None and (log.of_calls or log.stray):
            self.judge(item, log)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the log on the report of a phase that failed."""
        report = yield
        log = item.stash.get(KEY, None)
        if log is not None and report.failed:
            text = log.kept.text(self.session.settings.log)
            if text:
                report.sections.append((SECTION, text))
        return report

    # Judgement.

    @property
    def said(self) -> tuple[LogMark, ...]:
        """What the ini keys say; nothing where none is given.

        Raises
        ------
        SettingsError
            An ini key has a wrong value.
        """
        if self._said is None:
            fail = str(self.session.config.getini(FAIL) or "").strip()
            allow = [str(text) for text in self.session.config.getini(ALLOW)]
            self._said = (read_log(allow, fail, "ini key"),) if fail or allow else ()
        return self._said

    def judge(self, item: pytest.Item, log: TestLog) -> None:
        """Count the unexpected lines of a test that passed, and fail it where the policy says so."""
        from pytest_trt.cases.log_lines import known_lines

        found = self.session.discovery
        played = [rt.plays.rpartition("-") for rt in (found.executor, found.builder) if rt is not None]
        running = self.session.running
        marks = None if running is None else running.marks
        policy = make_policy((*self.said, *reversed(() if marks is None else marks.log)))
        lines = log.unexpected(policy, known_lines((product, version) for product, _, version in played))
        if not lines:
            return
        errors = [line for line in lines if line.severity != "WARNING"]
        counts = {"errors": len(errors), "warnings": len(lines) - len(errors)}
        item.user_properties.append((PROPERTY, json.dumps(counts)))
        against = {"off": [], "ERROR": errors, "WARNING": lines}[policy.fail]
        if against:
            pytest.fail(explain(against, policy), pytrace=False)


def is_loud(line: LogLine) -> bool:
    """Return whether a line is a warning or worse."""
    return line.severity in ("INTERNAL_ERROR", "ERROR", "WARNING")


def explain(lines: Sequence[LogLine], policy: Policy) -> str:
    """Return the message of a test that fails by its log."""
    texts = list(dict.fromkeys(f"[{line.severity}] {line.text.strip()}" for line in lines))
    kind = "line" if policy.fail == "WARNING" else "error"
    where = "nobody expected" if policy.is_strict else "nobody expected, in calls that succeeded"
    first = texts[0].partition("\n")[0]
    more = [f"and {len(texts) - MOST_SHOWN} more"] if len(texts) > MOST_SHOWN else []
    number = f"{len(lines)} {kind}{'s' if len(lines) > 1 else ''}"
    return str(
        TrtError(
            f"trt: TensorRT logged {number} that {where}: {first}",
            why=[*texts[:MOST_SHOWN], *more],
            mend=f"where a line is harmless: @pytest.mark.{MARKER}(allow=[...]) on the test, or the ini key {ALLOW}",
        )
    )


def read_log(allow: Iterable[str], fail: str, where: str) -> LogMark:
    """Return what a marker or the ini keys say; an empty `fail` says nothing of what fails.

    Raises
    ------
    SettingsError
        A regular expression or `fail` is wrong.
    """
    from pytest_trt.cases.log_lines import compile_pattern
    from pytest_trt.marks import LogMark

    patterns = tuple(compile_pattern(text, where) for text in allow)
    found = next((good for good in FAILS if good.lower() == fail.lower()), None)
    if fail and found is None:
        raise SettingsError(f"{where}: fail={fail!r} is unknown", why=f"good values: {', '.join(FAILS)}")
    return LogMark(patterns, found)


def make_policy(said: Iterable[LogMark]) -> Policy:
    """Return the policy of all that is said, the closest last: what is allowed adds up, the closest `fail` counts."""
    policy = Policy()
    for one in said:
        policy = policy._replace(allow=(*policy.allow, *one.allow))
        if one.fail is not None:
            policy = policy._replace(fail=one.fail, is_strict=one.fail != "off")
    return policy


def register(config: pytest.Config) -> None:
    """Make the plugin of a session."""
    config.pluginmanager.register(Logs(session_of(config)), PLUGIN)
