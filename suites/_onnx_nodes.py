"""Which node cases of `onnx` a session runs, and how a table of them is held against the one that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx

from pytest_trt.cases.nodes import NodeCase, node_cases
from pytest_trt.cases.nodes_known import KNOWN, SEEN_WITH, find_known
from pytest_trt.cases.nodes_table import BAD, Table, line_of, read_table
from pytest_trt.check.named import Checked
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime

GOLDEN = Path(__file__).parent.parent / "golden" / "onnx-nodes"
# How many cases the quick budget runs, of as many operators.
QUICK = 48
NUMBERS, ALIVE, TABLED, KNOWN_CASES = (
    "numbers of a node case",
    "survives a node case",
    "kept table",
    "known cases",
)


def choose(settings: Settings) -> tuple[NodeCase, ...]:
    """Return the cases of a budget: one of each of `QUICK` operators, drawn by the seed, or all."""
    cases = node_cases()
    if settings.budget != "quick":
        return cases
    rng = np.random.default_rng([abs(settings.seed), QUICK])
    groups: dict[str, list[NodeCase]] = {}
    for case in cases:
        groups.setdefault(case.operator, []).append(case)
    operators = sorted(groups)
    chosen = rng.permutation(len(operators))[:QUICK]
    return tuple(groups[operators[i]][int(rng.integers(len(groups[operators[i]])))] for i in sorted(chosen))


def judge_table(table: Table) -> list[Checked]:
    """Return what is wrong in a table: numbers, crashes, and known cases that end otherwise than they are known to."""
    rows: list[Checked] = []
    for name, row in table.rows.items():
        if find_known(name, table.product, row.outcome) is not None:
            rows.append((KNOWN_CASES, None))
            continue
        check = ALIVE if row.outcome in BAD[1:] else NUMBERS
        rows.append((check, f"{name}: {row.outcome}: {row.words}" if row.outcome in BAD else None))
    if (table.version, onnx.__version__, metadata.version("onnxruntime")) == SEEN_WITH:
        rows += [
            (
                KNOWN_CASES,
                f"{entry.name} is {table.rows[entry.name].outcome} now: delete its row in nodes_known.py",
            )
            for entry in KNOWN
            if entry.product == table.product
            and entry.name in table.rows
            and table.rows[entry.name].outcome not in BAD
        ]
    return rows


def kept_table(rt: Runtime, folder: Path = GOLDEN) -> Table | None:
    """Return the table that is kept of this very TensorRT, GPU class and `onnx`; None where there is none."""
    empty = Table("build", rt.product, rt.version, rt.gpu.name, onnx.__version__)
    path = folder / empty.file_name
    return read_table(path) if path.is_file() else None


def compare_kept(table: Table, kept: Table) -> list[Checked]:
    """Return which cases end otherwise than in the table that is kept, with the line that belongs there now."""
    rows: list[Checked] = []
    for name, row in table.rows.items():
        note = None
        if kept.rows.get(name) != row:
            note = f"{name} was {_ending(kept, name)}; if that is right, the line in {kept.file_name} is now"
            note = f"{note}\n  {line_of(name, row)}"
        rows.append((TABLED, note))
    return rows


def _ending(table: Table, name: str) -> str:
    row = table.rows.get(name)
    return "not there" if row is None else f"{row.outcome} ({row.words})" if row.words else row.outcome


def tell(table: Table) -> dict[str, object]:
    """Return a table as a section of the report."""
    rows: Sequence[tuple[str, int]] = tuple(table.counts.items())
    return {"title": f"node cases: {table.title}", "head": ("outcome", "cases"), "rows": rows}
