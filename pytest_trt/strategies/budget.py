"""How many examples a property test draws, from what seed, and how a failure is told."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase

from pytest_trt.records import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def apply_budget(function: Function, settings: Settings, *, salt: str = "") -> Function:
    """Return a property test that draws what a session's settings say.

    Parameters
    ----------
    function : callable
        A function made by `@given`. It is changed and returned, as hypothesis' own decorators do.
    settings : Settings
        `budget` gives the number of examples, `seed` their source; with `faults` nothing is shrunk.
    salt : str
        Mixed into the seed, so that two tests or two precisions do not draw the same.

    Notes
    -----
    No deadline, since a build has no usual time, and no database: a run is repeated by its seed, and a case
    by its text. Only hypothesis' public API is used, and no profile of the user's is touched.
    """
    phases = [Phase.explicit, Phase.generate, Phase.target]
    if not settings.faults:
        phases.append(Phase.shrink)
    budget = hypothesis.settings(
        max_examples=settings.examples,
        deadline=None,
        database=None,
        phases=phases,
        print_blob=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    seeded = hypothesis.seed(zlib.crc32(f"{settings.seed}/{salt}".encode()))
    budgeted: Function = budget(seeded(function))
    return budgeted
