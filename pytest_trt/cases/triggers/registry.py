"""What there is to provoke public bugs with: for each, code that a TensorRT with the bug gets wrong.

A trigger is put here by its decorator; `suites/test_bugs.py` runs it against the TensorRT at hand, and the project's own tests
run it against the emulator with the faults that imitate the bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.records import PRECISIONS

Provoke = Callable[[Trial], None]

# How near a trigger comes to what was reported: the graph of the thread itself; its operators, shapes and settings, rebuilt; a
# network of the same kind, because the reported one is not public. Only of the first two can be said that a bug is gone.
REPRODUCER = "reproducer"
CONFIGURATION = "configuration"
STAND_IN = "stand-in"
FIDELITIES = (REPRODUCER, CONFIGURATION, STAND_IN)


@dataclass(frozen=True)
class Trigger:
    """One way to provoke a bug.

    Attributes
    ----------
    bug : str
        `B01` to `B58`.
    provoke : callable(Trial)
        Raises `ConformanceError`, `PrecisionError` or `ExecutionError` where the bug is present, `UnsupportedError` where
        TensorRT refuses the model in words, `Inapplicable` where this TensorRT cannot have it.
    precisions : tuple of str
        It runs once for each.
    fidelity : str
        One of `FIDELITIES`.
    faults : tuple of str
        Names of faults of the emulator that imitate the bug.
    seldom : bool
        It takes more than ten seconds, or much memory: run at the standard budget and above.
    """

    bug: str
    provoke: Provoke
    precisions: tuple[str, ...]
    fidelity: str
    faults: tuple[str, ...]
    seldom: bool = False

    @property
    def name(self) -> str:
        """Name of the function, unique."""
        return self.provoke.__name__

    @property
    def sentence(self) -> str:
        """What has to hold: the first line of the function's docstring."""
        return (self.provoke.__doc__ or "").strip().splitlines()[0]


TRIGGERS: dict[str, Trigger] = {}


def trigger(
    bug: str,
    *,
    precisions: str = "fp32",
    fidelity: str = CONFIGURATION,
    faults: str = "",
    seldom: bool = False,
) -> Callable[[Provoke], Provoke]:
    """Register a trigger: the bug, precisions and faults in one string each; the docstring says what has to hold."""
    assert fidelity in FIDELITIES, fidelity
    assert precisions.split() and set(precisions.split()) <= set(PRECISIONS), precisions

    def register(provoke: Provoke) -> Provoke:
        assert provoke.__name__ not in TRIGGERS, provoke.__name__
        TRIGGERS[provoke.__name__] = Trigger(
            bug, provoke, tuple(precisions.split()), fidelity, tuple(faults.split()), seldom
        )
        return provoke

    return register
