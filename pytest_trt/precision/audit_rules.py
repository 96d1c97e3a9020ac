"""When an audit speaks up, and in which words.

The thresholds were found on small classifiers of one kind (`benchmarks/calibration_audit.py`): what is beyond them is a warning,
unless it is far beyond, or the caller is strict. What drawn samples do by chance is no finding: see `chance`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median_high, median_low

from pytest_trt.precision.calibration import Ranges
from pytest_trt.precision.distortion import TensorDistortion
from pytest_trt.precision.pipelines import PipelineComparison
from pytest_trt.precision.samples import SampleFacts

WARNING, FAILURE = "warning", "failure"
_LEAST_TENSORS = 3

CLIPPED, RANGE_USE, ACTIVATION, LOGITS = "clipped", "range-use", "activation-sqnr", "logit-sqnr"
SCALE, SHIFT = "scale", "scale-shift"
IDENTITY, COUNT, DUPLICATES, BLANK, NONFINITE = "identity", "count", "duplicates", "blank", "nonfinite"
CLASSES, PIPELINE = "classes", "pipeline"
CHECKS = (
    IDENTITY,
    PIPELINE,
    COUNT,
    DUPLICATES,
    BLANK,
    NONFINITE,
    CLASSES,
    CLIPPED,
    RANGE_USE,
    ACTIVATION,
    LOGITS,
    SCALE,
    SHIFT,
)


@dataclass(frozen=True)
class Thresholds:
    """From where on an audit speaks up.

    Attributes
    ----------
    clipped, clipped_failure : float
        Share of a tensor's values beyond its range, besides those that the method clips on fresh data: warning, failure.
    range_use : float
        Least share of its range that a tensor uses.
    activation_sqnr, logit_sqnr : float
        Least signal to quantisation noise ratio of a tensor and of an output, dB.
    scale_ratio, scale_ratio_failure : float
        How far a scale may be from the one that fresh data give: warning, failure.
    scale_shift : float
        How far half of all scales may be off in one direction.
    chance : float
        Scales and clipping that honest draws would bring about more often than this, in any tensor of an audit, are let pass.
    samples : int
        Least number of different samples. TensorRT's guide names about 500 images for ImageNet classifiers.
    duplicates, blank : float
        Largest share of samples that repeat another, and that hold one value throughout.
    strict : bool
        Every warning is a failure.
    """

    clipped: float = 0.005
    clipped_failure: float = 0.05
    range_use: float = 0.5
    activation_sqnr: float = 20.0
    logit_sqnr: float = 25.0
    scale_ratio: float = 1.2
    scale_ratio_failure: float = 1.5
    scale_shift: float = 1.1
    chance: float = 1e-3
    samples: int = 100
    duplicates: float = 0.01
    blank: float = 0.01
    strict: bool = False


@dataclass(frozen=True)
class AuditFinding:
    """One thing that looks wrong.

    Attributes
    ----------
    check : str
        One of `CHECKS`.
    severity : str
        `warning` or `failure`.
    subject : str
        The tensor, output or sample; empty where it is the whole set.
    value, threshold : float
        What was measured, and from where on it is told.
    what, why, mend : str
        In words.
    """

    check: str
    severity: str
    subject: str
    value: float
    threshold: float
    what: str
    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}\n  why    {self.why}\n  mend   {self.mend}"


def judge_identity(ranges: Ranges, model: str, data: str) -> list[AuditFinding]:
    """Return whether ranges are of this model and of these data; both are given as SHA-256."""
    found = []
    if ranges.model != model:
        found.append(
            AuditFinding(
                IDENTITY,
                FAILURE,
                "model",
                1.0,
                0.0,
                "the ranges are of another model",
                f"they were measured on the model {ranges.model[:12]}, and this one is {model[:12]}: another training, or an "
                "edited graph",
                "calibrate this very model",
            )
        )
    if ranges.digest != data:
        found.append(
            AuditFinding(
                IDENTITY,
                WARNING,
                "data",
                1.0,
                0.0,
                "the ranges are of other calibration data",
                f"they were measured on {ranges.samples} samples, digest {ranges.digest[:12]}, and these have {data[:12]}",
                "calibrate on these data, or audit with those of the calibration",
            )
        )
    return found


def judge_pipelines(compared: PipelineComparison) -> list[AuditFinding]:
    """Return whether two preprocessings did the same."""
    if compared.same:
        return []
    where = f" of input {compared.input!r}" if compared.input else ""
    where += f" at {compared.index}" if compared.index else ""
    return [
        AuditFinding(
            PIPELINE,
            WARNING,
            f"sample {compared.sample}",
            compared.differing / compared.samples,
            0.0,
            f"calibration and inference preprocess {compared.differing} of {compared.samples} samples differently",
            f"first sample {compared.sample}{where}: calibration gives {compared.got}, inference {compared.want}; largest "
            f"difference {compared.max_difference:.3g}" + (f"; {compared.guess}" if compared.guess else ""),
            "call one function for both, and calibrate again",
        )
    ]


def judge_samples(
    facts: SampleFacts, limits: Thresholds, classes: int | None, labelled: bool
) -> list[AuditFinding]:
    """Return whether calibration data are enough, and diverse."""
    found = []
    distinct = facts.distinct
    if distinct < limits.samples:
        found.append(
            AuditFinding(
                COUNT,
                WARNING,
                "",
                float(distinct),
                float(limits.samples),
                f"{distinct} different calibration samples are few",
                f"{limits.samples} are the least here; TensorRT's guide names about 500 images for ImageNet classifiers",
                "calibrate on more samples, drawn at random from the training data",
            )
        )
    shares: tuple[tuple[str, Sequence[int], float, str, str], ...] = (
        (
            DUPLICATES,
            [late for late, _ in facts.duplicates],
            limits.duplicates,
            "repeat an earlier one bit for bit",
            "draw samples without repetition",
        ),
        (
            BLANK,
            facts.blank,
            limits.blank,
            "hold one value throughout",
            "look at how these samples are read: a missing file often reads as black",
        ),
        (
            NONFINITE,
            facts.nonfinite,
            0.0,
            "hold a NaN or an infinity",
            "look at the preprocessing; such values do not count in a range",
        ),
    )
    for check, which, limit, words, mend in shares:
        if len(which) > limit * facts.count:
            found.append(
                AuditFinding(
                    check,
                    WARNING,
                    f"sample {which[0]}",
                    len(which) / facts.count,
                    limit,
                    f"{len(which)} of {facts.count} calibration samples {words}",
                    f"samples {_list(which)}; {limit:.0%} are let pass",
                    mend,
                )
            )
    if labelled and (missing := sorted(set(range(classes or max(facts.classes) + 1)) - facts.classes.keys())):
        total = classes or max(facts.classes) + 1
        found.append(
            AuditFinding(
                *(CLASSES, WARNING, "", float(len(missing)), 0.0),
                f"calibration data lack {len(missing)} of {total} classes",
                f"no sample of {_list(missing)}; what only these make large is clipped",
                "draw the samples from all classes",
            )
        )
    return found


def is_unlike(tensor: TensorDistortion, limits: Thresholds) -> bool:
    """Return whether a tensor's range is far enough from the fresh one that it matters whether chance explains it."""
    return tensor.ratio > min(limits.scale_ratio, limits.scale_shift) or _excess(tensor) > limits.clipped


