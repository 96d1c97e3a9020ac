"""The record of one thing that the lint has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# From harmless to wrong: `advice` costs time, `warning` costs precision or the type that was asked for, `error` makes
# TensorRT refuse the graph or compute another function.
SEVERITIES = ("advice", "warning", "error")


@dataclass(frozen=True)
class Advice:
    """One thing that a rule found in a graph.

    Attributes
    ----------
    rule : str
        The rule's name, stable; `pytest_trt.lint.RULES` has it.
    severity : str
        One of `SEVERITIES`.
    what, why, mend : str
        The finding, the reason why it matters, and the way out; one line each.
    node, tensor : str
        Where; empty where it is the whole model. A node without a name is called by its first output.
    numbers : mapping of str to float
        What was counted or measured.
    fixable : bool
        `mend` rewrites it without changing one bit of any output.
    """

    rule: str
    severity: str
    what: str
    why: str
    mend: str
    node: str = ""
    tensor: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict, hash=False)
    fixable: bool = False


def worst(found: Iterable[Advice]) -> str | None:
    """Return the severest severity among some advice, None if there is none."""
    ranks = [SEVERITIES.index(one.severity) for one in found]
    return SEVERITIES[max(ranks)] if ranks else None
