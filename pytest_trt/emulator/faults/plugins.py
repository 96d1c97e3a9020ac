"""Faults of the life of plugins: clones that leak or are shared, fields that get lost, calls that come too late or twice."""

from __future__ import annotations

import weakref
from typing import Any

from pytest_trt.emulator.faults.registry import fault


def _stage(site: Any, name: str) -> bool:
    return bool(site.kind == "plugin" and site.stage == name)


@fault("plugin")
def plugin_clone_leaked_per_context(site: Any) -> None:
    """Clone each plugin once more for each context, and keep that clone."""
    if _stage(site, "attach"):
        site.memory.setdefault("plugin_clone_leaked_per_context", []).append(site.plugin.clone())


@fault("plugin")
def plugin_shared_by_contexts(site: Any) -> None:
    """Let every context run the engine's own instance."""
    if _stage(site, "attach"):
        site.attached = site.plugin


@fault("plugin")
def plugin_not_cloned_for_the_first_context(site: Any) -> None:
    """Let the first context of an engine run the engine's own instance."""
    if _stage(site, "attach") and site.context_id == 1:
        site.attached = site.plugin


@fault("plugin")
def plugin_runs_on_the_clone_of_another_context(site: Any) -> None:
    """Enqueue the clone of the context that ran first, whichever context runs (wang-xinyu/tensorrtx issue 720)."""
    if _stage(site, "enqueue"):
        key = ("plugin_runs_on_the_clone_of_another_context", site.engine_id, site.node_name)
        first = site.memory.setdefault(key, weakref.ref(site.plugin))()
        site.plugin = site.plugin if first is None else first


@fault("plugin")
def plugin_field_lost(site: Any) -> None:
    """Leave the last field of a plugin out of the plan; of a V2 plugin, its last byte."""
    if _stage(site, "serialize"):
        name, kind, data, size = site.fields[-1]
        bytes_alone = len(site.fields) == 1 and not name
        site.fields = [*site.fields[:-1], *([[name, kind, data[:-2], size]] if bytes_alone else [])]


@fault("plugin")
def plugin_field_changed(site: Any) -> None:
    """Flip a bit of the first number of a plugin in the plan."""
    if _stage(site, "serialize"):
        name, kind, data, size = site.fields[0]
        whole = bytearray.fromhex(data)
        whole[2] ^= 0x40
        site.fields = [[name, kind, whole.hex(), size], *site.fields[1:]]


@fault("plugin")
def plugin_called_after_destroy(site: Any) -> None:
    """Ask a plugin for its fields when it is destroyed already."""
    if _stage(site, "destroy"):
        asked = getattr(site.plugin, "get_fields_to_serialize", None) or site.plugin.serialize
        asked()


@fault("plugin")
def plugin_terminated_twice(site: Any) -> None:
    """Call `terminate` of a V2 plugin twice (the known issue of TensorRT 5.1)."""
    if _stage(site, "terminate"):
        site.plugin.terminate()


@fault("plugin")
def plugin_destroyed_twice(site: Any) -> None:
    """Call `destroy` of a plugin twice."""
    if _stage(site, "destroy"):
        site.plugin.destroy()


@fault("plugin")
def plugin_of_another_version_accepted(site: Any) -> None:
    """Take the creator that was found last for a plugin that has none."""
    if _stage(site, "load"):
        if site.creator is None:
            site.creator = site.memory.get("plugin_of_another_version_accepted")
        site.memory["plugin_of_another_version_accepted"] = site.creator
