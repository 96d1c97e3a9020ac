"""The public bugs of TensorRT (`bugs.toml`): who reported what, which check sees it, and whether a test provokes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pytest_trt.cases.claims import read_table
from pytest_trt.cases.mutants import CONTEXTS, FAILED_RUN, NUMBERS, ROWS
from pytest_trt.check import (
    calibrated,
    concurrent,
    equivalent,
    rebuild,
    relations,
    replays,
    sequences,
    sweeps,
)
from pytest_trt.errors import SettingsError

# The kinds of checks, and the names of findings, relations and errors that each goes by.
CHECKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DIF": (*NUMBERS, "bound"),
        "ROW": (*ROWS, sweeps.BATCH_SIZES),
        "OUT": (relations.EXTRA_OUTPUT, equivalent.EXTENDED),
        "PROF": (relations.WIDER_PROFILE, relations.BATCH_ONE, sweeps.PROFILE_ENDS),
        "CTX": CONTEXTS,
        "STALE": (
            concurrent.WRITTEN,
            concurrent.SYNCHRONOUS,
            relations.REPEAT,
            sequences.FOLLOWS,
            sequences.REFUSED,
            replays.REPLAYED,
            "nan",
            *FAILED_RUN,
        ),
        "UPG": (*NUMBERS, "upgrade", replays.REPLAYED, "ExecutionError"),
        "GPU": (*NUMBERS, "every-gpu-class"),
        "EDGE": NUMBERS,
        "OVF": NUMBERS,
        "Q": (*NUMBERS, calibrated.TABLE),
        "DET": (rebuild.REBUILT, rebuild.REBUILT_FROM_CACHE),
        "PREC": ("precision", "PrecisionError"),
        "REFIT": (rebuild.REFIT_SAME, rebuild.REFIT_OTHER, *FAILED_RUN),
        "BLD": ("build", "UnsupportedError", "ExecutionError"),
        "EQV": (equivalent.EQUIVALENT,),
        "LEAK": ("memory",),
    }
)


@dataclass(frozen=True)
class Bug:
    """One public report.

    Attributes
    ----------
    name : str
        `B01` to `B58`.
    threads : tuple of str
        `owner/repository#number`, or the document that tells of it.
    trigger, symptom : str
        What provokes it, and what came out.
    checks : tuple of str
        Kinds of checks that see it, members of `CHECKS`.
    versions, status : str
        Where it was seen, and what the thread says.
    unwritable : str
        Why no test provokes it; empty where one does.
    """

    name: str
    threads: tuple[str, ...]
    trigger: str
    symptom: str
    checks: tuple[str, ...]
    versions: str
    status: str
    unwritable: str = ""

    @property
    def links(self) -> tuple[str, ...]:
        """Addresses of the threads that have one."""
        return tuple(
            f"https://github.com/{thread.replace('#', '/issues/')}"
            for thread in self.threads
            if "#" in thread
        )


@cache
def _load() -> Mapping[str, Bug]:
    data = read_table("bugs.toml")
    made = {}
    for name, row in data.items():
        bug = Bug(name, tuple(row.pop("threads")), checks=tuple(row.pop("checks")), **row)
        unknown = set(bug.checks) - set(CHECKS)
        if unknown or not bug.checks or not bug.threads:
            raise SettingsError(
                f"bugs.toml: {name} has no good checks or no threads", why=f"unknown: {unknown}"
            )
        made[name] = bug
    return MappingProxyType(made)


BUGS: Mapping[str, Bug] = _load()
