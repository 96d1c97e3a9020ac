"""What the measurements give: plain data that travels between processes and into JSON.

Over the kinds of data of one configuration facts are kept as bits: bit i stands for the i-th kind of `records.DATA_KINDS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_trt.records import BATTERIES, DATA_KINDS

OURS = "pytest-trt"
HARD = "pytest-trt, no statistics"


def bits_of(kinds: Iterable[str]) -> int:
    """Return the bits of some kinds of data."""
    return sum(1 << DATA_KINDS.index(kind) for kind in kinds)


BATTERY_BITS = {name: bits_of(kinds) for name, kinds in BATTERIES.items()}


@dataclass
class PairRow:
    """One fault on one configuration.

    Attributes
    ----------
    fault : str
    differs : int
        Kinds on which the output is not the honest one.
    refused : dict of str to int
        By oracle: kinds on which it is refused.
    """

    fault: str
    differs: int = 0
    refused: dict[str, int] = field(default_factory=dict)


@dataclass
class ProblemRow:
    """One configuration with everything that ran on it.

    Attributes
    ----------
    contract, text : str
    kinds : int
        The kinds of data that were drawn.
    pairs : list of PairRow
        Of the faults that the contract forbids and that changed something.
    honest : int
        Outputs of correct kernels that were judged.
    alarms : dict of str to int
        By oracle: how many of these it refused.
    dirty : dict of str to int
        By oracle: kinds on which it refused one.
    named : list of str
        Our own false alarms: kernel, kind and numbers.
    broken : list of str
        Faults that raised, with the error.
    seconds : float
    """

    contract: str
    text: str
    kinds: int
    pairs: list[PairRow] = field(default_factory=list)
    honest: int = 0
    alarms: dict[str, int] = field(default_factory=dict)
    dirty: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class SuiteRow:
    """One fault, or one honest variant, in a run of the suites.

    Attributes
    ----------
    name, family : str
    mutants : list of str
        Of M01 to M33.
    precisions : list of str
        That the run had.
    outcome : str
        `caught`, `survived`, `not applicable`, `broken`; of an honest variant `passed` or `refused`.
    checks : list of str
        Of the verdict's findings, or the type of the error.
    test : str
        Name of the first test that failed.
    examples : int
        Drawn examples and plain tests that had run until then.
    seconds : float
    note : str
        The end of the output where the run itself failed.
    """

    name: str
    family: str
    mutants: list[str]
    precisions: list[str]
    outcome: str
    checks: list[str] = field(default_factory=list)
    test: str = ""
    examples: int = 0
    seconds: float = 0.0
    note: str = ""
