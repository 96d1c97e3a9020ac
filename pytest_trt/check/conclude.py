"""From what an examination showed to a verdict, and to the line that repeats it."""

from __future__ import annotations

from typing import Any

from pytest_trt.check.examine import Examiner
from pytest_trt.check.subject import Subject
from pytest_trt.records import (
    BATTERIES,
    BUDGETS,
    CONFORMS,
    CONFORMS_UNDER,
    MISTRUSTED,
    RUNGS,
    SUSPICIOUS,
    UNJUDGED,
    VIOLATES,
    Finding,
    Settings,
    Verdict,
)
from pytest_trt.runtime.load import Runtime

_WORST_FIRST = (VIOLATES, MISTRUSTED, SUSPICIOUS)


def conclude(examiner: Examiner, rt: Runtime, **provenance: Any) -> Verdict:
    """Return the verdict on all data of one check; `provenance` holds what only the caller knows of it."""
    result, prepared = examiner.result, examiner.subject.prepared
    findings = tuple(sorted(result.findings, key=lambda found: _WORST_FIRST.index(found.status)))
    rung = max((name for name, count in result.rungs.items() if count), key=RUNGS.index, default="direct")
    if findings:
        status = findings[0].status
    elif result.unjudged:
        status = UNJUDGED
    elif result.compared == 0:
        status = VIOLATES
        findings = (Finding("compared", VIOLATES, note="nothing was compared"),)
    else:
        status = CONFORMS if rung == "direct" else f"{CONFORMS_UNDER} {rung}"
    return Verdict(
        status,
        findings,
        result.compared,
        result.certified,
        rung,
        dict(result.unjudged),
        tuple(sorted(result.relations)),
        {
            "runtime": rt.title,
            "device": rt.device,
            "gpu": rt.gpu.name,
            "precision": prepared.precision,
            "typing": "strong" if prepared.strong else "weak",
            "model": examiner.source.digest,
            **_int8(examiner.subject),
            **provenance,
        },
    )


def _int8(subject: Subject) -> dict[str, Any]:
    """Return what INT8 was scaled by, in plain values; nothing at any other precision."""
    scales = {
        name: [float(value) for value in scale] if scale.ndim else float(scale)
        for name, scale in subject.scales.items()
    }
    if not scales:
        return {}
    return {"scales": scales, "calibration": dict(subject.calibrated_on), "hybrid": subject.prepared.hybrid}


def replay_line(verdict: Verdict, settings: Settings) -> str:
    """Return the command line that repeats a check under the same settings."""
    where, plain = verdict.provenance, Settings()
    words = [str(where.get("replay") or "pytest suites")]
    if where.get("label") and not where.get("replay"):
        words.append(f"--trt-case={where['label']}")
    words.append(f"--trt-precision={where['precision']} --gpu={where['gpu']} --trt-seed={settings.seed}")
    for option, value, usual in (
        ("runtime", settings.runtime, plain.runtime),
        ("emulate", settings.emulate, plain.emulate),
        ("device", settings.device, plain.device),
        ("typing", settings.typing, plain.typing),
        ("int8", settings.int8, plain.int8),
        ("hybrid", settings.hybrid, plain.hybrid),
        ("constraints", settings.constraints, plain.constraints),
        ("rewriter", settings.rewriter, plain.rewriter),
        ("budget", settings.budget, plain.budget),
    ):
        if value != usual:
            words.append(f"--trt-{option}={value}")
    battery = BATTERIES[BUDGETS[settings.budget].battery]
    kinds = tuple(where.get("data") or ())
    if settings.data != battery:
        words.append(f"--trt-data={','.join(settings.data)}")
    elif not set(kinds) <= {*battery, "given"}:
        words.append(f"--trt-data={','.join(kinds)}")  # a marker's
    if settings.allow:
        words.append(f"--trt-allow={','.join(settings.allow)}")
    words += [f"--trt-fault={fault}" for fault in settings.faults]
    return " ".join(words)
