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
    judge_identity,
    judge_outputs,
    judge_pipelines,
    judge_samples,
    judge_tensors,
    order,
)
from pytest_trt.precision.calibration import Calibration, Ranges, calibrate
from pytest_trt.precision.digests import digest_feeds, digest_model
from pytest_trt.precision.distortion import TensorDistortion, measure_distortion, measure_output_sqnr
from pytest_trt.precision.int8 import quantize, scale_of
from pytest_trt.precision.pipelines import PipelineComparison, Preprocess, compare_pipelines
from pytest_trt.precision.samples import SampleFacts, describe_samples

Array = NDArray[Any]
Feed = Mapping[str, Array]


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
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
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
    found += judge_tensors(tensors, limits, ranges)
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
        order(found, limits.strict),
    )


def ranges_from_scales(scales: Mapping[str, float | Array]) -> dict[str, float]:
    """Return tensor name to amax: 127 times each scale that is one number; scales per channel are left out."""
    return {name: 127 * float(scale) for name, scale in scales.items() if np.ndim(scale) == 0}


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
