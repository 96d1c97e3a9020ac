"""A plugin without an engine: what it answers when TensorRT's calls are made by hand."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from pytest_trt.check.named import Checked
from pytest_trt.check.plugins import FIELDS
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plugin_lives import from_bytes, from_collection
from pytest_trt.runtime.plugins import Counting

CLONE_KEEPS = "plugin-clone-keeps-fields"
ROUND_TRIP = "plugin-fields-round-trip"
OVERRIDES = "plugin-overrides"
REGISTRY = "plugin-registry"

# What the bindings look up on a plugin, and how many arguments they give; source: NVIDIA's `pyPlugin.cpp`, releases 10 and 11.
LOOKED_UP = {
    "V3": {
        "get_capability_interface": 1,
        "clone": 0,
        "get_output_data_types": 1,
        "get_output_shapes": 3,
        "supports_format_combination": 3,
        "configure_plugin": 2,
        "get_workspace_size": 2,
        "get_valid_tactics": 0,
        "set_tactic": 1,
        "on_shape_change": 2,
        "attach_to_context": 1,
        "get_fields_to_serialize": 0,
        "enqueue": 6,
    },
    "V2": {
        "clone": 0,
        "get_output_datatype": 2,
        "get_output_dimensions": 3,
        "supports_format_combination": 3,
        "configure_plugin": 2,
        "get_workspace_size": 2,
        "initialize": 0,
        "terminate": 0,
        "serialize": 0,
        "get_serialization_size": 0,
        "enqueue": 6,
    },
}
CREATOR = {"V3": {"create_plugin": 3}, "V2": {"create_plugin": 2, "deserialize_plugin": 2}}


def check_apart(rt: Runtime, kind: str) -> Iterator[Checked]:
    """Yield what holds of a counting plugin, `V3` or `V2`, whose methods are called without an engine."""
    counting = Counting(rt, kind)
    plugin = counting.make(FIELDS)
    yield CLONE_KEEPS, _differs("clone()", plugin.clone().fields)
    if kind == "V3":
        yield CLONE_KEEPS, _differs("attach_to_context()", plugin.attach_to_context(None).fields)
        kept = from_collection(plugin.get_fields_to_serialize())
        phase = rt.trt.TensorRTPhase.RUNTIME
        made = counting.creator.create_plugin("counted", plugin.get_fields_to_serialize(), phase).fields
    else:
        kept = from_bytes(plugin.serialize())
        made = counting.creator.deserialize_plugin("counted", plugin.serialize()).fields
    yield ROUND_TRIP, _differs("serialisation", kept)
    yield ROUND_TRIP, _differs("the creator", made)
    for owner, methods in ((plugin, LOOKED_UP[kind]), (counting.creator, CREATOR[kind])):
        for name, count in methods.items():
            yield OVERRIDES, lacking(owner, name, count)
    yield from _registry(rt, counting)


def _differs(what: str, fields: Any) -> str | None:
    return None if fields == FIELDS else f"{what} gives {fields}, and {FIELDS} went in"


def lacking(owner: Any, name: str, count: int) -> str | None:
    """Return what is wrong with an override, None where Python defines it and it takes `count` arguments."""
    own = next((vars(kind)[name] for kind in type(owner).__mro__ if name in vars(kind)), None)
    if not inspect.isfunction(own) or hasattr(own, "__wrapped__"):
        return f"{type(owner).__name__}.{name} is not overridden"
    try:
        inspect.signature(own).bind(owner, *[None] * count)
    except TypeError as error:
        return f"{type(owner).__name__}.{name} does not take {count} arguments: {error}"
    return None


def arity(signature: str) -> int:
    """Return how many arguments a printed signature of a method takes, `self` aside."""
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    flat = re.sub(r"\[[^\]]*\]", "", inside)
    return len([part for part in flat.split(",") if part.strip() and part.strip() != "self"])


def _registry(rt: Runtime, counting: Counting) -> Iterator[Checked]:
    """Yield whether the registry finds a creator while it is registered, and only then."""
    registry, creator = rt.trt.get_plugin_registry(), counting.creator
    find: Callable[..., Any] = getattr(registry, "get_creator", None) or registry.get_plugin_creator
    key = (creator.name, creator.plugin_version, creator.plugin_namespace)
    with counting.registered():
        found = find(*key)
        yield REGISTRY, None if found is not None else f"{key} was registered, and is not found"
        twice = registry.register_creator(creator, creator.plugin_namespace)
        yield REGISTRY, f"{key} was registered twice" if twice else None
    yield REGISTRY, None if find(*key) is None else f"{key} was deregistered, and is found"
