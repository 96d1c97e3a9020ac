"""Faults of plans: damaged or foreign plans that are loaded as though they were good ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
