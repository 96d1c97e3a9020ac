"""Hooks of the plugin, in pairs: one makes a thing, the other amends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench
    from pytest_trt.records import Settings
    from pytest_trt.runtime.load import Discovery


@pytest.hookspec(firstresult=True)
def pytest_trt_make_discovery(config: pytest.Config, settings: Settings) -> Discovery | None:
    """Return which runtimes build and execute in this session; the first answer that is not None counts.

    Example, in a `conftest.py`::

        def pytest_trt_make_discovery(config, settings):
            from pytest_trt.runtime import load
            return load.discover(settings)
    """


@pytest.hookspec
def pytest_trt_update_discovery(config: pytest.Config, discovery: Discovery) -> None:
    """See the runtimes that were found, once, before anything is built.

    Example, in a `conftest.py`::

        def pytest_trt_update_discovery(config, discovery):
            config.trt_label = discovery.label
    """


@pytest.hookspec(firstresult=True)
def pytest_trt_make_workbench(
    config: pytest.Config, settings: Settings, discovery: Discovery
) -> Workbench | None:
    """Return what builds, runs and checks models for the fixtures; the first answer that is not None counts.

    Example, in a `conftest.py`::

        def pytest_trt_make_workbench(config, settings, discovery):
            from pytest_trt.check.workbench import Workbench
            return Workbench(settings, discovery)
    """


@pytest.hookspec
def pytest_trt_update_workbench(config: pytest.Config, workbench: Workbench) -> None:
    """Amend the workbench, once, before its first use.

    Example, in a `conftest.py`::

        def pytest_trt_update_workbench(config, workbench):
            workbench.note = "seen"
    """


@pytest.hookspec
def pytest_trt_make_problems(
    config: pytest.Config, records: Sequence[tuple[str, str, Any]]
) -> Sequence[str] | None:
    """Return what is wrong with the session as a whole, one text each; any makes a passing run fail.

    Called once, at the end, and under xdist in the controller alone. `records` has a tuple of test id, name
    and value for each entry of `user_properties` of ours (its name begins with `trt_`).

    Example, in a `conftest.py`::

        def pytest_trt_make_problems(config, records):
            return [] if records else ["no test was checked"]
    """


@pytest.hookspec
def pytest_trt_update_problems(config: pytest.Config, problems: list[str], facts: Mapping[str, Any]) -> None:
    """Amend the list of problems in place: add, take away, reword. `facts` counts what was not run.

    Example, in a `conftest.py`::

        def pytest_trt_update_problems(config, problems, facts):
            problems[:] = [text for text in problems if "known" not in text]
    """
