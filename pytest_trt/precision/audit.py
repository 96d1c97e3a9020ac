"""Audit an INT8 calibration: its data, its preprocessing, and what its ranges do to fresh data.

What is judged, and from where on, is in `audit_rules`.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.errors import CalibrationError, CalibrationWarning, InputError, PrecisionError
from pytest_trt.precision.audit_rules import (
    FAILURE,
    WARNING,
    AuditFinding,
    Thresholds,
    is_unlike,
    judge_identity,
    judge_outputs,
    judge_pipelines,
    judge_samples,
    judge_tensors,
    order,
)
from pytest_trt.precision.calibration import Calibration, Ranges, calibrate
from pytest_trt.precision.chance import chance_of, least_chance, measure_reaches
from pytest_trt.precision.digests import digest_feeds, digest_model
from pytest_trt.precision.distortion import TensorDistortion, measure_distortion, measure_output_sqnr
from pytest_trt.precision.graph import is_quantized
from pytest_trt.precision.int8 import quantize, scale_of
from pytest_trt.precision.pipelines import PipelineComparison, Preprocess, compare_pipelines
from pytest_trt.precision.samples import SampleFacts, describe_samples

Array = NDArray[Any]
Feed = Mapping[str, Array]

# A range measured again on the same data differs by the arithmetic of whoever ran the model, TF32 at worst.
_REPRODUCED = 1.02


@dataclass(frozen=True)
class Audit:
    """What an audit measured and found.

    Attributes
    ----------
    tensors : tuple of TensorDistortion
        One a quantised tensor that is not zero throughout.
    activation_sqnr, activation_sqnr_median : float
        Worst and median over the tensors, dB; NaN without any.
    logit_sqnr : mapping of str to float
        Output name to dB: the Q/DQ graph against the float32 one, both through ONNX Runtime.
    samples : SampleFacts
        Of the calibration data.
    pipelines : PipelineComparison, optional
        Where two preprocessings were given.
    independent : bool
        The ranges were held against fresh data, and not against the data that they were made from.
    identified : bool
        The ranges know which model and which data they are of.
    chances : mapping of str to float
        Tensors whose scale or clipping is beyond a threshold, and how likely honest draws are to bring that about; 0.0 where
        the range is not that of the calibration data, or the samples are too few to tell.
    by_chance : frozenset of str
        Those that were let pass for it.
    findings : tuple of AuditFinding
        Failures first.
    """

    tensors: tuple[TensorDistortion, ...]
    activation_sqnr: float
    activation_sqnr_median: float
    logit_sqnr: Mapping[str, float]
    samples: SampleFacts
    pipelines: PipelineComparison | None
    independent: bool
    identified: bool
    chances: Mapping[str, float]
    by_chance: frozenset[str]
    findings: tuple[AuditFinding, ...]

    @property
    def passed(self) -> bool:
        """True without failures; there may be warnings."""
        return all(finding.severity == WARNING for finding in self.findings)

    @property
    def flags(self) -> frozenset[str]:
        """The checks that found something."""
        return frozenset(finding.check for finding in self.findings)

    def tell(self) -> None:
        """Warn of each warning; raise where there is a failure.

        Raises
        ------
        CalibrationError
            The first failure in `what`, all of them in `why`.
        """
        failures = [finding for finding in self.findings if finding.severity == FAILURE]
        for finding in self.findings:
            if finding.severity == WARNING:
                warnings.warn(str(finding), CalibrationWarning, stacklevel=2)
        if failures:
            why = [failures[0].why, *(f"{other.what}: {other.why}" for other in failures[1:])]
            raise CalibrationError(failures[0].what, why=why, mend=failures[0].mend)


def audit(
    model: ModelProto,
    ranges: Mapping[str, float],
    data: Iterable[Feed],
    *,
    fresh: Iterable[Feed] | None = None,
    preprocess: tuple[Preprocess, Preprocess] | None = None,
    raw: Iterable[Any] | None = None,
    labels: Iterable[int] | None = None,
    classes: int | None = None,
    method: str | None = None,
    thresholds: Thresholds | None = None,
) -> Audit:
    """Return what is wrong with a calibration.

    Parameters
    ----------
    model : ModelProto
        In float32, without Q/DQ.
    ranges : mapping of str to float
        Tensor name to amax: a `Ranges` of `calibrate`, whose identity is then checked too; or the float values of a table, by
        `ranges_from_scales`.
    data : iterable of mapping of str to ndarray
        The calibration data as the calibration saw them.
    fresh : iterable of mapping of str to ndarray, optional
        Good data that the calibration did not see, preprocessed as for inference. Without them the ranges are held against
        the calibration data themselves, which finds wrong ranges and no wrong data.
    preprocess : pair of callable, optional
        The preprocessing of calibration and that of inference; `raw` are the samples that both are given.
    raw : iterable, optional
    labels : iterable of int, optional
        The class of each sample of `data`.
    classes : int, optional
        How many classes there are; by default the last, fixed dimension of the model's first output.
    method : str, optional
        How ranges without an origin were made, one of `calibration.METHODS`; by default `minmax`. Fresh ranges are made likewise.
    thresholds : Thresholds, optional

    Raises
    ------
    InputError
        Data or labels do not fit the model or each other, or `raw` is missing.
    PrecisionError
        The model has Q/DQ of its own, or a tensor has no range.
    """
    limits = thresholds or Thresholds()
    if is_quantized(model):
        raise PrecisionError(
            "the model has Q/DQ of its own, so its scales cannot be audited against a calibration",
            mend="audit the float model, with precision.audit.ranges_from_scales(scales)",
        )
    kept = list(data)
    if not kept:
        raise InputError("no calibration data to audit", why="a generator can be read once only")
    found: list[AuditFinding] = []
    identified = isinstance(ranges, Ranges)
    if isinstance(ranges, Ranges):
        found += judge_identity(ranges, digest_model(model), digest_feeds(kept))
    samples = describe_samples(kept, labels)
    found += judge_samples(samples, limits, classes or _count_classes(model), labels is not None)
    pipelines = None
    if preprocess is not None:
        if raw is None:
            raise InputError("two preprocessings are given, and no raw samples", mend="raw=[sample, ...]")
        pipelines = compare_pipelines(*preprocess, raw)
        found += judge_pipelines(pipelines)
    good = kept if fresh is None else list(fresh)
    quantized, made = quantize(model, ranges, folded=True)
    want = _recalibrate(model, ranges, good, method)
    # The ranges as they are: where the graph gives tensors one scale together, it takes the largest.
    names = [name for name, scale in made.items() if scale.ndim == 0 and name in ranges]
    scales, fitting = ({name: float(scale_of(side[name])) for name in names} for side in (ranges, want))
    # Where entropy cuts is an estimate: clipping that a scale within the limit would do too is the method's own.
    slack = limits.scale_ratio if want.method == "entropy" else 1.0
    tensors = measure_distortion(model, scales, fitting, good, slack=slack)
    logits = measure_output_sqnr(model, quantized, good)
    suspects = [tensor for tensor in tensors if is_unlike(tensor, limits)]
    # In each tensor, and in either direction.
    limit = limits.chance / max(1, 2 * len(tensors))
    chances = dict.fromkeys((tensor.name for tensor in suspects), 0.0)
    if suspects and fresh is not None and samples.distinct >= limits.samples:
        again = _recalibrate(model, ranges, kept, method)
        near = limits.scale_ratio if want.method == "entropy" else _REPRODUCED
        same = {
            name
            for name in chances
            if again[name] <= near * ranges[name] and ranges[name] <= near * again[name]
        }
        chances |= _measure_chances(model, kept, good, ranges, want, same, limit)
    by_chance = frozenset(name for name, chance in chances.items() if chance > limit)
    found += judge_tensors(tensors, limits, ranges, by_chance)
    found += judge_outputs(logits, limits)
    sqnrs = [tensor.sqnr for tensor in tensors]
    return Audit(
        tensors,
        min(sqnrs, default=float("nan")),
        statistics.median(sqnrs) if sqnrs else float("nan"),
        logits,
        samples,
        pipelines,
        fresh is not None,
        identified,
        chances,
        by_chance,
        order(found, limits.strict),
    )


def ranges_from_scales(scales: Mapping[str, float | Array]) -> dict[str, float]:
    """Return tensor name to amax: 127 times each scale that is one number; scales per channel are left out."""
    return {name: 127 * float(scale) for name, scale in scales.items() if np.ndim(scale) == 0}


def _measure_chances(
    model: ModelProto,
    data: list[Feed],
    fresh: list[Feed],
    ranges: Mapping[str, float],
    want: Mapping[str, float],
    names: Iterable[str],
    limit: float,
) -> dict[str, float]:
    """Return how likely the ranges of some tensors are to be this far from the fresh ones, where both are honest draws.

    0.0 where no draw at all would be less likely than `limit`.
    """
    few, many = (measure_reaches(model, side, names) for side in (data, fresh))
    found = {}
    for name in few:
        sides = few[name], many[name]
        if ranges[name] > want[name]:
            sides = sides[::-1]
        least = least_chance(*(side.size for side in sides))
        found[name] = chance_of(*sides, min(ranges[name], want[name])) if least <= limit else 0.0
    return found


def _recalibrate(
    model: ModelProto, ranges: Mapping[str, float], data: list[Feed], method: str | None
) -> Ranges:
    if isinstance(ranges, Ranges):
        return calibrate(model, Calibration(data, ranges.method, ranges.percentile or 99.999))
    return calibrate(model, Calibration(data, method or "minmax"))


def _count_classes(model: ModelProto) -> int | None:
    """Return the last, fixed dimension of the first output where it has two dimensions."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return int(dims[1].dim_value) or None if len(dims) == 2 else None
