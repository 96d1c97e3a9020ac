"""Faults of external weights that one check of the suite alone can see."""

from __future__ import annotations

from dataclasses import replace

from pytest_trt.emulator.plan import Plan


def good_weights_refused(site):
    """Refuse external weights that are there."""
    if site.kind == "weights" and not site.refusal:
        site.refusal = f"Failed to open file: {site.location}"


def second_plan_has_another_name(site):
    """Write another plan at the second build; it computes the same."""
    if site.kind == "build":
        site.memory["builds"] = site.memory.get("builds", 0) + 1
        if site.memory["builds"] == 2:
            plan = Plan.unpack(site.plan)
            site.plan = replace(plan, settings={**plan.settings, "name": "external"}).pack()
