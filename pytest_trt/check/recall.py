"""References that are kept: the same graph on the same inputs is worked out once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.numerics.bounds import Contract
from pytest_trt.numerics.formats import Array

_Key = tuple[str, str, Contract, tuple[str, ...]]

# What is kept at most: inputs and outputs of references in bytes, limits being some eight times that.
KEPT_BYTES = 2**25


class Recall:
    """What is known of graphs on inputs: the reference's outputs and the admissible values, the latest kept.

    Parameters
    ----------
    kept_bytes : int
        Size of the inputs and outputs that are kept at most; 0 keeps nothing.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._known: OrderedDict[_Key, tuple[Admissible, dict[str, Array], int]] = OrderedDict()
        self._bytes = 0

    def look_up(
        self,
        graph: Graph,
        feeds: Mapping[str, Array],
        contract: Contract,
        rungs: Sequence[str],
        reference: Callable[[Mapping[str, Array]], dict[str, Array]],
    ) -> tuple[Admissible, dict[str, Array]]:
        """Return the admissible values of a graph on inputs, and what the reference gives.

        They are worked out at the first call with equal arguments, the limits when they are asked for; `reference` gives the
        outputs for inputs.
        """
        key = (graph.digest, _digest(feeds), contract, tuple(rungs))
        found = self._known.pop(key, None)
        if found is None:
            want = reference(feeds)
            size = sum(np.asarray(v).nbytes for v in (*feeds.values(), *want.values()))
            found = (Admissible(graph, feeds, contract, rungs), want, size)
            self._bytes += size
        self._known[key] = found
        while self._bytes > self._kept_bytes and self._known:
            _, (_, _, size) = self._known.popitem(last=False)
            self._bytes -= size
        return found[0], found[1]


def _digest(feeds: Mapping[str, Array]) -> str:
    """Return what names the inputs: their names, types, shapes and bytes."""
    made = hashlib.blake2b(digest_size=16)
    for name in sorted(feeds):
        values = np.ascontiguousarray(feeds[name])
        made.update(f"{name} {values.dtype.str} {values.shape};".encode())
        made.update(values.view(np.uint8).data if values.size and values.ndim else values.tobytes())
    return made.hexdigest()
