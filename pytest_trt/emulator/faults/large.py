"""Faults of large models: external weights that are read wrongly, or not at all, and plans that are streamed wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_trt.emulator.faults.registry import fault


def _zeros(site: Any) -> None:
    site.data, site.refusal = bytes(site.size), ""


@fault("build")
def missing_weights_read_as_zeros(site: Any) -> None:
    """Take zeros where the file of external weights is not there."""
    if site.kind == "weights" and site.path is not None and site.refusal.startswith("Failed to open"):
        _zeros(site)


@fault("build")
def cut_weights_filled_with_zeros(site: Any) -> None:
    """Take zeros where the file of external weights ends too early."""
    if site.kind == "weights" and "out of range" in site.refusal:
        _zeros(site)


@fault("build")
def weights_without_a_path_read_as_zeros(site: Any) -> None:
    """Take zeros for external weights where the bytes alone were given."""
    if site.kind == "weights" and site.path is None:
        _zeros(site)


@fault("build")
def weights_outside_the_folder_read(site: Any) -> None:
    """Read external weights wherever the model says, be it above its own folder."""
    if site.kind == "weights" and ".." in site.location:
        site.data, site.refusal = (Path(site.path).parent / site.location).read_bytes()[: site.size], ""


@fault("build")
def external_offset_ignored(site: Any) -> None:
    """Read every external tensor from the beginning of its file."""
    if site.kind == "weights" and not site.refusal:
        file = Path(site.path).parent / site.location
        site.data = file.read_bytes()[: site.size].ljust(site.size, b"\0")


@fault("build")
def external_weights_refused_without_words(site: Any) -> None:
    """Refuse external weights, and do not say which."""
    if site.kind == "weights" and site.refusal:
        site.refusal = "Assertion failed"
    elif site.kind == "log" and "Failed to import initializer" in site.text:
        site.text = "Assertion failed"


@fault("plan")
def streamed_plan_cut(site: Any) -> None:
    """Leave the last piece of a plan away that is written to a stream, and say that all is well."""
    if site.kind == "stream":
        site.plan = site.plan[: -(len(site.plan) // 8)]
