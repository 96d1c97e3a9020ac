"""Records that travel between rooms and processes; a leaf without third-party imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
RUNTIMES = ("auto", "tensorrt", "tensorrt_rtx", "emulator", "off")
RUNGS = ("direct", "unfused", "splitk", "winograd", "fft")
REQUIREMENTS = ("gpu", "build", "execute", "golden")

DATA_KINDS = (
    "normal",
    "uniform11",
    "uniform01",
    "sparse",
    "pow2",
    "int_small",
    "int_wide",
    "int_ties",
    "index",
    "impulse",
    "impulse_wide",
    "big",
    "tiny",
    "special",
)
BATTERIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "quick": ("uniform11", "int_small", "int_ties", "tiny"),
        "default": (
            "uniform11",
            "int_small",
            "int_ties",
            "impulse",
            "impulse_wide",
            "big",
            "tiny",
            "special",
        ),
        "full": DATA_KINDS,
    }
)


@dataclass(frozen=True)
class Budget:
    """How much is drawn: examples per property test and precision, and the data battery."""

    name: str
    examples: int
    battery: str


BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        "quick": Budget("quick", 20, "quick"),
        "standard": Budget("standard", 100, "default"),
        "thorough": Budget("thorough", 700, "full"),
    }
)


@dataclass(frozen=True)
class Settings:
    """Every setting of one session, resolved (command line beats environment beats ini beats default)."""

    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    gpu: str = "auto"
    runtime: str = "auto"
    device: str = "cpu"
    emulate: str = "tensorrt-10.13"
    budget: str = "quick"
    data: tuple[str, ...] = BATTERIES["quick"]
    require: frozenset[str] = frozenset()
    rungs: tuple[str, ...] = RUNGS
    int8: str = "explicit"
    typing: str = "auto"
    seed: int = 0
    cache_dir: str | None = None
    repro_dir: str = ".trt-repro"
    report_dir: str | None = None
    log: str = "WARNING"
    faults: tuple[str, ...] = ()
    isolate: bool = False
    golden: str = "check"
    golden_dir: str | None = None
    golden_from: str | None = None
    claims: tuple[str, ...] = ()
    case: str | None = None
    given: frozenset[str] = frozenset()

    @property
    def examples(self) -> int:
        """Examples per property test and precision."""
        return BUDGETS[self.budget].examples


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

    `check` is a stable name (`interval`, `certificate`, `nan`, `statistics`, `slices`, `identical-rows`, ...).
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

    `inputs`, `outputs` and `constants` (weights, where told) hold one type name a tensor, in our spelling: `fp32`,
    `fp16`, `bf16`, `int8`, `int32`, `int64`, `bool`, `fp8` or `?`.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    tactic: str = ""
    metadata: str = ""
    constants: tuple[str, ...] = ()


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
