"""Who ran, where, how much and how strictly: the facts of a session, as plain data."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pytest_trt.records import BUDGETS, Settings
from pytest_trt.report.plain import to_plain

if TYPE_CHECKING:
    from pytest_trt.hardware import GpuClass
    from pytest_trt.runtime.load import Discovery

# Where files lie says nothing about results, and names the user's folders.
_PLACES = ("cache_dir", "repro_dir", "report_dir", "golden_dir", "golden_from", "log")

PLAYED = "TensorRT's API played over ONNX Runtime; no TensorRT executed"


def describe_facts(
    settings: Settings, gpu: GpuClass | None, discovery: Discovery | None, line: str
) -> dict[str, Any]:
    """Return the facts of a session.

    Parameters
    ----------
    settings : Settings
    gpu : GpuClass or None
        None: the real GPU has no class that is known.
    discovery : Discovery or None
        None: what was asked for cannot be had; `line` says why.
    line : str
        The line after collection.
    """
    executor = None if discovery is None else discovery.executor
    builder = None if discovery is None else discovery.builder
    return {
        "line": line,
        "executor": None
        if executor is None
        else {"title": executor.title, "device": executor.device, "emulated": bool(executor.emulated)},
        "builder": None if builder is None else builder.title,
        "gpu": None if gpu is None else {"name": gpu.name, "title": gpu.title, "sm": gpu.sm},
        "examples": BUDGETS[settings.budget].examples,
        "settings": {
            field.name: to_plain(getattr(settings, field.name))
            for field in fields(settings)
            if field.name not in _PLACES
        },
    }
