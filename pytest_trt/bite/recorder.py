"""A pytest plugin that writes down what failed first, by which check and after how many examples.

pytest suites -x -p pytest_trt.bite.recorder --trt-bite-record=FILE
"""

from __future__ import annotations

import functools
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# The session ends with its first failure: single operators come first, whole networks last.
_RANKS = {"test_operators.py": 0, "test_models.py": 2}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names the file."""
    parser.addoption("--trt-bite-record", metavar="FILE", help="where to write what failed, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Record this session, if a file was named."""
    path = config.getoption("--trt-bite-record")
    if path:
        config.pluginmanager.register(Recorder(Path(path)), "trt-bite-recorder")


class Recorder:
    """What one session saw.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.examples = 0
        self.test = ""
        self.checks: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Count the examples of property tests, and run first what is quick and sees most faults."""
        items.sort(key=lambda item: _RANKS.get(item.path.name, 1))
        done: set[int] = set()
        for item in items:
            handle: Any = getattr(getattr(item, "obj", None), "hypothesis", None)
            inner = getattr(handle, "inner_test", None)
            if inner is not None and id(handle) not in done:
                done.add(id(handle))
                handle.inner_test = self._counted(inner)

    def _counted(self, inner: Any) -> Any:
        @functools.wraps(inner)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.examples += 1
            return inner(*args, **kwargs)

        return counted

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note the first failure, in whatever phase."""
        report = yield
        if call.when == "call" and not hasattr(getattr(item, "obj", None), "hypothesis"):
            self.examples += 1
        if report.failed and not self.test and call.excinfo is not None:
            self.test = item.nodeid.rpartition("/")[2]
            self.checks = checks_of(call.excinfo.value)
        return report

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        told = {"test": self.test, "checks": self.checks, "examples": self.examples}
        self._path.write_text(json.dumps(told), encoding="utf-8")


def checks_of(error: BaseException) -> list[str]:
    """Return the checks of the findings behind an error, or the type of the error where there are none."""
    inner = getattr(error, "exceptions", None)
    if inner:
        return list(dict.fromkeys(name for part in inner for name in checks_of(part)))
    findings = getattr(getattr(error, "verdict", None), "findings", ())
    names = list(dict.fromkeys(finding.check for finding in findings))
    return names or [type(error).__name__]
