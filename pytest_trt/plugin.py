"""The pytest plugin: thin hooks; loading it imports nothing heavy and prints nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt import benchmarking, hookspecs, logs, markers, options, upgrades
from pytest_trt.collecting import deselect, multiply, read_marks, rewrites
from pytest_trt.errors import SettingsError
from pytest_trt.fixtures import (
    context,
    engine,
    stream,
    trt_build,
    trt_builder,
    trt_check,
    trt_compare,
    trt_context,
    trt_engine,
    trt_gpu,
    trt_precision,
    trt_runtime,
    trt_session,
    trt_settings,
    trt_stream,
)
from pytest_trt.goldens import trt_golden
from pytest_trt.layers import trt_layers
from pytest_trt.report.ledger import CLAIMS, MISSING, PROPERTY
from pytest_trt.session import KEY, Running, Session, precision_of, session_of
from pytest_trt.studies import trt_accuracy, trt_audit, trt_fp16_report, trt_lint
from pytest_trt.summary import Summary
from pytest_trt.telemetry import trt_telemetry
from pytest_trt.timing import pytest_itemcollected, trt_profile, trt_timer
from pytest_trt.xdist import (
    NOT_RUN,
    is_worker,
    pytest_configure_node,
    pytest_load_initial_conftests,
    seed_of_controller,
)

if TYPE_CHECKING:
    from pytest_trt.check.workbench import Workbench
    from pytest_trt.records import Settings
    from pytest_trt.runtime.load import Discovery

__all__ = [
    "context",
    "engine",
    "pytest_configure_node",
    "pytest_itemcollected",
    "pytest_load_initial_conftests",
    "stream",
    "trt_accuracy",
    "trt_audit",
    "trt_build",
    "trt_builder",
    "trt_check",
    "trt_compare",
    "trt_context",
    "trt_engine",
    "trt_fp16_report",
    "trt_golden",
    "trt_gpu",
    "trt_layers",
    "trt_lint",
    "trt_precision",
    "trt_profile",
    "trt_runtime",
    "trt_session",
    "trt_settings",
    "trt_stream",
    "trt_telemetry",
    "trt_timer",
]


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register our hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register our options and ini keys."""
    options.add_options(parser)
    logs.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and resolve the settings, once."""
    for line in markers.LINES:
        config.addinivalue_line("markers", line)
    try:
        resolved = options.resolve(config, seed=seed_of_controller(config))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None
    session = config.stash[KEY] = Session(config, resolved)
    if not is_worker(config):
        config.pluginmanager.register(Summary(session), "trt-summary")
        upgrades.register(config)
    logs.register(config)
    benchmarking.register(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what the fixtures used."""
    session = config.stash.get(KEY, None)
    if session is not None:
        session.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once per precision if its fixtures need one."""
    multiply(metafunc, session_of(metafunc.config))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what was not asked for or does not apply; refuse wrong markers."""
    deselect(session_of(config), items)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep which test runs: the session-scoped factories take its precision and markers."""
    session = session_of(item.config)
    session.running = Running(item, read_marks(item))
    try:
        return (yield)
    finally:
        session.running = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that rewrites models to a precision which the installed packages cannot express."""
    __tracebackhide__ = True
    if rewrites(item):
        session_of(item.config).need_precision(precision_of(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the checks saw, and what was missing, on the report."""
    session = session_of(item.config)
    lacks = session.skips.get(str(call.excinfo.value)) if call.excinfo is not None else None
    if lacks is not None:
        item.user_properties.append((MISSING, lacks))
    running = session.running
    if call.when == "setup" and running is not None and running.marks is not None and running.marks.claims:
        item.user_properties.append((CLAIMS, list(running.marks.claims)))
    if call.when == "call" and running is not None and running.tally is not None:
        item.user_properties.append((PROPERTY, running.tally.to_text()))
    if call.excinfo is not None and session.settings.report_dir is not None:
        from pytest_trt.report.failures import attach_failure  # only where a report is written

        attach_failure(item, call.excinfo.value)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_trt_make_discovery(settings: Settings) -> Discovery:
    """Find the runtimes of this machine."""
    from pytest_trt.runtime.load import discover

    return discover(settings)


@pytest.hookimpl(trylast=True)
def pytest_trt_make_workbench(settings: Settings, discovery: Discovery) -> Workbench:
    """Make the workbench of this package."""
    from pytest_trt.check.workbench import Workbench

    return Workbench(settings, discovery)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send home what a worker did not run."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[NOT_RUN] = session_of(session.config).not_run.to_plain()
