"""Records that travel between rooms and processes; a leaf without third-party imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.settings import (
    ALLOWANCES,
    BATTERIES,
    BUDGETS,
    DATA_KINDS,
    PRECISIONS,
    REQUIREMENTS,
    RUNGS,
    RUNTIMES,
    Budget,
    Settings,
)

__all__ = [
    "ALLOWANCES",
    "BATTERIES",
    "BUDGETS",
    "CONFORMS",
    "CONFORMS_UNDER",
    "DATA_KINDS",
    "MISTRUSTED",
    "PRECISIONS",
    "REQUIREMENTS",
    "RUNGS",
    "RUNTIMES",
    "SUSPICIOUS",
    "UNJUDGED",
    "VIOLATES",
    "Budget",
    "Finding",
    "LayerInfo",
    "LogLine",
    "Missing",
    "Settings",
    "Tolerance",
    "Verdict",
]


@dataclass(frozen=True)
class Tolerance:
    """An allowance that replaces the derived interval: `atol + rtol * |want|`, with the reason for it."""

    atol: float
    rtol: float
    why: str


# Verdict statuses, from best to worst.
CONFORMS = "conforms"
CONFORMS_UNDER = "conforms under"
UNJUDGED = "unjudged"
SUSPICIOUS = "suspicious"
MISTRUSTED = "mistrusted"
VIOLATES = "violates"


@dataclass(frozen=True)
class Finding:
    """One thing that a check saw: which check, on which tensor and data, with its numbers.

    Attributes
    ----------
    check : str
        A stable name: `interval`, `certificate`, `nan`, `statistics`, `slices`, `end-to-end`, a relation, ...
    status : str
        `violates`, `mistrusted` or `suspicious`.
    tensor, data : str
        Where; empty for the engine as a whole.
    bad, total : int
        Elements outside, and all.
    index : tuple of int
        The worst element.
    got, low, high, want : float
        There.
    rule, pattern, note : str
        Why that is not allowed; where the bad elements lie; anything else to know.
    axes : tuple of str
        Names of the axes of `index`: `N`, `C`, `H`, `W`, or `axis 0` and so on.
    sources : tuple of (str, float)
        What the width of the interval there comes from, the largest first.
    fits : tuple of str
        The families of faults that would look like this, the most telling first.
    layer : str
        The layer that made the tensor, where layers were judged one by one.
    """

    check: str
    status: str
    tensor: str = ""
    data: str = ""
    bad: int = 0
    total: int = 0
    index: tuple[int, ...] = ()
    got: float = 0.0
    low: float = 0.0
    high: float = 0.0
    want: float = 0.0
    rule: str = ""
    pattern: str = ""
    note: str = ""
    axes: tuple[str, ...] = ()
    sources: tuple[tuple[str, float], ...] = ()
    fits: tuple[str, ...] = ()
    layer: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one conformance check.

    Attributes
    ----------
    status : str
        `conforms`, `conforms under RUNG`, `unjudged`, `suspicious`, `mistrusted` or `violates`.
    findings : tuple of Finding
        What was seen, worst first; empty when everything conforms.
    compared, certified : int
        Output elements judged, and how many of these had to be bit-exact.
    rung : str
        The rung of the ladder that admitted the worst output.
    unjudged : mapping of str to int
        Operators without a limit, with how many nodes.
    relations : tuple of str
        The relations that were checked and hold.
    provenance : mapping
        Runtime, version, device, GPU class, precision, data kinds, seed, model digest.
    """

    status: str
    findings: tuple[Finding, ...] = ()
    compared: int = 0
    certified: int = 0
    rung: str = "direct"
    unjudged: Mapping[str, int] = field(default_factory=dict)
    relations: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True unless the status is `suspicious`, `mistrusted` or `violates`."""
        return self.status == UNJUDGED or self.status.startswith(CONFORMS)


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a built engine, as the inspector or the DETAILED build log tells it.

    Attributes
    ----------
    name, kind : str
        `conv1 + relu1`, `CaskConvolution`; the kind is `?` where only names are told.
    inputs, outputs, constants : tuple of str
        The type of each tensor (of the weights, where they are told) in our spelling: `fp32`, `fp16`, `bf16`, `int8`,
        `int32`, `int64`, `bool`, `fp8` or `?`.
    tactic, metadata : str
        The name of the kernel, and the ONNX nodes that the layer computes; empty where they are not told.
    reads, writes : tuple of str
        Names of the input and output tensors, in the order of `inputs` and `outputs`.
    formats : tuple of str
        TensorRT's words for the memory format of each input: `Row major linear format`. Empty text where it does not say.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tactic: str = ""
    metadata: str = ""
    constants: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogLine:
    """One line that TensorRT logged: severity is `INTERNAL_ERROR`, `ERROR`, `WARNING`, `INFO` or `VERBOSE`."""

    severity: str
    text: str


@dataclass(frozen=True)
class Missing:
    """A thing that is not here: its name, the reason in words, and how to get it."""

    name: str
    reason: str
    mend: str
