"""A measurement as JSON, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_trt.bite.records import PairRow, ProblemRow, SuiteRow
from pytest_trt.errors import UsageError

SCHEMA = 1


@dataclass
class Measurement:
    """Everything that one run of `bite` measured.

    Attributes
    ----------
    provenance : mapping
        Versions, seed, battery, rungs: what it takes to run it again.
    problems : list of ProblemRow
    suites : list of SuiteRow
    failures : list of str
        What it fell short of.
    """

    provenance: Mapping[str, Any] = field(default_factory=dict)
    problems: list[ProblemRow] = field(default_factory=list)
    suites: list[SuiteRow] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def write(measurement: Measurement, path: Path) -> None:
    """Write a measurement; a reader sees the old file or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps({"schema": SCHEMA, **asdict(measurement)}, indent=1), encoding="utf-8")
    os.replace(beside, path)


def read(path: Path) -> Measurement:
    """Return the measurement that a file holds.

    Raises
    ------
    UsageError
        It holds none, or one of another schema.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        schema = told.pop("schema")
        if schema != SCHEMA:
            raise UsageError(f"{str(path)!r} has schema {schema!r}", why=f"this version reads {SCHEMA}")
        problems = [
            ProblemRow(**{**row, "pairs": [PairRow(**pair) for pair in row["pairs"]]})
            for row in told["problems"]
        ]
        suites = [SuiteRow(**row) for row in told["suites"]]
        return Measurement(told["provenance"], problems, suites, told["failures"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{str(path)!r} holds no measurement", why=f"{type(error).__name__}: {error}"
        ) from None
