"""Which implementation the builder picks for each layer: timed, filtered by the workspace limit, kept in a timing cache.

A convolution is offered as a direct sum, which needs little scratch memory, and as a matrix product over gathered columns
(im2col), for one image at a time or for the whole batch. All give the same sums, as ONNX Runtime computes them; what
differs is the scratch memory that they are said to need and the time that they are said to take.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.graph import Graph

Row = dict[str, Any]

DIRECT = "direct"
COUNTERS = 256  # bytes of scratch that a direct sum needs
_BYTES = {"int8": 1, "fp16": 2, "bf16": 2}
_LAUNCH = 5.0  # microseconds
_SPEED = {DIRECT: 1.0e6, "im2col_direct": 4.0e6, "im2col_batch_direct": 5.0e6}  # products a microsecond


@dataclass(frozen=True)
class Tactic:
    """One implementation of a layer: its name, the scratch memory it needs (bytes), and its time (microseconds)."""

    name: str
    workspace: int
    time: float


def offers(row: Row, graph: Graph) -> tuple[Tactic, ...]:
    """Return the implementations of a layer, in no order; none for layers that neither multiply nor accumulate.

    Where dimensions are dynamic a layer is offered as a direct sum alone.
    """
    if row["op"] not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return ()
    out = row["outputs"][0][2]
    if row["op"] != "Conv" or len(out) < 3 or min(out) < 1 or not row["inputs"]:
        return (Tactic(DIRECT, COUNTERS, _LAUNCH + prod(max(1, size) for size in out) / _SPEED[DIRECT]),)
    node = next(node for node in graph.nodes if node.name == row["name"])
    facts = {attribute.name: attribute for attribute in node.attribute}
    kernel = facts["kernel_shape"].ints if "kernel_shape" in facts else graph.tensor(node.input[1]).shape[2:]
    group = facts["group"].i if "group" in facts else 1
    terms = row["inputs"][0][2][1] // group * prod(kernel)
    columns = terms * prod(out[2:]) * _BYTES.get(row["working"], 4)
    needs = {DIRECT: COUNTERS, "im2col_direct": columns, "im2col_batch_direct": columns * out[0]}
    work = prod(out) * terms
    return tuple(
        Tactic(name, COUNTERS * -(-need // COUNTERS), _LAUNCH + work / _SPEED[name])
        for name, need in needs.items()
        if terms > 0
    )


def key_of(row: Row, graph: Graph, sm: int) -> str:
    """Return what a layer is called in a timing cache: a digest of all that its time depends on."""
    node = next((node for node in graph.nodes if node.name == row["name"]), None)
    attributes = sorted(str(attribute) for attribute in node.attribute) if node is not None else []
    sides = [[kind, dims] for side in ("inputs", "outputs") for _, kind, dims in row[side]]
    facts = [row["op"], row["working"], sides, attributes, sm]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


class Tuner:
    """Picks implementations for one build.

    Parameters
    ----------
    graph : Graph
    sm : int
        Compute capability that the layers are timed on.
    limit : int or None
        Of the workspace pool, bytes; None for all device memory.
    entries : dict of str to str, optional
        Those of the timing cache: read where a layer is in it, else written.
    must_hit : bool
        A layer that is not in the timing cache is an error.
    """

    def __init__(
        self, graph: Graph, sm: int, limit: int | None, entries: dict[str, str] | None, must_hit: bool
    ) -> None:
        self._graph, self._sm, self._limit = graph, sm, limit
        self._entries, self._must_hit = entries, must_hit
        self._known = frozenset(entries or ())
        self.hits = 0  # layers that the timing cache knew before this build

    def tune(self, rows: list[Row]) -> dict[str, Mapping[str, int]]:
        """Set `tactic` and `workspace` of each row; return what was offered, by layer: bytes of scratch by tactic.

        Raises
        ------
        Refusal
            No implementation of a layer fits into the workspace, or the timing cache lacks a layer and must not.
        """
        offered: dict[str, Mapping[str, int]] = {}
        for row in rows:
            found = offers(row, self._graph)
            if not found:
                continue
            times = self._timed(row, found)
            fitting = [tactic for tactic in found if self._limit is None or tactic.workspace <= self._limit]
            if not fitting:
                raise Refusal(
                    "UNSPECIFIED_ERROR",
                    f"Could not find any implementation for node {row['name']}: no tactics to implement the operation"
                    f" within the workspace limit of {self._limit} bytes. Consider to increase the workspace size.",
                )
            best = min(fitting, key=lambda tactic: (times[tactic.name], tactic.workspace))
            row["tactic"], row["workspace"] = best.name, best.workspace
            offered[row["name"]] = {tactic.name: tactic.workspace for tactic in found}
        return offered

    def _timed(self, row: Row, found: tuple[Tactic, ...]) -> dict[str, float]:
        measured = {tactic.name: tactic.time for tactic in found}
        if self._entries is None:
            return measured
        key = key_of(row, self._graph, self._sm)
        if key in self._entries:
            kept = dict(part.split("=") for part in self._entries[key].split(",") if part.count("=") == 1)
            if kept.keys() == measured.keys():
                self.hits += key in self._known
                return {name: float(text) for name, text in kept.items()}
        if self._must_hit:
            raise Refusal("INVALID_STATE", f"Timing cache miss for node {row['name']}, and misses are errors")
        self._entries[key] = ",".join(f"{name}={time!r}" for name, time in measured.items())
        return measured
