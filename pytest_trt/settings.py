"""The settings of a session and their good values; a leaf of its own, since every session loads it.

Apart from `records` because each frozen dataclass costs about half a millisecond of a session that never uses us.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8")
RUNTIMES = ("auto", "tensorrt", "tensorrt_rtx", "emulator", "off")
RUNGS = ("direct", "unfused", "splitk", "winograd", "fft")
ALLOWANCES = ("half", "ties", "flush", "nan")
REQUIREMENTS = ("gpu", "build", "execute", "golden")
GOLDENS = ("check", "record", "off", "update=new", "update=changed", "update=all")

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

# How many items the FAQ has, and how many public bugs are in the table; the tables themselves are not read to parse a word.
FAQ_ITEMS = 18
BUGS = 58
GOOD_CLAIMS = f"faq-1 to faq-{FAQ_ITEMS}, B01 to B{BUGS}"


def read_claim(word: str) -> str:
    """Return the name of a claim (`faq-7`) or of a public bug (`B02`), empty if out of range; any other word as it is."""
    kind, number = ("faq-", word[4:]) if word[:4].lower() == "faq-" else (word[:1].upper(), word[1:])
    if kind not in ("faq-", "B") or not number.isdigit():
        return word
    if not 1 <= int(number) <= (FAQ_ITEMS if kind == "faq-" else BUGS):
        return ""
    return f"faq-{int(number)}" if kind == "faq-" else f"B{int(number):02}"


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
    allow: tuple[str, ...] = ()
    int8: str = "explicit"
    hybrid: str = "off"
    typing: str = "auto"
    constraints: str = "off"
    rewriter: str = "builtin"
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
    compare: str = "same"
    claims: tuple[str, ...] = ()
    case: str | None = None
    given: frozenset[str] = frozenset()

    @property
    def examples(self) -> int:
        """Examples per property test and precision."""
        return BUDGETS[self.budget].examples
