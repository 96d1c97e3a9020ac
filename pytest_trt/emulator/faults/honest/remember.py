"""What honest variants carry from one node to the next: a value that a fused kernel never stores.

Sites show one node at a time. A tensor is carried only where it has one reader and is no output, and where its values are
still those that were stored.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CARRIED = "honest: carried"


def is_read_once(site: Any, name: str, readers: Collection[str]) -> bool:
    """Tell whether an output of the site has one reader, of these operators, and is no output of the network."""
    operators = site.readers[name]
    return name not in site.marked_outputs and len(operators) == 1 and operators[0] in readers


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
