"""What honest variants carry from one node to the next: a value that a fused kernel never stores.

Sites show one node at a time. What a tensor's readers are is known from the `build` site; a tensor is carried only where
every network that was built under this name has one reader for it, no output at it, and its values are still those that
were stored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

_READERS = "honest: readers"
_CARRIED = "honest: carried"


def learn(site: Any) -> None:
    """Take down at a `build` site which tensors have one reader, and its operator."""
    known: dict[str, str] = site.memory.setdefault(_READERS, {})
    graph = site.model.graph
    readers: dict[str, list[str]] = {name: [] for node in graph.node for name in node.output if name}
    for node in graph.node:
        for name in node.input:
            if name in readers:
                readers[name].append(node.op_type)
    for value in graph.output:
        readers[value.name] = []
    for name, ops in readers.items():
        one = ops[0] if len(ops) == 1 else ""
        known[name] = one if known.get(name, one) == one else ""


def is_read_once(site: Any, name: str, readers: Collection[str]) -> bool:
    """Tell whether a tensor has one reader, of these operators, and is no output."""
    if name in getattr(site, "marked_outputs", ()):
        return False
    return site.memory.get(_READERS, {}).get(name, "") in readers


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
