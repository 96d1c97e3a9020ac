"""Triggers of the public bugs; importing the package registers them in `TRIGGERS`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from pytest_trt.cases.triggers.registry import (
    CONFIGURATION,
    FIDELITIES,
    REPRODUCER,
    STAND_IN,
    TRIGGERS,
    Trigger,
)
from pytest_trt.cases.triggers.trial import Inapplicable, Trial, checks_of

# Importing a module registers what it holds.
MODULES = tuple(sorted(m.name for m in iter_modules(__path__) if m.name not in ("registry", "trial")))

for _name in MODULES:
    import_module(f"{__name__}.{_name}")

__all__ = [
    "CONFIGURATION",
    "FIDELITIES",
    "REPRODUCER",
    "STAND_IN",
    "TRIGGERS",
    "Inapplicable",
    "Trial",
    "Trigger",
    "checks_of",
]
