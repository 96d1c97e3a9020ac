"""`python -m pytest_trt bite`: how much the checks and the suites detect, against what other tools detect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.errors import UsageError
from pytest_trt.settings import BATTERIES, RUNGS

if TYPE_CHECKING:
    from pytest_trt.bite.files import Measurement
    from pytest_trt.bite.score import PairScore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--pairs", action="store_true", help="only the pair score: configurations x faults")
    parser.add_argument("--suites", action="store_true", help="only the suites, once per fault")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME",
        help="only this fault or correct kernel; repeatable",
    )
    parser.add_argument("--configurations", type=_positive, default=100, metavar="N", help="default: 100")
    parser.add_argument(
        "--configuration",
        action="append",
        default=[],
        metavar="CONTRACT:SEED",
        help="only this one, as in the brackets of a survivor: fp16:0:23; repeatable",
    )
    parser.add_argument("--battery", choices=sorted(BATTERIES), default="default", help="default: default")
    parser.add_argument(
        "--contracts", metavar="NAMES", help="comma list of fp32 tf32 fp16 fp16acc bf16 int8 fp8"
    )
    parser.add_argument("--seed", type=int, default=0, help="configurations and data are drawn from it")
    parser.add_argument(
        "--honest", type=_count, default=6, metavar="N|all", help="correct kernels a kind of data; default: 6"
    )
    parser.add_argument(
        "--rungs", default="direct,unfused", metavar="NAMES", help=f"comma list of {' '.join(RUNGS)}"
    )
    parser.add_argument("--jobs", type=_positive, metavar="N", help="processes; default: one a core")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is less than 1")
    return value


def _count(text: str) -> int:
    return -1 if text == "all" else _positive(text)


def run(given: argparse.Namespace) -> int:
    """Measure, print and return 1 if something falls short of the thresholds; wrong use is a `TrtError`."""
    from pytest_trt.bite import files, thresholds, words

    both = given.pairs == given.suites
    made = files.Measurement(_provenance(given))
    if both or given.pairs:
        score = measure_pairs(given, made)
        made.failures += thresholds.pair_failures(score)
        print("\n".join(words.pair_lines(score)), flush=True)
    if both or given.suites:
        measure_suites(given, made)
        made.failures += thresholds.suite_failures(made.suites, every=not given.fault)
        print("\n".join(["", *words.suite_lines(made.suites)] if both else words.suite_lines(made.suites)))
    for line in made.failures:
        print(f"FAILED: {line}")
    if given.json:
        files.write(made, given.json)
    return int(bool(made.failures))


def _provenance(given: argparse.Namespace) -> dict[str, object]:
    import numpy
    import onnxruntime

    from pytest_trt import __version__

    asked = {name: value for name, value in vars(given).items() if name not in ("command", "json", "jobs")}
    return {
        "pytest-trt": __version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
        **asked,
    }


def _names(given: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the faults and the correct kernels that were asked for: all of them if none was."""
    from pytest_trt.emulator.faults import FAULTS, HONEST

    unknown = [name for name in given.fault if name not in FAULTS and name not in HONEST]
    if unknown:
        import difflib

        near = difflib.get_close_matches(unknown[0], [*FAULTS, *HONEST], n=3)
        raise UsageError(
            f"no fault {unknown[0]!r}",
            why=f"near: {', '.join(near)}" if near else (),
            mend="the names: python -c 'from pytest_trt.emulator.faults import *; print(*FAULTS, *HONEST)'",
        )
    asked = given.fault or [*FAULTS, *HONEST]
    return [n for n in asked if n in FAULTS], [n for n in asked if n in HONEST]


def measure_pairs(given: argparse.Namespace, made: Measurement) -> PairScore:
    """Run the pairs, put them into `made` and return their score."""
    from pytest_trt.bite.pairs import ORACLES, Task, measure_problem
    from pytest_trt.bite.parallel import count_cores, run_all
    from pytest_trt.bite.score import score_pairs

    faults, _ = _names(given)
    tasks = [
        Task(contract, seed, BATTERIES[given.battery], tuple(faults), given.honest, _rungs(given))
        for contract, seed in _drawn(given)
    ]
    made.problems = run_all(measure_problem, tasks, given.jobs or count_cores(), "pairs")
    return score_pairs(made.problems, given.battery, ORACLES)


def _drawn(given: argparse.Namespace) -> list[tuple[str, tuple[int, ...]]]:
    from pytest_trt.bite.problems import available_contracts, number_problems
    from pytest_trt.emulator.faults import registry

    if given.configuration:
        found = []
        for text in given.configuration:
            contract, _, rest = text.partition(":")
            numbers = rest.split(":")
            if contract not in registry.CONTRACTS or not all(part.isdecimal() for part in numbers):
                raise UsageError(
                    f"no configuration {text!r}", mend="write CONTRACT:SEED, for instance fp16:0:23"
                )
            found.append((contract, tuple(map(int, numbers))))
        return found
    available = available_contracts()
    asked = _list(given.contracts, registry.CONTRACTS, "contract") if given.contracts else available
    missing = [name for name in asked if name not in available]
    if missing:
        raise UsageError(
            f"contract {missing[0]!r} needs a newer onnx",
            why="operator set 22",
            mend="pip install --upgrade onnx",
        )
    return list(number_problems(asked, given.configurations, given.seed))


def _rungs(given: argparse.Namespace) -> tuple[str, ...]:
    return _list(given.rungs, RUNGS, "rung")


def _list(text: str, good: tuple[str, ...], what: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [name for name in names if name not in good]
    if wrong or not names:
        raise UsageError(f"no {what} {(wrong or [text])[0]!r}", why=f"good ones: {', '.join(good)}")
    return names


def measure_suites(given: argparse.Namespace, made: Measurement) -> None:
    """Run the suites once per fault and correct kernel, and put the outcomes into `made`."""
    from pytest_trt.bite.parallel import count_cores, run_all
    from pytest_trt.bite.suites import SuiteTask, run_suites

    faults, honest = _names(given)
    tasks = [SuiteTask(name) for name in faults] + [SuiteTask(name, honest=True) for name in honest]
    made.suites = run_all(run_suites, tasks, given.jobs or count_cores(), "suites", threads=True)
