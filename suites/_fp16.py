"""What the FP16 report of a network has to show: the reference, the counts, the pattern of TensorRT's FAQ, and overflow.

The figures of the FAQ ("How to fix FP16 accuracy issue?"): of a UNet's first block 0.9069 % of the convolution's values are
more than 10 % away from FP32, 0.0142 % behind its batch normalisation, and 0.0075 % behind its ReLU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from pytest_trt.check.half import HalfReport, half_report
from pytest_trt.check.half_pair import Pair, run_pair
from pytest_trt.check.interpret import interpret
from pytest_trt.check.layers import judge_layers
from pytest_trt.check.tactics import rungs_of
from pytest_trt.check.workbench import Workbench
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.formats import FORMATS

from ._named import Checked
from ._unet import images, loud, unet

REFERENCE = "fp16-reference"
STORED = "fp16-stored"
COUNT = "fp16-count"
EXPECTED = "fp16-expected"
PATTERN = "fp16-pattern"
FINITE = "fp16-finite"
OVERFLOW = "fp16-overflow"

BLOCK = ("c0", "b0", "r0")
# Standard deviations of a count: what is called more is more by these.
SIGMAS = 6.0
# Of the values around zero that are off by more than a tenth of themselves, this share is still off behind a ReLU. An error e
# makes all values v with |v| < 10 |e| deviate. The positive ones, half, stay; of the negative ones a ReLU leaves those that e
# lifts above zero: |v| < |e| on the side that e points to, 1/20 of 1/2. The FAQ's figures give 196 / 371 = 0.528.
KEPT_BY_RELU = 21 / 40


@dataclass(frozen=True)
class Study:
    """A network on its input, what two engines gave, and the report on them."""

    workbench: Workbench
    model: ModelProto
    x: np.ndarray
    pair: Pair
    report: HalfReport


def study(workbench: Workbench, model: ModelProto, x: np.ndarray, precision: str) -> Study:
    """Return both engines' tensors and the report; where builder flags decide on types, every layer has to obey."""
    pair = run_pair(workbench, model, {"x": x}, precision=precision, strict=True)
    return Study(workbench, model, x, pair, half_report(pair))


def check_unet(workbench: Workbench, precision: str) -> Iterator[Checked]:
    """Yield what holds of a small UNet; the pattern of the FAQ is that of FP16."""
    x = images()
    seen = study(workbench, unet(x), x, precision)
    yield from check_reference(seen)
    yield from check_stored(seen)
    yield from check_counts(seen)
    yield from check_expected(seen)
    yield from check_finite(seen)
    if precision == "fp16":
        yield from check_pattern(seen)


def check_loud(workbench: Workbench, precision: str) -> Iterator[Checked]:
    """Yield what holds of a network whose first convolution leaves the range of FP16, and not that of bf16."""
    model, x = loud()
    seen = study(workbench, model, x, precision)
    yield from check_overflow(seen) if precision == "fp16" else check_finite(seen)


def _off(got: np.ndarray, want: np.ndarray, precision: str) -> np.ndarray:
    """Return which elements deviate, by the words of the FAQ; the report has its own code for it."""
    got, want = got.astype(np.float64), want.astype(np.float64)
    zero = want == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(want - got) / np.abs(want) > 0.1
    return np.where(zero, np.abs(got) > FORMATS[precision].quantum, off | ~np.isfinite(got))


def check_reference(seen: Study) -> Iterator[Checked]:
    """Yield whether the first convolution of the FP32 engine is FP32: TF32 keeps as few bits as FP16."""
    wide = seen.workbench.subject(seen.model, "fp32")
    report = judge_layers(
        wide.graph, {"x": seen.x}, {"c0": seen.pair.want["c0"]}, wide.contract, _rungs(seen, "fp32")
    )
    wrong = [entry.tensor for entry in report.bad]
    yield REFERENCE, f"{', '.join(wrong)} of the FP32 engine is not what FP32 gives" if wrong else None


def _rungs(seen: Study, precision: str) -> tuple[str, ...]:
    settings = seen.workbench.settings
    with seen.workbench.subject(seen.model, precision) as subject:
        return rungs_of(subject.plan.layers, settings.rungs, asked="rungs" in settings.given)


def _writes_low(seen: Study) -> bool:
    """Tell whether outputs are sure to be in the type: where flags decide, a layer may obey and its output be written in FP32."""
    return seen.pair.strong or seen.workbench.executor.emulated


def check_stored(seen: Study) -> Iterator[Checked]:
    """Yield whether every tensor was seen, and holds no more digits than the type has."""
    wide = [row.tensor for row in seen.report.rows if not row.is_stored_low]
    bad = [*seen.pair.unseen, *(wide if _writes_low(seen) else [])]
    yield STORED, f"not seen in {seen.pair.precision}: {', '.join(bad)}" if bad else None