def judge_tensors(
    tensors: Sequence[TensorDistortion],
    limits: Thresholds,
    ranges: Mapping[str, float],
    by_chance: Collection[str] = (),
) -> list[AuditFinding]:
    """Return where scales do not fit the data: one finding a check, of the worst tensor; the others are named.

    Parameters
    ----------
    tensors : sequence of TensorDistortion
    limits : Thresholds
    ranges : mapping of str to float
        What is judged: tensor name to amax.
    by_chance : collection of str
        Tensors whose scale and clipping drawn samples explain.
    """
    again = "calibrate on data that are like those of inference"
    found = []
    told = [t for t in tensors if t.name not in by_chance]
    clipped = sorted((t for t in told if _excess(t) > limits.clipped), key=lambda t: -_excess(t))
    if clipped:
        worst = clipped[0]
        hard = _excess(worst) > limits.clipped_failure
        allowed = limits.clipped_failure if hard else limits.clipped
        found.append(
            AuditFinding(
                CLIPPED,
                FAILURE if hard else WARNING,
                worst.name,
                _excess(worst),
                allowed,
                f"tensor {worst.name!r}: {worst.clipped:.2%} of its values lie beyond its INT8 range",
                f"{allowed:.1%} may, besides {worst.clipped_by_method:.2%} that this method clips on fresh data; 127 steps of "
                f"{worst.scale:.4g} are {127 * worst.scale:.4g}" + _others(clipped),
                again,
            )
        )
    unused = sorted((t for t in tensors if t.range_use < limits.range_use), key=lambda t: t.range_use)
    if unused:
        worst = unused[0]
        found.append(
            AuditFinding(
                RANGE_USE,
                WARNING,
                worst.name,
                worst.range_use,
                limits.range_use,
                f"tensor {worst.name!r} uses {worst.range_use:.1%} of its INT8 range",
                f"99.99 % of its values need no more, and less than {limits.range_use:.0%} wastes a bit"
                + _others(unused),
                f"look for outliers in the calibration data or for values that were not normalised, and {again}",
            )
        )
    noisy = sorted((t for t in tensors if t.sqnr < limits.activation_sqnr), key=lambda t: t.sqnr)
    if noisy:
        worst = noisy[0]
        found.append(
            AuditFinding(
                ACTIVATION,
                WARNING,
                worst.name,
                worst.sqnr,
                limits.activation_sqnr,
                f"tensor {worst.name!r} keeps {worst.sqnr:.1f} dB of signal over INT8 noise",
                f"under {limits.activation_sqnr:g} dB; {worst.clipped:.2%} of it is clipped, {worst.range_use:.0%} of the range "
                "is used" + _others(noisy),
                f"{again}, or leave the layer in 16 bits",
            )
        )
    apart = sorted((t for t in told if t.ratio > limits.scale_ratio), key=lambda t: -t.ratio)
    if apart:
        worst = apart[0]
        hard = worst.ratio > limits.scale_ratio_failure
        found.append(
            AuditFinding(
                SCALE,
                FAILURE if hard else WARNING,
                worst.name,
                worst.ratio,
                limits.scale_ratio_failure if hard else limits.scale_ratio,
                f"tensor {worst.name!r}: its scale is {worst.ratio:.3g} times off what fresh data give",
                f"{worst.scale:.4g} a step, more than {limits.scale_ratio:g} times off"
                + ("" if ranges.get(worst.name) else "; in the calibration it was 0 throughout")
                + _others(apart),
                again,
            )
        )
    return found + _judge_shift(tensors, limits, by_chance)


