"""The node cases of `onnx` as a table: made in processes that may die, written one line a case, and held against another."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from pytest_trt.cases.nodes import NodeCase
from pytest_trt.cases.nodes_judge import BUILDS, CRASHED, HUNG, OUTCOMES, REFUSED, SUPPORTED, WRONG
from pytest_trt.errors import InputError
from pytest_trt.records import Settings
from pytest_trt.runtime.contained import DONE, Ended, run_contained
from pytest_trt.runtime.contained import HUNG as WORKER_HUNG
from pytest_trt.runtime.load import Runtime

SCHEMA = 1
BUILD, EXECUTE = "build", "execute"
GOOD = (SUPPORTED, BUILDS)
BAD = (WRONG, CRASHED, HUNG)
# Classes of changes, the worst first; the first four fail a comparison.
NOW_CRASHES, NOW_WRONG, LOST, DROPPED = "now crashes", "now wrong", "lost", "dropped"
GAINED, ADDED, OTHER_WORDS = "gained", "added", "other words"
CHANGES = (NOW_CRASHES, NOW_WRONG, LOST, DROPPED, GAINED, ADDED, OTHER_WORDS)
WORSE = CHANGES[:4]
_MAKERS = {BUILD: "make_builder", EXECUTE: "make_executor"}
_WORDS = 140


@dataclass(frozen=True)
class Row:
    """How one case ended: its operator, one of `nodes_judge.OUTCOMES`, and words for it."""

    operator: str
    outcome: str
    words: str = ""


@dataclass(frozen=True)
class Table:
    """How all cases ended on one TensorRT.

    Attributes
    ----------
    kind : str
        `build` or `execute`.
    product, version, gpu : str
        `tensorrt_rtx`, `tensorrt` or `emulator`; its version, or the one whose API the emulator plays; the class built for.
    onnx : str
        Version of `onnx` whose cases they are.
    rows : mapping of str to Row
        By case name.
    """

    kind: str
    product: str
    version: str
    gpu: str
    onnx: str
    rows: Mapping[str, Row] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many cases ended in each way, in the order of `OUTCOMES`."""
        found = Counter(row.outcome for row in self.rows.values())
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}

    @property
    def title(self) -> str:
        """What it is about, in one line."""
        verb = "built" if self.kind == BUILD else "executed"
        return f"{self.product} {self.version}, {self.gpu}, {verb}; node cases of onnx {self.onnx}"

    @property
    def file_name(self) -> str:
        """The name under which it is kept: `tensorrt_rtx-1.7.1.116-l4-onnx-1.23.2.json`."""
        return f"{self.product}-{self.version}-{self.gpu}-onnx-{self.onnx}.json"


@dataclass(frozen=True)
class Change:
    """One case that ended otherwise: the class of the change, and both rows (None where there was none)."""

    kind: str
    name: str
    old: Row | None
    new: Row | None

    def __str__(self) -> str:
        old, new = (
            "none" if row is None else row.outcome + (f" ({row.words})" if row.words else "")
            for row in (self.old, self.new)
        )
        return f"{self.kind}: {self.name}: {old} -> {new}"


def make_table(
    settings: Settings,
    rt: Runtime,
    kind: str,
    cases: Iterable[NodeCase],
    *,
    jobs: int | None = None,
    timeout: float = 120.0,
    batch: int = 64,
    repeat: bool = True,
    target: str | None = None,
    told: Callable[[Ended], None] | None = None,
) -> Table:
    """Return how cases ended on a TensorRT, each in a process that may die with it.

    Parameters
    ----------
    settings : Settings
        For the processes; they find their TensorRT as this one was found.
    rt : Runtime
        Who it is; nothing is run on it here.
    kind : str
        `build` or `execute`.
    cases : iterable of NodeCase
    jobs : int, optional
        Processes at a time; default: as many as there are processors.
    timeout : float
        Seconds for one case.
    batch : int
        Cases that one process takes.
    repeat : bool
        A case that a builder refused after it had parsed, that crashed or hung is tried once more in a process of its own,
        and that counts: a refusal can be carried over into the next build of a process (seen with TensorRT-RTX 1.7.1).
    target : str, optional
        `module:function` that makes what judges a case; default: that of `cases.nodes_judge` for this kind.
    told : callable, optional
        Gets each `Ended`.
    """
    by_name = {case.name: case for case in cases}
    target = target or f"pytest_trt.cases.nodes_judge:{_MAKERS[kind]}"
    rows: dict[str, Row] = {}

    def go(names: Iterable[str], size: int) -> None:
        chosen = {name: by_name[name] for name in names}
        for ended in run_contained(
            target, chosen, arguments={"settings": settings}, workers=jobs, batch=size, timeout=timeout
        ):
            rows[ended.key] = row_of(by_name[ended.key], ended)
            if told is not None:
                told(ended)

    go(by_name, batch)
    if repeat:
        go([name for name, row in rows.items() if _is_doubtful(row, kind)], 1)
    version = rt.plays if rt.emulated else rt.version
    return Table(kind, rt.product, version, rt.gpu.name, onnx.__version__, dict(sorted(rows.items())))


