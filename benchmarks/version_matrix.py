"""Run the suites on every TensorRT that the emulator plays, by every route to every precision, and print one table.

    python benchmarks/version_matrix.py [--versions tensorrt-8.6.1 ...] [--gpus a100 t4] [--precisions fp16 int8] [--networks]
        [--routes strong weak+obey ...] [--jobs 1] [--markdown]

A route is a typing (weak, strong), under weak typing how binding the types of layers are (off, prefer, obey), and for INT8 how it
is asked for (explicit, implicit) and the type of what is not INT8 (off, fp16). Which version has which route is written down
here from the Python bindings that NVIDIA publishes; it is not asked of the code under test.

- A version that has the route has to pass the suites (`test_build.py` aside: it is about real libraries), with no skip but those
  that say why in words, and its builds must show the route: what each build asked of TensorRT's API is recorded on the way.
- A version that lacks it has to refuse, and the message has to name the version and an option that works. Options that contradict
  each other on every version are refused as well; there the message names an option that works.

It is the emulator, TensorRT's API played over ONNX Runtime, that runs; no TensorRT executes. Exit status 1: a failure, a silent
skip, a route that was not taken, or a refusal without the words.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_trt.hardware import get

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = (
    "tensorrt-8.6.1",
    "tensorrt-10.0.1",
    "tensorrt-10.13",
    "tensorrt-10.16",
    "tensorrt-11.0",
    "tensorrt-11.4",
    "tensorrt_rtx-1.7",
)
GPUS = ("a100", "t4")
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
FLOATS = PRECISIONS[:-1]
LEFT_OUT = ("test_build.py", "test_models.py")
# The tests whose every build is on the route; others build on routes of their own as well.
ROUTED = ("test_operators.py::test_conv[", "test_operators.py::test_gemm[")
PROBE = "suites/test_operators.py::test_conv"
TYPINGS = ("weak", "strong")
CONSTRAINTS = ("off", "prefer", "obey")
INT8 = ("explicit", "implicit")
HYBRIDS = ("off", "fp16")


@dataclass(frozen=True)
class Route:
    """One way to ask for precisions."""

    typing: str
    constraints: str = "off"
    int8: str = "explicit"
    hybrid: str = "off"

    @property
    def name(self) -> str:
        """Return it in words: `weak+obey`, `strong`, `weak implicit+fp16`."""
        binding = "" if self.constraints == "off" else f"+{self.constraints}"
        kind = "" if self.int8 == "explicit" else " implicit"
        return f"{self.typing}{binding}{kind}{'' if self.hybrid == 'off' else f' hybrid {self.hybrid}'}"

    @property
    def options(self) -> tuple[str, ...]:
        """Return it as options of pytest."""
        return tuple(f"--trt-{field.name}={getattr(self, field.name)}" for field in dataclasses.fields(self))


@dataclass(frozen=True)
class Lack:
    """Why a route is refused: options of which the refusal names one, and whether another version has the route."""

    ways: tuple[str, ...]
    of_version: bool


@dataclass(frozen=True)
class Cell:
    """One run: a version on a GPU class, a route, and the precisions that go together."""

    version: str
    gpu: str
    route: Route
    precisions: tuple[str, ...]
    lack: Lack | None  # None: the version has the route


@dataclass(frozen=True)
class Row:
    """One line of the table: how one precision ended."""

    cell: Cell
    precision: str
    passed: int
    failed: int
    skipped: int
    words: str
    trouble: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--versions", nargs="+", default=VERSIONS, choices=VERSIONS, metavar="VERSION")
    parser.add_argument("--gpus", nargs="+", default=GPUS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--routes", nargs="+", help="names as in the table")
    parser.add_argument("--networks", action="store_true", help="the trained networks as well")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args(arguments)
    cells = [
        cell
        for cell in find_cells(options.versions, options.gpus, options.precisions)
        if not options.routes or cell.route.name in options.routes
    ]
    begin = time.perf_counter()
    rows: list[Row] = []
    skips: Counter[str] = Counter()
    print(line(("version", "gpu", "route", "precision", "passed", "failed", "skipped", "words")))
    if options.markdown:
        print(line(("---",) * 8))
    with ThreadPoolExecutor(options.jobs) as pool:
        for found, reasons in pool.map(lambda cell: run(cell, options.networks), cells):
            rows += found
            skips += reasons
            for row in found:
                print(line(cells_of(row)), flush=True)
                for trouble in shorten(row.trouble):
                    print(f"  TROUBLE {trouble}", flush=True)
    bad = [row for row in rows if row.trouble]
    refused = sum(row.cell.lack is not None for row in rows)
    print(
        f"\n{len(rows)} rows: {len(rows) - refused - sum(not r.cell.lack for r in bad)} pass,"
        f" {refused - sum(r.cell.lack is not None for r in bad)} are refused in words, {len(bad)} are in trouble;"
        f" {sum(row.passed for row in rows)} tests passed, {time.perf_counter() - begin:.0f} s"
    )
    for words, count in sorted(skips.items()):
        print(f"  skipped {count} times: {words}")
    return 1 if bad or not rows else 0


def find_cells(versions: Sequence[str], gpus: Sequence[str], precisions: Sequence[str]) -> Iterator[Cell]:
    """Yield every run, one with all precisions that share a fate."""
    for version, gpu in itertools.product(versions, gpus):
        offered = [name for name in precisions if name in get(gpu).precisions]
        floats = [name for name in offered if name in FLOATS]
        for typing, constraints in itertools.product(TYPINGS, CONSTRAINTS):
            route = Route(typing, constraints)
            fates: dict[Lack | None, list[str]] = {}
            for name in floats:
                fates.setdefault(find_lack(version, route, name), []).append(name)
            for lack, names in fates.items():
                yield Cell(version, gpu, route, tuple(names), lack)
            if "int8" in offered:
                for int8, hybrid in itertools.product(INT8, HYBRIDS):
                    route = Route(typing, constraints, int8, hybrid)
                    yield Cell(version, gpu, route, ("int8",), find_lack(version, route, "int8"))


def find_lack(version: str, route: Route, precision: str) -> Lack | None:
    """Return why a version has to refuse a route; None where it has it.

    Source: names in the bindings. Weak typing, precision constraints and calibrators end with TensorRT 10.16, and
    TensorRT-RTX 1.7 has none of them; `STRONGLY_TYPED` and `BuilderFlag.BF16` begin with 10.0. Constraints and calibrators are of
    weakly typed networks. A constraint names one type for every layer, so it excludes INT8 beside another type.
    """
    product, _, number = version.partition("-")
    major = int(number.partition(".")[0])
    weak = product == "tensorrt" and major < 11
    strong = product == "tensorrt_rtx" or major >= 10
    implicit = route.int8 == "implicit" and precision == "int8"
    hybrid = route.hybrid != "off" and precision == "int8"
    lacks = [
        (route.typing == "weak" and not weak, ("--trt-typing=strong",)),
        (route.typing == "strong" and not strong, ("--trt-typing=weak",)),
        (route.constraints != "off" and not weak, ("--trt-constraints=off",)),
        (implicit and not weak, ("--trt-int8=explicit",)),
        (precision == "bf16" and route.typing == "weak" and not strong, ("fp16",)),
    ]
    contradictions = [
        (
            route.constraints != "off" and route.typing == "strong",
            ("--trt-constraints=off", "--trt-typing=weak"),
        ),
        (implicit and route.typing == "strong", ("--trt-int8=explicit", "--trt-typing=weak")),
        (hybrid and route.constraints != "off", ("--trt-constraints=off", "--trt-hybrid=off")),
    ]
    of_version = tuple(way for lacking, ways in lacks for way in ways if lacking)
    if of_version:
        return Lack(of_version, True)
    ways = tuple(way for lacking, ways in contradictions for way in ways if lacking)
    return Lack(ways, False) if ways else None


def run(cell: Cell, networks: bool = False) -> tuple[list[Row], Counter[str]]:
    """Return the rows of one run and the words of its skips."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        where = [PROBE] if cell.lack else ["suites"]
        left = LEFT_OUT[:1] if networks else LEFT_OUT
        command = [
            *(sys.executable, "-m", "pytest", *where, "-q", "-p", "no:cacheprovider", "-p", "route_spy"),
            *(
                "-p",
                "no:xdist",
                f"--route-spy={out}",
                "--trt-runtime=emulator",
                f"--trt-emulate={cell.version}",
            ),
            *(f"--gpu={cell.gpu}", f"--trt-precision={','.join(cell.precisions)}", *cell.route.options),
            *(f"--ignore=suites/{name}" for name in left),
        ]
        path = os.pathsep.join(filter(None, (str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH"))))
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"tests": {}}
    printed = ended.stdout + ended.stderr
    if cell.lack:
        return [judge_refusal(cell, name, found["tests"], printed) for name in cell.precisions], Counter()
    rows = [judge_run(cell, name, found["tests"], printed) for name in cell.precisions]
    skips = Counter(
        entry["words"] for entry in found["tests"].values() if entry["outcome"] in ("skipped", "xfailed")
    )
    if ended.returncode and not any(row.trouble for row in rows):
        last = rows[-1]
        failed = [name for name, entry in found["tests"].items() if entry["outcome"] == "failed"]
        what = f"pytest ended with {ended.returncode}: {', '.join(failed) or printed[-500:]}"
        rows[-1] = dataclasses.replace(last, trouble=(*last.trouble, f"{what}\n    {' '.join(command)}"))
    return rows, skips


def judge_run(cell: Cell, precision: str, tests: dict[str, Any], printed: str) -> Row:
    """Return the row of a precision that has to pass."""
    mine = {name: entry for name, entry in tests.items() if precision in parts_of(name)}
    count = Counter(entry["outcome"] for entry in mine.values())
    trouble = [
        f"{name}: {first_error(entry['words'])}"
        for name, entry in mine.items()
        if entry["outcome"] not in ("passed", "skipped", "xfailed")
    ]
    trouble += [
        f"{name} is skipped without words"
        for name, entry in mine.items()
        if entry["outcome"] == "skipped" and not says_why(entry["words"])
    ]
    routed = {
        name: entry
        for name, entry in mine.items()
        if any(part in name for part in ROUTED) and entry["builds"]
    }
    if len(routed) < len(ROUTED):
        trouble.append(
            f"{len(routed)} of {len(ROUTED)} tests that show the route were built: {printed[-300:]}"
        )
    for name, entry in routed.items():
        wrong = Counter(
            words for asked in entry["builds"] for words in wrong_route(cell.route, precision, asked)
        )
        trouble += [f"{name}: {n} of {len(entry['builds'])} builds: {words}" for words, n in wrong.items()]
    return Row(cell, precision, count["passed"], count["failed"], count["skipped"], "", tuple(trouble))


def judge_refusal(cell: Cell, precision: str, tests: dict[str, Any], printed: str) -> Row:
    """Return the row of a precision that has to be refused, in words that name the version and the way that works."""
    mine = {name: entry for name, entry in tests.items() if precision in parts_of(name)}
    words = "\n".join(entry["words"] for entry in mine.values()) or printed
    count = Counter(entry["outcome"] for entry in mine.values())
    trouble = []
    if count["passed"] or (mine and not count["failed"]):
        trouble.append(f"not refused: {dict(count)}")
    assert cell.lack is not None
    if cell.lack.of_version and f"({cell.version}" not in words and title_of(cell.version) not in words:
        trouble.append(f"the refusal does not name the version: {first_error(words)}")
    if not any(way in words for way in cell.lack.ways):
        trouble.append(f"the refusal names none of {', '.join(cell.lack.ways)}: {first_error(words)}")
    return Row(cell, precision, 0, 0, 0, f"refused: {first_error(words)}", tuple(trouble))


def wrong_route(route: Route, precision: str, asked: dict[str, Any]) -> Iterator[str]:
    """Yield what a build asked of TensorRT otherwise than the route says."""
    flags, types = set(asked["flags"]), set(asked["types"])
    strong = route.typing == "strong"
    if asked["strong"] != strong:
        yield f"the network is {'strongly' if asked['strong'] else 'weakly'} typed"
    wanted = {"TF32"} if precision == "tf32" else set()
    if not strong:
        wanted |= {precision.upper()} & {"FP16", "BF16", "INT8"}
        if precision == "int8" and route.hybrid != "off":
            wanted.add(route.hybrid.upper())
        if route.constraints != "off":
            wanted.add(f"{route.constraints.upper()}_PRECISION_CONSTRAINTS")
    if flags != wanted:
        yield f"builder flags {sorted(flags)}, wanted {sorted(wanted)}"
    graph_says = precision == "int8" and route.int8 == "explicit"  # Q/DQ say for themselves where INT8 is
    if (asked["typed"] > 0) != (route.constraints != "off" and not graph_says):
        yield f"{asked['typed']} layers were given a type"
    halves = types & {"HALF", "BF16"}
    kind = precision if precision in ("fp16", "bf16") else route.hybrid if precision == "int8" else "off"
    if halves != ({{"fp16": "HALF", "bf16": "BF16"}[kind]} if strong and kind != "off" else set()):
        yield f"tensors of the types {sorted(types)}"
    implicit = precision == "int8" and route.int8 == "implicit"
    if (asked["calibrator"] or asked["ranges"] > 0) != implicit:
        yield f"calibrator: {asked['calibrator']}, tensors with a range: {asked['ranges']}"
    if (asked["quantize"] > 0) != (precision == "int8" and not implicit):
        yield f"{asked['quantize']} Q/DQ layers"


def shorten(trouble: Sequence[str]) -> Iterator[str]:
    """Yield the troubles; tests with the same words share a line."""
    same: dict[str, list[str]] = {}
    for text in trouble:
        test, mark, words = text.partition("]: ")
        same.setdefault(words if mark else text, []).append(f"{test}]" if mark else "")
    for words, tests in same.items():
        more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
        yield f"{tests[0]}{more}: {words}" if tests[0] else words


def parts_of(nodeid: str) -> list[str]:
    """Return the parts of a test's parameters."""
    return nodeid.partition("[")[2].rstrip("]").split("-")


def title_of(version: str) -> str:
    """Return how a person writes a version: `TensorRT 8.6.1`, `TensorRT-RTX 1.7`."""
    product, _, number = version.partition("-")
    return f"{'TensorRT-RTX' if product == 'tensorrt_rtx' else 'TensorRT'} {number}"


def says_why(words: str) -> bool:
    """Tell whether a skip says that something does not apply, or how to get what is missing."""
    return any(part in words for part in ("not applicable", "to get it"))


def first_error(words: str) -> str:
    """Return the first line of the error in a report."""
    lines = [text[1:].strip() for text in words.splitlines() if text.startswith("E ")]
    named = [text for text in lines if text.startswith("pytest_trt.errors.")]
    chosen = named[:1] or lines[:1] or words.strip().splitlines()[-1:] or ["no words"]
    return chosen[0].removeprefix("pytest_trt.errors.")[:240]


def cells_of(row: Row) -> tuple[str, ...]:
    """Return the row as texts."""
    numbers = ("-",) * 3 if row.cell.lack else tuple(str(n) for n in (row.passed, row.failed, row.skipped))
    return (row.cell.version, row.cell.gpu, row.cell.route.name, row.precision, *numbers, row.words)


def line(texts: Sequence[str]) -> str:
    """Return one line of the table; it is Markdown that reads as plain text."""
    widths = (17, 5, 30, 9, 6, 6, 7, 0)
    return f"| {' | '.join(f'{text:<{width}}' for text, width in zip(texts, widths, strict=True))} |"


if __name__ == "__main__":
    sys.exit(main())