def _judge_shift(
    tensors: Sequence[TensorDistortion], limits: Thresholds, by_chance: Collection[str]
) -> list[AuditFinding]:
    """Return whether half of the scales or more are off in one direction; of fewer than three, each speaks for itself."""
    logs = {
        t.name: 0.0 if t.name in by_chance else math.copysign(math.log(t.ratio), t.direction)
        for t in tensors
        if math.isfinite(t.ratio)
    }
    if len(logs) < _LEAST_TENSORS:
        return []
    # Of an even number, the middle one that is nearer to none at all.
    middle = max(median_low(logs.values()), 0.0) or min(median_high(logs.values()), 0.0)
    factor = math.exp(abs(middle))
    if factor <= limits.scale_shift:
        return []
    off = [name for name, log in logs.items() if log / middle >= 1]
    return [
        AuditFinding(
            SHIFT,
            WARNING,
            "",
            factor,
            limits.scale_shift,
            f"{len(off)} of {len(logs)} scales are {factor:.3g} times too {'large' if middle > 0 else 'small'}, or more",
            f"half of them may be up to {limits.scale_shift:g} times off what fresh data give: single tensors differ by chance, "
            "not all in one direction",
            "look for a factor between calibration and inference, in the data or in the table",
        )
    ]


def judge_outputs(sqnr: Mapping[str, float], limits: Thresholds) -> list[AuditFinding]:
    """Return whether the quantised graph gives what the float32 one gives, in dB an output."""
    low = sorted((name for name in sqnr if sqnr[name] < limits.logit_sqnr), key=lambda name: sqnr[name])
    return [
        AuditFinding(
            LOGITS,
            WARNING,
            low[0],
            sqnr[low[0]],
            limits.logit_sqnr,
            f"output {low[0]!r} keeps {sqnr[low[0]]:.1f} dB of signal over INT8 noise",
            f"under {limits.logit_sqnr:g} dB: the Q/DQ graph against the float32 one, both through ONNX Runtime"
            + (f"; also {_list(low[1:])}" if low[1:] else ""),
            "see which tensors an audit names; whether it matters is for the accuracy on labelled data to say",
        )
        for _ in low[:1]
    ]


def order(found: Iterable[AuditFinding], strict: bool) -> tuple[AuditFinding, ...]:
    """Return findings with failures first; `strict` makes all of them failures."""
    made = [replace(finding, severity=FAILURE) if strict else finding for finding in found]
    return tuple(sorted(made, key=lambda finding: (finding.severity != FAILURE, CHECKS.index(finding.check))))


def _excess(tensor: TensorDistortion) -> float:
    return tensor.clipped - tensor.clipped_by_method


def _others(tensors: Sequence[TensorDistortion]) -> str:
    return f"; also {_list([tensor.name for tensor in tensors[1:]])}" if tensors[1:] else ""


def _list(things: Sequence[object]) -> str:
    told = ", ".join(map(repr, things[:5]))
    return told if len(things) <= 5 else f"{told} and {len(things) - 5} more"
