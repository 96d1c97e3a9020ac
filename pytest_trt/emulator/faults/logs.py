"""Faults of logging: lines that are lost, said twice, or said to the wrong one."""

from __future__ import annotations

import threading
from typing import Any

from pytest_trt.emulator.faults.registry import fault


@fault("log")
def error_logged_twice(site: Any) -> None:
    """Say each error twice to the logger."""
    if site.kind == "log" and site.code and site.to == ("logger",):
        site.to = ("logger", "logger")


@fault("log")
def good_build_warns(site: Any) -> None:
    """Turn what a build says at its end into a warning."""
    if site.kind == "log" and site.text.startswith("Engine generation completed"):
        site.severity = "WARNING"


@fault("log")
def recorded_error_logged_too(site: Any) -> None:
    """Say to the logger as well what goes to a recorder."""
    if site.kind == "log" and site.to == ("recorder",):
        site.to = ("recorder", "logger")


@fault("log")
def config_inherits_no_recorder(site: Any) -> None:
    """Let configs report to the logger although their builder had a recorder."""
    if site.kind == "log" and site.function.startswith("IBuilderConfig::"):
        site.to = ("logger",)


@fault("log")
def verbose_lines_lost(site: Any) -> None:
    """Say nothing of severity VERBOSE."""
    if site.kind == "log" and site.severity == "VERBOSE":
        site.to = ()


@fault("log")
def errors_of_second_logger_lost(site: Any) -> None:
    """Lose the errors of a builder that came with a second logger."""
    if site.kind == "log" and site.is_second and site.code:
        site.to = ()


@fault("log")
def errors_of_other_threads_lost(site: Any) -> None:
    """Lose the errors of every thread but the main one."""
    if site.kind == "log" and site.code and site.thread_id != threading.main_thread().ident:
        site.to = ()


@fault("log")
def parse_errors_unsaid(site: Any) -> None:
    """Say nothing of bytes that are no model; the parser answers False and keeps the error to itself."""
    if site.kind == "log" and "MODEL_DESERIALIZE_FAILED" in site.text:
        site.to = ()
