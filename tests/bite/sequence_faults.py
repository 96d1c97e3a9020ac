"""Faults of builders in threads that end the process, or never return; only for a process that may die."""

from __future__ import annotations

import os
import signal
import threading


def _beside_another(site):
    if site.kind != "build":
        return False
    builders = site.memory.setdefault("builders", set())
    builders.add(threading.get_ident())
    return len(builders) > 1


def second_builder_crashes(site):
    """The process ends by a signal once a second thread builds."""
    if _beside_another(site):
        os.kill(os.getpid(), signal.SIGSEGV)


def second_builder_hangs(site):
    """A build never returns once a second thread builds."""
    if _beside_another(site):
        threading.Event().wait()


def every_builder_raises(site):
    """No network is built, with or without threads."""
    if site.kind == "build":
        site.plan = None
