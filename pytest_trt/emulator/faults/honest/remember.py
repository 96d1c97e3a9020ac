"""What honest variants carry from one node to the next: a value that a fused kernel never stores.

Sites show one node at a time. What a tensor's readers are is known from the `build` site; a tensor is carried only where
every network that was built with a node and tensor of these names has one reader for it and no output at it, and where its
values are still those that were stored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator.faults.linear import LINEAR

_READERS = "honest: readers"
_CARRIED = "honest: carried"


def learn(site: Any) -> None:
    """Take down at a `build` site which tensors have one reader, and its operator."""
    known: dict[Any, str] = site.memory.setdefault(_READERS, {})
    graph = site.model.graph
    readers: dict[str, list[str]] = {name: [] for node in graph.node for name in node.output if name}
    for node in graph.node:
        for name in node.input:
            if name in readers:
                readers[name].append(node.op_type)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        for name in filter(None, node.output):
            ops = readers[name]
            one = ops[0] if len(ops) == 1 and name not in outputs else ""
            weights = shapes.get(node.input[1]) if len(node.input) > 1 and node.op_type in LINEAR else None
            for key in ((name, node.op_type), (name, node.op_type, weights)):
                known[key] = one if known.get(key, one) == one else ""


def is_read_once(site: Any, name: str, readers: Collection[str]) -> bool:
    """Tell whether an output of the site has one reader, of these operators, and is no output of the network."""
    if name in getattr(site, "marked_outputs", ()):
        return False
    known: dict[Any, str] = site.memory.get(_READERS, {})
    key: tuple[Any, ...] = (name, site.op_type)
    if site.op_type in LINEAR and len(site.inputs) > 1:
        # Two networks may use one name; those whose weights differ in shape are told apart.
        longer = (*key, list(site.inputs.values())[1].shape)
        key = longer if longer in known else key
    return known.get(key, "") in readers


def carry(site: Any, name: str, what: Any) -> None:
    """Keep what a fused kernel knows of an output that the site has stored."""
    run = getattr(site, "context_id", 0)
    site.memory.setdefault(_CARRIED, {})[run, name] = (np.array(site.outputs[name]), what)


def carried(site: Any, name: str) -> Any:
    """Return what was kept of an input, or None where nothing was, or its values are others now."""
    run = getattr(site, "context_id", 0)
    found = site.memory.get(_CARRIED, {}).get((run, name))
    if found is None or not _is_same(found[0], site.inputs[name]):
        return None
    return found[1]


def _is_same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    return bool(np.array_equal(one, other.astype(one.dtype), equal_nan=one.dtype.kind == "f"))
