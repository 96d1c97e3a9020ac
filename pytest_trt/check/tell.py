"""Words for a verdict: what is wrong, where, by how much, why that is not allowed, how to replay it."""

from __future__ import annotations

from pytest_trt.errors import ConformanceError
from pytest_trt.records import Finding, Verdict

SHOWN = 4
# The share of the largest source of an interval below which another is not worth a word.
NEGLIGIBLE = 1e-3


def summary(verdict: Verdict) -> str:
    """Return one line: status, how much was compared, how strictly."""
    share = 100.0 * verdict.certified / verdict.compared if verdict.compared else 0.0
    text = f"{verdict.status}: {verdict.compared} values judged, {share:.0f} % of them to the bit"
    if verdict.unjudged:
        text += f"; without a limit: {', '.join(f'{op} x{n}' for op, n in sorted(verdict.unjudged.items()))}"
    return text


def failure(verdict: Verdict, replay: str) -> ConformanceError:
    """Return the error that a failing check raises."""
    first, *others = verdict.findings
    lines = _evidence(first)
    lines += [f"also   {_headline(finding)}{_on(finding)}" for finding in others[: SHOWN - 1]]
    if len(others) >= SHOWN:
        lines.append(f"also   {len(others) - SHOWN + 1} more findings")
    where = verdict.provenance
    place = [str(where[key]) for key in ("precision", "gpu", "runtime", "device") if where.get(key)]
    if where.get("label"):
        place.insert(0, str(where["label"]))
    if place:
        lines.append("where  " + ", ".join(place))
    error = ConformanceError(_headline(first), why=lines, mend=f"repeat: {replay}")
    error.verdict = verdict
    return error


def _headline(finding: Finding) -> str:
    name = f"output {finding.tensor!r}" if finding.tensor else "the engine"
    if finding.layer:
        name = f"layer {finding.layer!r}"
        if finding.tensor not in ("", finding.layer):
            name += f", tensor {finding.tensor!r}"
    if finding.total:
        share = 100.0 * finding.bad / finding.total
        return (
            f"{name}: {finding.bad} of {finding.total} values ({share:.3g} %) outside the allowance"
            f" [{finding.status}: {finding.check}]"
        )
    return f"{name}: {finding.note} [{finding.status}: {finding.check}]"


def _on(finding: Finding) -> str:
    return f" on {finding.data} data" if finding.data else ""


def _place(finding: Finding) -> str:
    """Return where the worst element is: by the names of the axes where they are known."""
    if not finding.index:
        return ""
    if len(finding.axes) != len(finding.index):
        return f" at {finding.index}"
    return " at " + ", ".join(f"{axis}={at}" for axis, at in zip(finding.axes, finding.index, strict=True))


def _sources(finding: Finding) -> str:
    """Return the parts of the interval that count, the largest first."""
    largest = max((size for _, size in finding.sources), default=0.0)
    return ", ".join(f"{name} {size:.2g}" for name, size in finding.sources if size > largest * NEGLIGIBLE)


def _evidence(finding: Finding) -> list[str]:
    if not finding.total:
        return []
    gap = max(finding.low - finding.got, finding.got - finding.high)
    lines = [
        f"worst  off by {gap:.3g}{_place(finding)}{_on(finding)}: got {finding.got:.9g}, want {finding.want:.9g}"
    ]
    if finding.low == finding.high:
        lines.append(f"rule   only {finding.low:.9g} is admissible: {finding.rule}")
    else:
        lines.append(f"rule   got in [{finding.low:.9g}, {finding.high:.9g}]: {finding.rule}")
    if finding.sources:
        lines.append(f"width  {_sources(finding)}")
    if finding.pattern:
        lines.append(f"bad    {finding.pattern}")
    if finding.fits:
        lines.append(f"fits   {'; or '.join(finding.fits)}")
    if finding.note:
        lines.append(f"note   {finding.note}")
    return lines
