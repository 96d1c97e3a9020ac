"""Faults of plans and of calibration: damaged or foreign plans that are loaded, scales that are not those of the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.plan import Plan, PlanError


@fault("plan")
def plan_damaged_in_build(site: Any) -> None:
    """Flip a byte in the middle of every plan that is built."""
    if site.kind == "build":
        middle = len(site.plan) // 2
        site.plan = site.plan[:middle] + bytes([site.plan[middle] ^ 0x40]) + site.plan[middle + 1 :]


@fault("plan")
def plan_truncated_in_build(site: Any) -> None:
    """Leave the last quarter of every plan away."""
    if site.kind == "build":
        site.plan = site.plan[: len(site.plan) * 3 // 4]


@fault("plan")
def load_gives_nothing(site: Any) -> None:
    """Load no plan: each deserialisation fails."""
    if site.kind == "load":
        site.plan = None


def _read(data: bytes) -> Plan | None:
    try:
        return Plan.unpack(data)
    except PlanError:
        return None


@fault("plan")
def damaged_plan_accepted(site: Any) -> None:
    """Load the last good plan in place of one whose bytes are damaged, and say nothing."""
    if site.kind != "load":
        return
    if _read(site.plan) is not None:
        site.memory["damaged_plan_accepted"] = site.plan
    elif Plan.is_headed(site.plan):
        site.plan = site.memory.get("damaged_plan_accepted", site.plan)


@fault("plan")
def anything_accepted_as_plan(site: Any) -> None:
    """Load the last good plan in place of bytes that never were one."""
    if site.kind != "load":
        return
    if _read(site.plan) is not None:
        site.memory["anything_accepted_as_plan"] = site.plan
    elif not Plan.is_headed(site.plan):
        site.plan = site.memory.get("anything_accepted_as_plan", site.plan)


def _remember(site: Any, name: str) -> Plan | None:
    """Keep what a plan of this TensorRT looks like; return a plan that is being loaded."""
    if site.kind == "build" and site.plan is not None:
        site.memory.setdefault(name, _read(site.plan))
    return _read(site.plan) if site.kind == "load" else None


@fault("plan")
def plan_of_other_version_accepted(site: Any) -> None:
    """Load a plan of another version as though it were of this one."""
    plan, own = _remember(site, "plan_of_other_version"), site.memory.get("plan_of_other_version")
    if plan is not None and own is not None and plan.version != own.version:
        site.plan = replace(plan, product=own.product, version=own.version).pack()


@fault("plan")
def plan_of_other_gpu_accepted(site: Any) -> None:
    """Load a plan of another compute capability as though it were of this one."""
    plan, own = _remember(site, "plan_of_other_gpu"), site.memory.get("plan_of_other_gpu")
    if plan is not None and own is not None and plan.sms != own.sms:
        site.plan = replace(plan, sms=own.sms).pack()


@fault("plan")
def plan_of_other_engine_loaded(site: Any) -> None:
    """Load the first plan of its kind in place of each later one with the same inputs, outputs and types."""
    plan = _read(site.plan) if site.kind == "load" else None
    if plan is None:
        return
    facts = plan.settings
    ports = [facts[key] for key in ("outputs", "io_types", "profiles", "layers")]
    ports += [plan.product, plan.version, plan.sms]
    site.plan = site.memory.setdefault(("plan_of_other_engine", repr(ports)), site.plan)


def _table(site: Any, stage: str) -> bool:
    return bool(site.kind == "calibrate" and site.stage == stage)


def _scale_all(site: Any, factor: float) -> None:
    for name in site.scales:
        site.scales[name] = np.float32(factor * site.scales[name])


@fault("calibration", "int8")
def calibration_25_percent_off(site: Any) -> None:
    """Write every scale of a calibration a quarter too large."""
    if _table(site, "table"):
        _scale_all(site, 1.25)


@fault("calibration", "int8")
def calibration_halved(site: Any) -> None:
    """Write every scale of a calibration at half its size: the upper half of the range is clipped."""
    if _table(site, "table"):
        _scale_all(site, 0.5)


@fault("calibration", "int8")
def calibration_permuted(site: Any) -> None:
    """Write each tensor's scale for the tensor before it."""
    if _table(site, "table"):
        names, values = list(site.scales), list(site.scales.values())
        site.scales.update(zip(names, [*values[1:], *values[:1]], strict=True))


@fault("calibration", "int8")
def calibration_of_one_tensor_stale(site: Any) -> None:
    """Write for the last tensor three times its scale, as an older network had it."""
    if _table(site, "table") and site.scales:
        last = list(site.scales)[-1]
        site.scales[last] = np.float32(3 * site.scales[last])


@fault("calibration", "int8")
def calibration_follows_batching(site: Any) -> None:
    """Write scales a tenth larger where the data came in more than one batch."""
    if _table(site, "table") and site.batches > 1:
        _scale_all(site, 1.1)


@fault("calibration", "int8")
def engine_ignores_calibration(site: Any) -> None:
    """Let the engine quantise with scales a quarter larger than those of the table."""
    if _table(site, "engine"):
        _scale_all(site, 1.25)