def check_counts(seen: Study) -> Iterator[Checked]:
    """Yield whether the report counts what its arrays hold."""
    pair = seen.pair
    for row in seen.report.rows:
        count = int(_off(pair.got[row.tensor], pair.want[row.tensor], pair.precision).sum())
        told, total = row.deviation.deviating, row.deviation.total
        right = (told, total) == (count, pair.want[row.tensor].size)
        yield COUNT, None if right else f"{row.tensor}: {told} of {total} told, {count} deviate"


def check_expected(seen: Study) -> Iterator[Checked]:
    """Yield for the first block whether as many values deviate as in correct kernels, given the engine's own inputs."""
    pair = seen.pair
    low = seen.workbench.subject(seen.model, pair.precision)
    rungs = _rungs(seen, pair.precision)
    exact = {"x": Bound.exact(seen.x.astype(np.float64), "fp32")}
    for name in BLOCK:
        want = pair.want[name].astype(np.float64)
        room = np.where(want == 0, FORMATS[pair.precision].quantum, 0.1 * np.abs(want))
        least, most = want.size, 0
        for rung in rungs:
            contract, keep = low.contract.rung(rung), frozenset(BLOCK)
            held = interpret(low.graph, exact, contract, wanted=(name,), keep=keep).tensors[name]
            sure = (held.low > want + room) | (held.high < want - room)
            possible = (held.high > want + room) | (held.low < want - room)
            least, most = min(least, int(sure.sum())), max(most, int(possible.sum()))
        count = int(_off(pair.got[name], pair.want[name], pair.precision).sum())
        inside = least <= count <= most
        yield EXPECTED, None if inside else f"{name}: {count} deviate, correct kernels give {least} to {most}"
        exact[name] = Bound.exact(pair.got[name].astype(np.float64), low.graph.kinds[name])


def check_pattern(seen: Study) -> Iterator[Checked]:
    """Yield whether the ratio falls from convolution to batch normalisation to ReLU as it does in the FAQ.

    The margins: counts of so many independent values, six standard deviations. That no value may start to deviate in a ReLU
    holds exactly: it takes both sides to one zero, or leaves the pair as it is, or its sides had different signs.
    """
    pair = seen.pair
    masks = [_off(pair.got[name], pair.want[name], pair.precision) for name in BLOCK]
    conv, norm, relu = (int(mask.sum()) for mask in masks)
    words = f"{conv}, {norm} and {relu} of {masks[0].size} deviate behind convolution, normalisation and ReLU"
    falls = conv > norm + SIGMAS * np.sqrt(conv + norm)
    yield PATTERN, None if falls else f"{words}: the normalisation does not lower that"
    fresh = int((masks[2] & ~masks[1]).sum())
    yield PATTERN, f"{words}: {fresh} of them deviate only behind the ReLU" if fresh else None
    spread = SIGMAS * np.sqrt(norm * KEPT_BY_RELU * (1 - KEPT_BY_RELU))
    half = abs(relu - KEPT_BY_RELU * norm) <= spread
    yield (
        PATTERN,
        None if half else f"{words}: the ReLU should leave {KEPT_BY_RELU * norm:.0f} +- {spread:.0f}",
    )


def check_finite(seen: Study) -> Iterator[Checked]:
    """Yield whether FP16 is finite wherever FP32 is; nothing in this network leaves the range."""
    pair = seen.pair
    for name, want in pair.want.items():
        lost = int((np.isfinite(want) & ~np.isfinite(pair.got[name])).sum())
        yield FINITE, f"{name}: {lost} values are infinite or NaN, and finite in FP32" if lost else None


def check_overflow(seen: Study) -> Iterator[Checked]:
    """Yield whether what leaves the range was said before, from FP32 alone, and then seen: the same elements.

    A value within FP32's rounding of 65520, from which on FP16 rounds to infinity, may go either way.
    """
    pair, report = seen.pair, seen.report
    end = FORMATS[pair.precision].largest * (1 + 2.0**-12)
    said = 0
    for name, want in pair.want.items():
        edge = np.abs(np.abs(want.astype(np.float64)) / end - 1) < 2.0**-10
        stored, got = pair.forecast.stored[name], pair.got[name]
        foreseen, lost = np.isfinite(want) & ~np.isfinite(stored), np.isfinite(want) & ~np.isfinite(got)
        said += int(foreseen.sum())
        apart = int(((foreseen != lost) & ~edge).sum())
        note = f"{name}: {int(foreseen.sum())} values were to be lost, {int(lost.sum())} were"
        yield OVERFLOW, note if apart and _writes_low(seen) else None
    row = report.row("c")
    named = {entry.tensor for entry in report.findings if entry.check in ("not-finite", "clipped")}
    yield OVERFLOW, None if said and row.reach.overflow else "nothing was forecast to leave the range"
    yield OVERFLOW, None if "c" in named else "the report does not name the tensor that overflows"
