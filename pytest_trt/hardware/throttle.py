"""Why a GPU's clocks are what they are: the bits that the driver tells, and which of them spoil a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Source: NVML API Reference, "NvmlClocksEventReasons" (before driver 535: "NvmlClocksThrottleReasons").
REASONS: Mapping[int, str] = MappingProxyType(
    {
        0x1: "gpu idle",
        0x2: "application clocks setting",
        0x4: "sw power cap",
        0x8: "hw slowdown",
        0x10: "sync boost",
        0x20: "sw thermal slowdown",
        0x40: "hw thermal slowdown",
        0x80: "hw power brake slowdown",
        0x100: "display clock setting",
    }
)

# The others hold the clocks where somebody put them, or there is no work; these move them while work runs.
UNRELIABLE = 0x4 | 0x8 | 0x20 | 0x40 | 0x80


def name_reasons(mask: int) -> tuple[str, ...]:
    """Return the reasons that a mask holds, lowest bit first; a bit without a name reads `bit 0x200`."""
    bits = [1 << position for position in range(mask.bit_length()) if mask >> position & 1]
    return tuple(REASONS.get(bit, f"bit {bit:#x}") for bit in bits)


def spoils(mask: int) -> tuple[str, ...]:
    """Return the reasons of a mask that make a measurement unreliable; none where it can be trusted.

    A bit without a name counts as one: what it does to the clocks is not known.
    """
    known = sum(REASONS)
    return name_reasons(mask & (UNRELIABLE | ~known))
