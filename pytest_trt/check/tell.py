"""Words for a verdict: what is wrong, where, by how much, why that is not allowed, how to replay it."""

from __future__ import annotations

from pytest_trt.errors import ConformanceError
from pytest_trt.records import Finding, Verdict

SHOWN = 3


def summary(verdict: Verdict) -> str:
    """Return one line: status, how much was compared, how strictly."""
    share = 100.0 * verdict.certified / verdict.compared if verdict.compared else 0.0
    text = f"{verdict.status}: {verdict.compared} values judged, {share:.0f} % of them to the bit"
    if verdict.unjudged:
        text += f"; without a limit: {', '.join(f'{op} x{n}' for op, n in sorted(verdict.unjudged.items()))}"
    return text


def failure(verdict: Verdict, replay: str) -> ConformanceError:
    """Return the error that a failing check raises."""
    first = verdict.findings[0]
    lines: list[str] = []
    for finding in verdict.findings[:SHOWN]:
        lines += _evidence(finding)
    more = len(verdict.findings) - SHOWN
    if more > 0:
        lines.append(f"and {more} more such findings")
    where = verdict.provenance
    place = [str(where[key]) for key in ("runtime", "device", "gpu", "precision") if where.get(key)]
    lines.append("ran on " + ", ".join(place))
    error = ConformanceError(_headline(first), why=lines, mend=f"repeat: {replay}")
    error.verdict = verdict
    return error


def _headline(finding: Finding) -> str:
    name = f"output {finding.tensor!r}" if finding.tensor else "the engine"
    if finding.total:
        share = 100.0 * finding.bad / finding.total
        return (
            f"{name}: {finding.bad} of {finding.total} values ({share:.2g} %) outside the allowance"
            f" [{finding.status}: {finding.check}]"
        )
    return f"{name}: {finding.note} [{finding.status}: {finding.check}]"


def _evidence(finding: Finding) -> list[str]:
    if not finding.total:
        return []
    place = f" at {finding.index}" if finding.index else ""
    head = f"{finding.tensor!r} on {finding.data} data{place}: got {finding.got:.9g}"
    if finding.low == finding.high:
        lines = [f"{head}, only {finding.low:.9g} is admissible"]
    else:
        lines = [f"{head}, admissible [{finding.low:.9g}, {finding.high:.9g}], exact {finding.want:.9g}"]
    if finding.rule:
        lines.append(f"rule: {finding.rule}")
    if finding.pattern:
        lines.append(f"pattern: {finding.pattern}")
    if finding.note:
        lines.append(finding.note)
    return lines