def _is_doubtful(row: Row, kind: str) -> bool:
    if row.outcome in (CRASHED, HUNG):
        return True
    parsed = not row.words.startswith(("UNSUPPORTED_NODE", "INVALID_NODE"))
    return kind == BUILD and row.outcome == REFUSED and parsed


def row_of(case: NodeCase, ended: Ended) -> Row:
    """Return the row of a case from how its process ended it."""
    if ended.how == DONE:
        outcome, words = ended.value
        return Row(case.operator, outcome, words)
    words = " ".join(ended.words.split())
    if ended.how == WORKER_HUNG:
        return Row(case.operator, HUNG, words[:_WORDS])
    return Row(case.operator, CRASHED, f"{ended.how}: {words}"[:_WORDS])


def write_table(table: Table, path: Path) -> None:
    """Write a table as JSON, sorted, one line a case; a reader sees the old file or the new one."""
    head = {"schema": SCHEMA, "kind": table.kind, "product": table.product, "version": table.version}
    head |= {"gpu": table.gpu, "onnx": table.onnx, "counts": table.counts}
    lines = [json.dumps(head, indent=0).removesuffix("\n}") + ",", '"cases": {']
    rows = [(name, [row.operator, row.outcome, row.words]) for name, row in sorted(table.rows.items())]
    lines.append(
        ",\n".join(f"{json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in rows)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text("\n".join([*lines, "}", "}", ""]), encoding="utf-8")
    os.replace(beside, path)


def read_table(path: Path) -> Table:
    """Return a table from its file.

    Raises
    ------
    InputError
        It cannot be read, or is none.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise InputError(
                f"{path}: a table of schema {raw['schema']!r}",
                why=f"this version reads {SCHEMA}",
                mend="make it again",
            )
        rows = {name: Row(*row) for name, row in raw["cases"].items()}
        return Table(raw["kind"], raw["product"], raw["version"], raw["gpu"], raw["onnx"], rows)
    except OSError as error:
        raise InputError(f"{path}: cannot be read", why=str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a table of node cases",
            why=f"{type(error).__name__}: {error}",
            mend="make one: python -m pytest_trt nodes --out FILE",
        ) from None


def diff_tables(old: Table, new: Table) -> tuple[Change, ...]:
    """Return the cases that ended otherwise, the worst changes first, then by name.

    A case counts as lost when it was supported (or built) and is not, and as dropped when the new table lacks it.
    """
    changes = []
    for name in old.rows.keys() | new.rows.keys():
        before, after = old.rows.get(name), new.rows.get(name)
        kind = _change(before, after)
        if kind is not None:
            changes.append(Change(kind, name, before, after))
    return tuple(sorted(changes, key=lambda change: (CHANGES.index(change.kind), change.name)))


def _change(old: Row | None, new: Row | None) -> str | None:
    if new is None:
        return DROPPED
    if old is not None and old.outcome == new.outcome:
        return None if old.words == new.words else OTHER_WORDS
    if new.outcome in (CRASHED, HUNG):
        return NOW_CRASHES
    if new.outcome == WRONG:
        return NOW_WRONG
    if old is None:
        return ADDED
    if old.outcome in GOOD:
        return None if new.outcome in GOOD else LOST
    return GAINED if new.outcome in GOOD else OTHER_WORDS


def by_operator(table: Table) -> dict[str, dict[str, int]]:
    """Return the counts by operator, operators and outcomes in order."""
    operators = sorted({row.operator for row in table.rows.values()})
    return {
        operator: replace(
            table, rows={name: row for name, row in table.rows.items() if row.operator == operator}
        ).counts
        for operator in operators
    }


def line_of(name: str, row: Row) -> str:
    """Return the line of a table's file for a case, to be pasted there."""
    return f"{json.dumps(name)}: {json.dumps([row.operator, row.outcome, row.words], ensure_ascii=False)},"
