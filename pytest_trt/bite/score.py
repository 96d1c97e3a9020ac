"""From what was measured on each configuration to scores: by battery, family, contract, fault and oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from pytest_trt.bite.intervals import Share
from pytest_trt.bite.records import BATTERY_BITS, OURS, PairRow, ProblemRow
from pytest_trt.emulator.faults.registry import FAULTS, PAIR_FAMILIES

_EVERY = -1


@dataclass(frozen=True)
class OracleScore:
    """What one oracle detects, and how often it is wrong.

    Attributes
    ----------
    useful : Share
        Pairs refused on a kind of data on which the oracle accepts every correct kernel.
    raw : Share
        Pairs refused on any kind.
    alarms : Share
        Refused outputs of correct kernels, of all of these.
    """

    oracle: str
    useful: Share
    raw: Share
    alarms: Share


@dataclass(frozen=True)
class Survivor:
    """A fault that changes an output of a configuration and is never refused usefully there."""

    fault: str
    text: str


@dataclass
class PairScore:
    """The pair score of one run.

    Attributes
    ----------
    battery : str
        What was drawn: the name of a battery, or the kinds.
    rows : list of ProblemRow
    oracles : list of OracleScore
        Ours first.
    batteries, families, contracts, faults : dict of str to Share
        Our useful score: on the kinds of each battery within the one that was drawn, and by group on all that was drawn.
    survivors : list of Survivor
    """

    battery: str
    rows: list[ProblemRow]
    oracles: list[OracleScore] = field(default_factory=list)
    batteries: dict[str, Share] = field(default_factory=dict)
    families: dict[str, Share] = field(default_factory=dict)
    contracts: dict[str, Share] = field(default_factory=dict)
    faults: dict[str, Share] = field(default_factory=dict)
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def ours(self) -> OracleScore:
        """The score of the project's own check."""
        return self.oracles[0]

    @property
    def broken(self) -> list[str]:
        """Faults that raised."""
        return [line for row in self.rows for line in row.broken]

    @property
    def alarms(self) -> list[str]:
        """Our false alarms, one line each."""
        return [line for row in self.rows for line in row.named]


def is_useful(pair: PairRow, row: ProblemRow, oracle: str, kinds: int = _EVERY) -> bool:
    """Tell whether an oracle refuses a fault on a kind on which it accepts every correct kernel."""
    return bool(pair.refused.get(oracle, 0) & ~row.dirty.get(oracle, 0) & kinds)


def _is_refused(pair: PairRow, row: ProblemRow, oracle: str) -> bool:
    return bool(pair.refused.get(oracle, 0))


def score_pairs(rows: Sequence[ProblemRow], battery: str, oracles: Iterable[str]) -> PairScore:
    """Return the scores of what was measured.

    A pair is a fault and a configuration on which it changes a bit, on at least one kind that was drawn; a smaller battery is
    scored over the same pairs.
    """
    score = PairScore(battery, list(rows))
    drawn = 0
    for row in rows:
        drawn |= row.kinds
    honest = sum(row.honest for row in rows)
    for oracle in oracles:
        score.oracles.append(
            OracleScore(
                oracle,
                _share(rows, partial(is_useful, oracle=oracle)),
                _share(rows, partial(_is_refused, oracle=oracle)),
                Share(sum(row.alarms.get(oracle, 0) for row in rows), honest),
            )
        )
    for name, kinds in BATTERY_BITS.items():
        if kinds & ~drawn == 0:
            score.batteries[name] = _share(rows, partial(is_useful, oracle=OURS, kinds=kinds))
    score.families = _grouped(rows, lambda pair, row: FAULTS[pair.fault].family, PAIR_FAMILIES)
    score.contracts = _grouped(rows, lambda pair, row: row.contract)
    score.faults = _grouped(rows, lambda pair, row: pair.fault)
    score.survivors = [
        Survivor(pair.fault, row.text) for pair, row in _pairs(rows) if not is_useful(pair, row, OURS)
    ]
    return score


def _pairs(rows: Iterable[ProblemRow]) -> Iterator[tuple[PairRow, ProblemRow]]:
    for row in rows:
        for pair in row.pairs:
            yield pair, row


def _share(rows: Iterable[ProblemRow], is_caught: Callable[[PairRow, ProblemRow], bool]) -> Share:
    outcomes = [is_caught(pair, row) for pair, row in _pairs(rows)]
    return Share(sum(outcomes), len(outcomes))


def _grouped(
    rows: Iterable[ProblemRow], group: Callable[[PairRow, ProblemRow], str], order: Sequence[str] = ()
) -> dict[str, Share]:
    found: dict[str, list[bool]] = {name: [] for name in order}
    for pair, row in _pairs(rows):
        found.setdefault(group(pair, row), []).append(is_useful(pair, row, OURS))
    names = list(found) if order else sorted(found)
    return {name: Share(sum(found[name]), len(found[name])) for name in names if found[name]}
