"""One configuration of the pair score: every fault and every correct kernel on every kind of data, by every oracle."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_trt.bite.data import Drawn, carried, draw
from pytest_trt.bite.peers import PEERS, Pair
from pytest_trt.bite.problems import Problem, make_problem
from pytest_trt.bite.records import HARD, OURS, PairRow, ProblemRow, bits_of
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.emulator.faults import FAULTS, HONEST, Entry
from pytest_trt.emulator.replay import Recording, Replay
from pytest_trt.numerics.battery import STRUCTURED, kinds_for
from pytest_trt.numerics.formats import Array
from pytest_trt.records import CONFORMS, VIOLATES

ORACLES = (OURS, HARD, *PEERS)
PLAIN = "plain"

_OUTPUT_KINDS = {"fp16": "fp16", "fp16acc": "fp16", "fp8": "fp16", "bf16": "bf16"}


@dataclass(frozen=True)
class Task:
    """What to measure on one configuration.

    Attributes
    ----------
    contract : str
    seed : tuple of int
        `problems.make_problem` draws the configuration from these two.
    kinds : tuple of str
        Kinds of data.
    faults : tuple of str
        Names; those that the contract does not forbid are passed over.
    variants : int
        Correct kernels a kind of data, chosen at random; all of them if negative.
    rungs : tuple of str
        Rungs of the ladder that pass.
    peers : bool
        The rules of other tools judge as well.
    """

    contract: str
    seed: tuple[int, ...]
    kinds: tuple[str, ...]
    faults: tuple[str, ...]
    variants: int = 6
    rungs: tuple[str, ...] = ("direct", "unfused")
    peers: bool = True


class Bench:
    """One configuration on one kind of data: the recorded honest run, and everyone's verdict on an output.

    Parameters
    ----------
    problem : Problem
    kind : str
    rungs : sequence of str
    """

    def __init__(self, problem: Problem, kind: str, rungs: Sequence[str], *, peers: bool = True) -> None:
        self.problem, self.kind, self._peers = problem, kind, peers
        self.drawn: Drawn = draw(problem, kind)
        replay = Replay(self.drawn.model, problem.precision, profile=problem.profile)
        before = replay.honest(draw(problem, kind, again=1).feeds)
        self.recording: Recording = replay.record(self.drawn.feeds, before)
        self.plain = self._numbers(self.recording.outputs)
        self.admissible = Admissible(
            Graph(self.drawn.model), self.drawn.values, problem.promise, tuple(rungs)
        )
        self._want = self.admissible.on("direct").tensors["y"].mid
        self._statistics = kind not in STRUCTURED

    def _numbers(self, outputs: Mapping[str, Array]) -> Array:
        return np.asarray(carried(self.problem, outputs["y"]))

    def run(self, entry: Entry) -> Array | None:
        """Return the output with a fault or by another kernel; None where it is the plain one.

        The sign of zero counts for nothing, and neither does what a ReLU makes of a NaN: ONNX does not say, and maxima of
        CUDA (`fmaxf`) give the other operand.
        """
        seed = zlib.crc32(f"{self.problem.seed} {self.kind} {entry.name}".encode())
        with np.errstate(all="ignore"):
            outputs = self.recording.faulty(entry.call, seed)
        if outputs is self.recording.outputs:
            return None
        found = self._numbers(outputs)
        both = np.isnan(self.plain) if self.problem.relu else np.isnan(found) & np.isnan(self.plain)
        same = (found == self.plain) | both
        return None if same.all() else found

    def refusals(self, got: Array) -> list[str]:
        """Return the names of the oracles that refuse an output."""
        judged = self.admissible.judge("y", got, statistics=self._statistics)
        found = [OURS] if judged.status != CONFORMS else []
        if judged.status == VIOLATES:
            found.append(HARD)
        if self._peers:
            pair = Pair.of(got, self._want, _OUTPUT_KINDS.get(self.problem.contract, "fp32"))
            found += [name for name, refuses in PEERS.items() if refuses(pair)]
        return found

    def explain(self, name: str, got: Array) -> str:
        """Return one line on why we refuse an output."""
        judged = self.admissible.judge("y", got, statistics=self._statistics)
        seen = judged.measure
        return (
            f"{name} on {self.kind}: {self.problem.text}: {seen.cause}, {seen.bad} of {seen.total}, at {seen.index} got "
            f"{seen.got!r}, allowed [{seen.low!r}, {seen.high!r}]"
        )


def honest_for(problem: Problem, rungs: Sequence[str]) -> list[Entry]:
    """Return the registered correct kernels that a contract allows on the rungs that pass, by name."""
    return [
        entry
        for _, entry in sorted(HONEST.items())
        if problem.contract in entry.contracts and entry.rung in rungs
    ]


def faults_for(problem: Problem, names: Sequence[str]) -> list[Entry]:
    """Return the faults among `names` that a contract forbids and that show within one run."""
    entries = [FAULTS[name] for name in names]
    return [entry for entry in entries if entry.is_pair and problem.contract in entry.contracts]


def measure_problem(task: Task) -> ProblemRow:
    """Return what came of one configuration."""
    started = time.perf_counter()
    problem = make_problem(task.contract, task.seed)
    kinds = kinds_for(task.contract, task.kinds)
    row = ProblemRow(task.contract, problem.text, bits_of(kinds))
    pairs: dict[str, PairRow] = {}
    faults, variants = faults_for(problem, task.faults), honest_for(problem, task.rungs)
    for kind in kinds:
        bench = Bench(problem, kind, task.rungs, peers=task.peers)
        _judge_honest(bench, row, _some(variants, task.variants, problem, kind))
        bit = bits_of([kind])
        for entry in faults:
            try:
                got = bench.run(entry)
            except Exception as error:  # a fault is foreign code: its error is a result
                row.broken.append(f"{entry.name} on {kind}: {problem.text}: {type(error).__name__}: {error}")
                continue
            if got is None:
                continue
            pair = pairs.setdefault(entry.name, PairRow(entry.name))
            pair.differs |= bit
            for oracle in bench.refusals(got):
                pair.refused[oracle] = pair.refused.get(oracle, 0) | bit
    row.pairs = list(pairs.values())
    row.seconds = time.perf_counter() - started
    return row


def _judge_honest(bench: Bench, row: ProblemRow, variants: Sequence[Entry]) -> None:
    outputs: list[tuple[str, Any]] = [(PLAIN, bench.plain)]
    for entry in variants:
        try:
            got = bench.run(entry)
        except Exception as error:  # as above
            row.broken.append(f"{entry.name} on {bench.kind}: {row.text}: {type(error).__name__}: {error}")
            continue
        if got is not None:
            outputs.append((entry.name, got))
    bit = bits_of([bench.kind])
    row.honest += len(outputs)
    for name, got in outputs:
        for oracle in bench.refusals(got):
            row.alarms[oracle] = row.alarms.get(oracle, 0) + 1
            row.dirty[oracle] = row.dirty.get(oracle, 0) | bit
            if oracle == OURS:
                row.named.append(bench.explain(name, got))


def _some(entries: list[Entry], count: int, problem: Problem, kind: str) -> list[Entry]:
    if count < 0 or count >= len(entries):
        return entries
    rng = np.random.default_rng([*problem.seed, 3, zlib.crc32(kind.encode())])
    return [entries[place] for place in sorted(rng.choice(len(entries), count, replace=False))]
