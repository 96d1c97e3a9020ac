"""What one check has seen so far: findings, and what was counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pytest_trt.check.sources import count_terms
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.judge import Measure
from pytest_trt.records import VIOLATES, Finding


@dataclass
class Examination:
    """What all data of one check showed so far."""

    findings: list[Finding] = field(default_factory=list)
    compared: int = 0
    certified: int = 0
    rungs: Counter[str] = field(default_factory=Counter)
    unjudged: Counter[str] = field(default_factory=Counter)
    relations: set[str] = field(default_factory=set)
    spread: dict[str, bool] = field(default_factory=dict)


class Notes:
    """Writes down what is seen of one subject.

    Attributes
    ----------
    result : Examination
    marked : frozenset of str
        Inner tensors whose values the engine gave: a rule is told from there on.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.graph = subject.graph
        self.result = Examination()
        self.marked: frozenset[str] = frozenset()

    def accept(self, name: str, data: str, found: Measure, rung: str, note: str = "") -> None:
        """Count what was judged; add a finding where it is bad."""
        self.result.compared += found.judged
        self.result.certified += found.certified
        if found.bad:
            self.add(found.cause, name, data, found, VIOLATES, note)
        else:
            self.result.rungs[rung] += 1

    def fail(self, check: str, name: str, data: str, *, note: str, status: str = VIOLATES) -> None:
        """Add a finding without numbers."""
        self.result.findings.append(Finding(check, status, name, data, note=note))

    def add(self, check: str, name: str, data: str, found: Measure, status: str, note: str) -> None:
        """Add a measure as a finding."""
        self.result.findings.append(
            to_finding(found, check, status, tensor=name, data=data, rule=self.rule(name), note=note)
        )

    def rule(self, name: str) -> str:
        """Return what a tensor is computed by, and in what arithmetic."""
        known = self.marked - {name}
        chain: list[str] = []
        node = self.graph.producer.get(name)
        terms = None
        while node is not None and len(chain) < 6:
            chain.append(node.op)
            terms = terms or count_terms(self.graph, node)
            inputs = [n for n in node.inputs if n not in known]
            node = next((self.graph.producer[n] for n in inputs if n in self.graph.producer), None)
        kind = self.subject.prepared.precision
        arithmetic = {
            "fp32": "fp32 inputs, fp32 accumulation",
            "tf32": "TF32 inputs, fp32 accumulation",
            "fp16": "fp16 inputs, fp32 accumulation, rounded to fp16 where stored",
            "bf16": "bf16 inputs, fp32 accumulation, rounded to bf16 where stored",
            "int8": "INT8 inputs, INT32 accumulation, the engine's own scales",
        }[kind]
        return f"{' <- '.join(chain)}: {arithmetic}" + (f", K = {terms}" if terms else "")


def to_finding(
    found: Measure,
    check: str,
    status: str,
    *,
    tensor: str = "",
    data: str = "",
    rule: str = "",
    note: str = "",
) -> Finding:
    """Return a measure as a finding, with its words."""
    return Finding(
        check=check,
        status=status,
        bad=found.bad,
        total=found.total,
        index=found.index,
        got=found.got,
        low=found.low,
        high=found.high,
        want=found.want,
        pattern=found.pattern,
        tensor=tensor,
        data=data,
        rule=rule,
        note=note,
    )
