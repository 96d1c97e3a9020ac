"""The claims of the TensorRT FAQ (`claims.toml`), as they hold today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_trt.errors import SettingsError
from pytest_trt.toml import parse_toml

SOURCE = "TensorRT FAQ, elinux.org/TensorRT/FAQ, revision of 25 June 2019"
EMULATOR = "emulator"
BUILD = "build"
SAMPLES = "samples"
WAYS = (EMULATOR, BUILD, SAMPLES)


@dataclass(frozen=True)
class Claim:
    """One item of the FAQ.

    Attributes
    ----------
    name : str
        `faq-1` to `faq-18`, as `--trt-claim` takes it; the marker is `faq(1)`.
    title, claim : str
        The question in a few words, and what has to hold.
    holds, since : str
        Of which TensorRTs, and what replaced its names.
    shown : tuple of str
        Where the tests show it without a GPU that TensorRT runs on: members of `WAYS`.
    gpu : str
        What only a real GPU can show; empty where nothing is left.
    """

    name: str
    title: str
    claim: str
    holds: str
    since: str
    shown: tuple[str, ...]
    gpu: str

    @property
    def number(self) -> int:
        """The item's number."""
        return int(self.name.partition("-")[2])


def read_table(name: str) -> dict[str, Any]:
    """Return the rows of a TOML table of this room, by name."""
    return parse_toml(Path(__file__).with_name(name).read_text(encoding="utf-8"))


@cache
def _load() -> Mapping[str, Claim]:
    made = {
        name: Claim(name, shown=tuple(row.pop("shown")), **row)
        for name, row in read_table("claims.toml").items()
    }
    for claim in made.values():
        if not claim.shown or not set(claim.shown) <= set(WAYS):
            raise SettingsError(
                f"claims.toml: {claim.name} is shown nowhere, or by what is unknown: {claim.shown}"
            )
    return MappingProxyType(made)


CLAIMS: Mapping[str, Claim] = _load()
