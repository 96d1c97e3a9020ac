"""Bugs of plugins."""

from __future__ import annotations

from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.concurrent import THREADS
from pytest_trt.check.plugins import OUTPUT, OWN, check_plugins
from pytest_trt.runtime.plugins import KINDS, offers_plugins


@trigger(
    "B57",
    fidelity=STAND_IN,
    faults="plugin_runs_on_the_clone_of_another_context plugin_shared_by_contexts",
)
def plugins_of_several_contexts_keep_apart(trial: Trial) -> None:
    """Contexts of one engine in threads of their own: each runs its own clone of a plugin, on its own inputs."""
    kind = next((kind for kind in KINDS if offers_plugins(trial.rt, kind)), None)
    if kind is None:
        trial.skip(f"{trial.rt.title} takes no Python plugins")
    rows = [row for row in check_plugins(trial.rt, kind, "parsed") if row[0] in (OUTPUT, OWN)]
    trial.demand([(THREADS, note) for _, note in rows])
