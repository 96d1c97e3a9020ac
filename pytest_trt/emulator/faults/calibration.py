"""Faults of calibration: scales that are not those of the data, tables that do not belong here, scales that are missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_trt.emulator.faults.registry import fault


def _stage(site: Any, stage: str) -> bool:
    return bool(site.kind == "calibrate" and site.stage == stage)


def _scale_all(site: Any, factor: float) -> None:
    for name in site.scales:
        site.scales[name] = np.float32(factor * site.scales[name])


@fault("calibration", "int8")
def calibration_25_percent_off(site: Any) -> None:
    """Write every scale of a calibration a quarter too large."""
    if _stage(site, "table"):
        _scale_all(site, 1.25)


@fault("calibration", "int8")
def calibration_halved(site: Any) -> None:
    """Write every scale of a calibration at half its size: the upper half of the range is clipped."""
    if _stage(site, "table"):
        _scale_all(site, 0.5)


@fault("calibration", "int8")
def calibration_permuted(site: Any) -> None:
    """Write each tensor's scale for the tensor before it."""
    if _stage(site, "table"):
        names, values = list(site.scales), list(site.scales.values())
        site.scales.update(zip(names, [*values[1:], *values[:1]], strict=True))


@fault("calibration", "int8")
def calibration_of_one_tensor_stale(site: Any) -> None:
    """Write for the last tensor three times its scale, as an older network had it."""
    if _stage(site, "table") and site.scales:
        last = list(site.scales)[-1]
        site.scales[last] = np.float32(3 * site.scales[last])


@fault("calibration", "int8")
def calibration_follows_batching(site: Any) -> None:
    """Write scales a tenth larger where the data came in more than one batch."""
    if _stage(site, "table") and site.batches > 1:
        _scale_all(site, 1.1)


@fault("calibration", "int8")
def engine_ignores_calibration(site: Any) -> None:
    """Let the engine quantise with scales a quarter larger than those of the table."""
    if _stage(site, "engine"):
        _scale_all(site, 1.25)


def _write_reach(site: Any, reach: dict[str, float]) -> None:
    for name in site.scales:
        if reach.get(name, 0.0) > 0:
            site.scales[name] = np.float32(reach[name] / 127.0)


@fault("calibration", "int8")
def calibration_by_maximum_only(site: Any) -> None:
    """Write the scale of the largest magnitude, whatever algorithm was asked for."""
    if _stage(site, "table"):
        names = {name for reach in site.reach for name in reach}
        _write_reach(site, {name: max(reach.get(name, 0.0) for reach in site.reach) for name in names})


@fault("calibration", "int8")
def batches_beyond_first_ignored(site: Any) -> None:
    """Take every batch, and write the scales of the first."""
    if _stage(site, "table") and site.batches > 1:
        _write_reach(site, site.reach[0])


@fault("calibration", "int8")
def calibration_of_older_model_used(site: Any) -> None:
    """Write the scales of the first calibration for every later one with tensors of the same names."""
    if _stage(site, "table"):
        key = ("calibration_of_older_model", site.algorithm, tuple(sorted(site.scales)))
        site.scales.update(site.memory.setdefault(key, dict(site.scales)))


@fault("calibration", "int8")
def cache_of_other_version_accepted(site: Any) -> None:
    """Take a calibration cache that another version wrote as though it were of this one."""
    if _stage(site, "cache") and site.cache:
        _, line, rest = site.cache.partition(b"\n")
        site.cache = site.header.encode() + line + rest


@fault("calibration", "int8")
def calibration_cache_ignored(site: Any) -> None:
    """Calibrate anew in spite of a cache."""
    if _stage(site, "cache"):
        site.cache = b""


@fault("calibration", "int8")
def one_scale_missing(site: Any) -> None:
    """Lose the scale of the first tensor between table and engine, and say nothing."""
    if _stage(site, "engine") and site.scales:
        del site.scales[next(iter(site.scales))]


@fault("calibration", "int8")
def missing_scale_not_told(site: Any) -> None:
    """Leave the warnings about tensors without a scale away."""
    if _stage(site, "engine"):
        site.missing.clear()


@fault("calibration", "int8")
def missing_scale_made_up(site: Any) -> None:
    """Give each tensor without a scale that of another tensor, and quantise it."""
    if _stage(site, "engine"):
        given = next(iter(site.scales.values()))
        site.scales.update(dict.fromkeys(site.missing, given))
