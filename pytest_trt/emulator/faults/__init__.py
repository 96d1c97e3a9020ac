"""Faults to inject with `--trt-fault=pytest_trt.emulator.faults:NAME`, and honest variants that every check must pass.

Each is a callable `fault(site)` (see `pytest_trt.emulator.sites`). Nothing here calls the reference or the checks.
`FAULTS` and `HONEST` hold them by name, with family and contracts (`registry.Entry`).
"""

from __future__ import annotations

from importlib import import_module

from pytest_trt.emulator.faults.registry import FAULTS, HONEST, Entry, Fault

# Importing a module registers what it holds. Each module is one family, or a part of one.
MODULES = (
    "geometry",
    "reduction",
    "epilogue",
    "memory",
    "small",
    "precision",
    "quant",
    "special",
    "operator",
    "honest",
    "batches",
    "sessions",
    "builds",
    "plans",
    "plugins",
    "calibration",
    "timing",
    "logs",
    "large",
    "tuning",
    "reported",
    "reported_builds",
    "sequences",
    "views",
    "dumps",
    "drift",
    "races",
)

for _name in MODULES:
    import_module(f"{__name__}.{_name}")


def __getattr__(name: str) -> Fault:
    for table in (FAULTS, HONEST):
        if name in table:
            return table[name].call
    raise AttributeError(f"no fault {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *FAULTS, *HONEST])


__all__ = ["FAULTS", "HONEST", "Entry", "Fault"]
