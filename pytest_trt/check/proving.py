"""Whether an engine did its work in the precision that was asked for, as part of a check."""

from __future__ import annotations

import warnings

from pytest_trt.check.calibrated import Calibrated, check_calibration
from pytest_trt.check.examine import Examiner
from pytest_trt.check.make import typed_itself, types_16
from pytest_trt.check.subject import Subject
from pytest_trt.errors import FallbackWarning
from pytest_trt.precision.attribution import typed_products
from pytest_trt.precision.graph import is_quantized
from pytest_trt.precision.proof import Proof, complaint, prove, remark
from pytest_trt.records import VIOLATES, Finding


def prove_precision(subject: Subject, examiner: Examiner) -> Proof:
    """Return what ran, and add a finding when the engine did its work in another precision than the one asked for.

    Where the builder was free to choose, only a type that it may not choose at all is one; that it chose float32
    throughout is a warning.
    """
    prepared = subject.prepared
    # Under weak typing a 16-bit type is a permission, an order only where constraints are obeyed; Q/DQ always are one.
    free = prepared.precision in ("fp16", "bf16") or prepared.implicit
    binding = prepared.strong or prepared.constraints == "obey" or not free
    proof = prove(
        subject.plan.layers,
        prepared.precision,
        quantized=is_quantized(examiner.source.model),
        hybrid=prepared.hybrid,
        wanted=typed_products(prepared.matched) if binding and not prepared.implicit else None,
    )
    bad = proof.breaches or (proof.fallback if binding and not prepared.implicit else ())
    if isinstance(subject, Calibrated):
        examiner.result.findings.extend(check_calibration(subject))
    elif not binding and proof.fell_back:
        warnings.warn(FallbackWarning(f"{subject.rt.title} {remark(proof)}"), stacklevel=4)
    typed = types_16(examiner.source)
    if bad and typed and prepared.precision not in typed:
        raise typed_itself(typed, prepared.precision)
    if bad:
        note = complaint(proof, binding=True) or ", ".join(bad)
        examiner.result.findings.append(Finding("precision", VIOLATES, note=note))
    return proof
