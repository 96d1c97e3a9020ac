"""`python -m pytest_trt lint`: what in an ONNX graph will cost speed, precision or the build, and a rewrite of some of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import ModelError, UsageError
from pytest_trt.hardware import GpuClass, detect, get
from pytest_trt.records import PRECISIONS

if TYPE_CHECKING:
    from pytest_trt.lint import Advice, Mended

# Without a GPU and without a word: the oldest class with every precision.
FALLBACK = "sm80"
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "--gpu", metavar="CLASS", help=f"as --gpu of pytest; default: the GPU here, else {FALLBACK}"
    )
    parser.add_argument(
        "--precision",
        metavar="NAMES",
        help=f"comma list of {' '.join(PRECISIONS)}; default: those of the class",
    )
    parser.add_argument(
        "--fix", type=Path, metavar="OUT", help="write a rewritten model that computes the same bits"
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=1x3x8x8",
        help="the shape of an input in the comparison of --fix; repeatable",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings too")
    parser.add_argument("--all", action="store_true", help=f"show every finding, not {_SHOWN} of a rule")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(given: argparse.Namespace) -> int:
    """Print what was found; return 1 on errors (`--strict`: on warnings too); wrong use is a `TrtError`."""
    gpu = _gpu(given.gpu)
    precisions = _precisions(given.precision, gpu)
    shapes = dict(_shape(text) for text in given.shape)
    from pytest_trt.lint import SEVERITIES, lint, mend, worst
    from pytest_trt.lint.load import load

    model = load(given.model)
    found = lint(model, gpu=gpu, precisions=precisions)
    mended: Mended | None = None
    refusal: ModelError | None = None
    if given.fix:
        try:
            mended = mend(model, shapes=shapes)
        except ModelError as error:
            refusal = error
        else:
            _write(mended.model, given.fix)
    if given.json:
        print(json.dumps(_facts(given, gpu, precisions, found, mended, refusal), indent=2))
    else:
        print("\n".join(render(found, shown=None if given.all else _SHOWN)))
        if mended is not None:
            print(_tell(mended, given.fix))
        if refusal is not None:
            print(f"--fix wrote nothing: {refusal}", file=sys.stderr)
    limit = SEVERITIES.index("warning" if given.strict else "error")
    severest = worst(found)
    return int(refusal is not None or (severest is not None and SEVERITIES.index(severest) >= limit))


def render(found: tuple[Advice, ...], shown: int | None = _SHOWN) -> list[str]:
    """Return a table of advice, one rule after the other, at most `shown` of each."""
    if not found:
        return ["nothing found"]
    lines: list[str] = []
    groups: dict[tuple[str, str], list[Advice]] = {}
    for advice in found:
        groups.setdefault((advice.severity, advice.rule), []).append(advice)
    for (severity, rule), members in groups.items():
        lines.append(f"{severity:7}  {rule}  ({len(members)})")
        for advice in members[:shown]:
            place = advice.node or advice.tensor or "model"
            lines.append(f"  {place}: {advice.what}{'  [--fix]' if advice.fixable else ''}")
        if shown is not None and len(members) > shown:
            lines.append(f"  and {len(members) - shown} more: --all")
        for word, texts in (("why", {m.why for m in members}), ("mend", {m.mend for m in members})):
            text = next(iter(texts)) if len(texts) == 1 else getattr(members[0], word)
            lines.append(f"    {word:4}  {text}")
    counts = {s: sum(a.severity == s for a in found) for s in ("error", "warning", "advice")}
    lines.append(", ".join(f"{count} {word}" for word, count in counts.items() if count))
    return lines


def _tell(mended: Mended, path: Path) -> str:
    if not mended.changes:
        return f"wrote {path}: nothing to rewrite"
    changes = ", ".join(f"{name} x {count}" for name, count in sorted(mended.changes.items()))
    return f"wrote {path}: {changes}; {mended.compared} output values are bit-equal, largest difference 0"


def _facts(
    given: argparse.Namespace,
    gpu: GpuClass,
    precisions: tuple[str, ...],
    found: tuple[Advice, ...],
    mended: Mended | None,
    refusal: ModelError | None,
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": str(given.model),
        "gpu": gpu.name,
        "precisions": list(precisions),
        "advice": [asdict(advice) for advice in found],
    }
    if mended is not None:
        facts["fix"] = {
            "path": str(given.fix),
            "changes": dict(mended.changes),
            "compared": mended.compared,
            "largest_difference": 0.0,
        }
    if refusal is not None:
        facts["fix"] = {"refused": str(refusal)}
    return facts


def _write(model: Any, path: Path) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(model.SerializeToString())
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written", why=error.strerror or str(error)) from error


def _gpu(name: str | None) -> GpuClass:
    if name is not None and name != "auto":
        return get(name)
    here = next((gpu.gpu_class for gpu in detect() if gpu.gpu_class is not None), None)
    return here or get(FALLBACK)


def _precisions(text: str | None, gpu: GpuClass) -> tuple[str, ...]:
    if text is None:
        return tuple(name for name in PRECISIONS if name in gpu.precisions)
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    wrong = [name for name in names if name not in PRECISIONS]
    if wrong or not names:
        raise UsageError(f"no precision {(wrong or [text])[0]!r}", why=f"good ones: {', '.join(PRECISIONS)}")
    return names


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, lengths = text.rpartition("=")
    parts = lengths.split("x")
    if not name or not all(part.isdecimal() for part in parts):
        raise UsageError(f"no shape {text!r}", mend="write NAME=LENGTHS, for instance --shape x=1x3x48x96")
    return name, tuple(map(int, parts))
