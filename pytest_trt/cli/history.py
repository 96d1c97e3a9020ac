"""`python -m pytest_trt history`: the runs that pytest-benchmark stored, and whether a time has changed for good."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_trt.bench.history import BASELINE, Series, Step, load
from pytest_trt.bench.stability import finite
from pytest_trt.errors import SettingsError
from pytest_trt.report.terminal import table

FOLDER = ".benchmarks"
RECENT = 20
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path(FOLDER),
        metavar="FOLDER",
        help=f"pytest-benchmark's storage; default {FOLDER}",
    )
    parser.add_argument(
        "--benchmark", metavar="TEXT", default="", help="only those with this text in their name"
    )
    parser.add_argument("--fail", action="store_true", help="exit with 1 where a recent step is a slow-down")
    parser.add_argument(
        "--recent",
        type=int,
        default=RECENT,
        metavar="N",
        help=f"a step is recent if it began in the latest N reliable runs; default {RECENT}",
    )
    parser.add_argument("--points", action="store_true", help="each stored number, and why it is not used")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(given: argparse.Namespace) -> int:
    """Print the table; return 1 where `--fail` is given and something became slower lately."""
    if not given.folder.is_dir():
        raise SettingsError(
            f"history: {str(given.folder)!r} is no folder",
            why="pytest-benchmark stores runs there: pytest -m bench --benchmark-autosave",
            mend="name the folder that --benchmark-storage names",
        )
    if given.recent < 1:
        raise SettingsError(f"history: --recent={given.recent} is no number of runs")
    stored, trouble = load(given.folder)
    series = [one for one in stored if given.benchmark in one.benchmark]
    slower = [one for one in series if one.is_slower(given.recent)]
    if given.json:
        print(json.dumps([_plain(one, given.recent) for one in series], indent=1))
    elif stored and not series:
        print(f"no stored run has a benchmark with {given.benchmark!r} in its name")
    else:
        print("\n".join(_lines(series, slower, points=given.points)))
    for text in trouble:
        print(f"not read: {text}", file=sys.stderr if given.json else sys.stdout)
    return int(bool(given.fail and slower))


def _lines(series: Sequence[Series], slower: Sequence[Series], *, points: bool) -> list[str]:
    if not series:
        return ["no stored runs: pytest -m bench --benchmark-autosave makes them"]
    machines = list(dict.fromkeys(one.machine for one in series))
    lines = [f"[{number}] {machine}" for number, machine in enumerate(machines, 1)]
    rows = [_row(one, machines.index(one.machine) + 1) for one in series]
    head = ("benchmark", "machine", "runs", "reliable", "latest", "varies", "change", "step")
    lines += ["", *table(head, rows), ""]
    for one in series:
        if points:
            lines += [f"{one.benchmark} [{machines.index(one.machine) + 1}]", *_points(one), ""]
    lines.append(f"change: the latest reliable run beside the median of the first {BASELINE}")
    lines += [f"slower: {one.benchmark}: {_tell(one, one.steps[-1])}" for one in slower]
    return lines


def _row(one: Series, machine: int) -> tuple[str, ...]:
    used, steps = one.used, one.steps
    share = f"{len(used)}/{len(one.points)}"
    latest = used[-1] if used else None
    return (
        one.benchmark,
        f"[{machine}]",
        str(len(one.points)),
        share,
        show_seconds(latest.seconds) if latest else "none is reliable",
        _percent(latest.variation, sign=False) if latest else "-",
        _percent(one.change),
        _tell(one, steps[-1]) + (f"; {len(steps) - 1} before" if len(steps) > 1 else "") if steps else "no",
    )


def _tell(one: Series, step: Step) -> str:
    """Return a step in words: how large, when, and between which commits."""
    used = one.used
    first, last = used[step.first], used[step.first - 1]
    words = f"{_percent(step.change)} at {first.when:%Y-%m-%d %H:%M}"
    if last.commit or first.commit:
        words += f", {last.commit or '?'}..{first.commit or '?'}"
    return f"{words}, noticed {step.noticed - step.first + 1} runs on"


def _points(one: Series) -> list[str]:
    marks = {one.used[step.first] for step in one.steps}
    rows = []
    for point in one.points:
        note = "step" if point in marks else "; ".join(point.reasons)
        when = f"{point.when:%Y-%m-%d %H:%M}"
        varies = _percent(point.variation, sign=False)
        rows.append((when, show_seconds(point.seconds), varies, point.commit, note))
    return [f"  {line}" for line in table(("when", "median", "varies", "commit", ""), rows)]


def _percent(value: float, *, sign: bool = True) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:+.1f} %" if sign else f"{100 * value:.1f} %"


def show_seconds(seconds: float) -> str:
    """Return a time with a unit that fits it: `1.234 ms`."""
    scale, unit = next((pair for pair in UNITS if seconds >= pair[0]), UNITS[-1])
    return f"{seconds / scale:.4g} {unit}"


def _plain(one: Series, recent: int) -> dict[str, Any]:
    used = one.used
    return {
        "benchmark": one.benchmark,
        "machine": one.machine,
        "slower": one.is_slower(recent),
        "change": finite(one.change),
        "points": [
            {
                "when": point.when.isoformat(),
                "seconds": finite(point.seconds),
                "variation": finite(point.variation),
                "reliable": point.reliable,
                "reasons": list(point.reasons),
                "commit": point.commit,
                "source": point.source,
            }
            for point in one.points
        ],
        "steps": [
            {
                "when": used[step.first].when.isoformat(),
                "change": step.change,
                "before": step.before,
                "after": step.after,
                "noticed": used[step.noticed].when.isoformat(),
                "commits": [used[step.first - 1].commit, used[step.first].commit],
            }
            for step in one.steps
        ],
    }
