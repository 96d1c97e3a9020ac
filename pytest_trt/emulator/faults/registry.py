"""What there is to inject: each fault with its family, where it is one, and the public bugs that it imitates.

A fault is put here by its decorator; nothing else has to know it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Fault = Callable[[Any], Any]

# What a kernel was promised to be; `fp16acc` and `fp8` are contracts that no runtime here offers.
CONTRACTS = ("fp32", "tf32", "fp16", "fp16acc", "bf16", "int8", "fp8")

# Families of faults that change numbers within one run of one network: the pair score is taken over these.
PAIR_FAMILIES = (
    "geometry",
    "reduction",
    "epilogue",
    "memory",
    "small",
    "precision",
    "quant",
    "special",
)
# Families that need an operator, a sequence of calls or a build to show.
OTHER_FAMILIES = (
    "operator",
    "batch",
    "build",
    "plan",
    "calibration",
    "concurrency",
    "refit",
    "timing",
    "execution",
    "plugin",
    "log",
    "drift",
)


@dataclass(frozen=True)
class Entry:
    """One fault, or one honest variant.

    Attributes
    ----------
    call : callable(site)
    family : str
        A member of `PAIR_FAMILIES` or `OTHER_FAMILIES`; `honest` for a variant that has to pass.
    contracts : frozenset of str
        The contracts that forbid it (of an honest variant: that allow it), members of `CONTRACTS`.
    mutants : tuple of str
        The families M01 to M33 of mutants, made from public bugs, that it belongs to.
    rung : str
        Honest variants: the rung of the ladder that admits it.
    """

    call: Fault
    family: str
    contracts: frozenset[str]
    mutants: tuple[str, ...] = ()
    rung: str = "direct"

    @property
    def name(self) -> str:
        """Name to inject it by: `pytest_trt.emulator.faults:NAME`."""
        return self.call.__name__

    @property
    def is_pair(self) -> bool:
        """True where it shows within one run of one network."""
        return self.family in PAIR_FAMILIES


FAULTS: dict[str, Entry] = {}
HONEST: dict[str, Entry] = {}


def _contracts(names: str) -> frozenset[str]:
    chosen = frozenset(CONTRACTS if names == "all" else names.split())
    assert chosen <= set(CONTRACTS) and chosen, names
    return chosen


def fault(family: str, contracts: str = "all", mutants: str = "") -> Callable[[Fault], Fault]:
    """Register a fault: its family, the contracts that forbid it and its mutants, each list in one string."""
    assert family in PAIR_FAMILIES + OTHER_FAMILIES, family

    def register(call: Fault) -> Fault:
        assert call.__name__ not in FAULTS, call.__name__
        FAULTS[call.__name__] = Entry(call, family, _contracts(contracts), tuple(mutants.split()))
        return call

    return register


def honest(contracts: str = "all", rung: str = "direct") -> Callable[[Fault], Fault]:
    """Register another correct kernel: the contracts that allow it, and the rung that admits it."""

    def register(call: Fault) -> Fault:
        assert call.__name__ not in HONEST, call.__name__
        HONEST[call.__name__] = Entry(call, "honest", _contracts(contracts), ("M33",), rung)
        return call

    return register
