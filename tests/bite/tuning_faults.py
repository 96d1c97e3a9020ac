"""Faults of tuning that one check of the suites alone can see."""

from __future__ import annotations


def middle_limit_refused(site):
    """Refuse a workspace of 8 MiB, and take a smaller one."""
    if site.kind == "build" and site.workspace_limit == 1 << 23:
        site.plan = None
    elif site.kind == "log" and "Could not find any implementation" in site.text:
        site.text = "no tactics within the workspace limit"


def nothing_builds(site):
    """Refuse every build, for want of workspace as it says."""
    middle_limit_refused(site)
    if site.kind == "build":
        site.plan = None
