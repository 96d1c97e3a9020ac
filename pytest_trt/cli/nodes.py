"""`python -m pytest_trt nodes`: which node cases of `onnx` a TensorRT supports, as a table that can be compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.errors import RuntimeMissingError, UsageError
from pytest_trt.records import Settings

if TYPE_CHECKING:
    from pytest_trt.cases.nodes_table import Table
    from pytest_trt.runtime.load import Runtime

_FILES = {"make": 0, "diff": 2, "show": 1}
_RUNTIMES = ("rtx", "emulator", "tensorrt", "tensorrt_rtx")
_SHOWN = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=tuple(_FILES),
        default="make",
        help="make a table (default); diff OLD NEW, exit status 1 where something got worse; show FILE by operator",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="tables, for diff and show")
    parser.add_argument(
        "--runtime",
        choices=_RUNTIMES,
        default="rtx",
        help="rtx builds with TensorRT-RTX, for which no GPU is needed (default); the others execute",
    )
    parser.add_argument(
        "--gpu", metavar="CLASS", default="l4", help="class to build for or to emulate; default l4"
    )
    parser.add_argument(
        "--emulate", metavar="VERSION", default=Settings.emulate, help="as --trt-emulate of pytest"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the table goes; default: its counts alone"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes at a time; default: one a processor")
    parser.add_argument(
        "--timeout", type=float, metavar="S", default=120.0, help="for one case; default 120 s"
    )
    parser.add_argument("-k", dest="pattern", metavar="PATTERN", help="only cases or operators that it finds")
    parser.add_argument(
        "--all", action="store_true", help=f"diff: show every change, not {_SHOWN} of a class"
    )


def run(given: argparse.Namespace) -> int:
    """Make, compare or show tables; wrong use is a `TrtError`.

    Returns 1 where a case is wrong, crashed or hung and is not known to be, or got worse from one table to the other.
    """
    if len(given.files) != _FILES[given.action]:
        raise UsageError(
            f"nodes {given.action} takes {_FILES[given.action]} files, not {len(given.files)}",
            mend="python -m pytest_trt nodes --out FILE, nodes diff OLD NEW, nodes show FILE",
        )
    if given.action == "diff":
        return _diff(*given.files, whole=given.all)
    if given.action == "show":
        return _show(given.files[0])
    return _make(given)


def _make(given: argparse.Namespace) -> int:
    from pytest_trt.cases.nodes import select
    from pytest_trt.cases.nodes_known import find_known
    from pytest_trt.cases.nodes_table import BAD, make_table, write_table

    if given.jobs is not None and given.jobs < 1:
        raise UsageError(f"--jobs={given.jobs} makes nothing", mend="--jobs=1 or more")
    settings, rt, kind = _who(given)
    table = make_table(settings, rt, kind, select(given.pattern), jobs=given.jobs, timeout=given.timeout)
    print(_summary(table))
    bad = 0
    for name, row in table.rows.items():
        if row.outcome not in BAD:
            continue
        is_known = find_known(name, table.product, row.outcome) is not None
        bad += not is_known
        print(f"{row.outcome}{' as known' if is_known else ''}: {name}: {row.words}")
    if given.out is not None:
        write_table(table, given.out)
        print(f"written to {given.out}")
    return int(bool(bad))


def _who(given: argparse.Namespace) -> tuple[Settings, Runtime, str]:
    from pytest_trt.cases.nodes_table import BUILD, EXECUTE
    from pytest_trt.runtime.load import discover, find_builder

    if given.runtime == "rtx":
        settings = Settings(gpu=given.gpu)
        builder = find_builder(settings)
        if builder is None:
            raise RuntimeMissingError(
                "no TensorRT-RTX builds here", mend="pip install tensorrt-rtx; or --runtime=emulator"
            )
        return settings, builder, BUILD
    settings = Settings(runtime=given.runtime, gpu=given.gpu, emulate=given.emulate)
    executor = discover(settings).executor
    if executor is None:
        raise RuntimeMissingError(
            f"{given.runtime} executes nothing here", mend="run it where the GPU is, or --runtime=emulator"
        )
    return settings, executor, EXECUTE


def _summary(table: Table) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in table.counts.items())
    return f"{table.title}\n{len(table.rows)} cases: {counts}"


def _diff(old_path: Path, new_path: Path, *, whole: bool) -> int:
    from pytest_trt.cases.nodes_table import CHANGES, WORSE, diff_tables, read_table

    old, new = read_table(old_path), read_table(new_path)
    if old.kind != new.kind:
        raise UsageError(
            f"{old_path} is of what was {old.kind}, {new_path} of {new.kind}: they cannot be compared",
            mend="compare two tables of one kind",
        )
    print(f"old: {_summary(old)}\nnew: {_summary(new)}")
    changes = diff_tables(old, new)
    for kind in CHANGES:
        found = [change for change in changes if change.kind == kind]
        if not found:
            continue
        print(f"{kind}: {len(found)}")
        for change in found if whole else found[:_SHOWN]:
            print(f"  {change}")
        if not whole and len(found) > _SHOWN:
            print(f"  and {len(found) - _SHOWN} more: --all")
    if not changes:
        print("no case ends otherwise")
    return int(any(change.kind in WORSE for change in changes))


def _show(path: Path) -> int:
    from pytest_trt.cases.nodes_table import by_operator, read_table

    table = read_table(path)
    print(_summary(table))
    rows = by_operator(table)
    width = max(map(len, rows), default=0)
    for operator, counts in rows.items():
        print(f"{operator:<{width}}  " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0
