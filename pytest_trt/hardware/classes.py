"""The table of GPU classes (`classes.toml`), read once and asked by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_trt.errors import SettingsError
from pytest_trt.records import PRECISIONS
from pytest_trt.toml import parse_toml


@dataclass(frozen=True)
class GpuClass:
    """A kind of GPU that a test can expect.

    Attributes
    ----------
    name : str
        What `--gpu` takes, for instance `t4`; `sm86` for any GPU of one compute capability.
    title : str
        The product, for people.
    sm : int
        Compute capability, 10 * major + minor.
    family : str
        The architecture, for instance `Turing`.
    precisions : frozenset of str
        Those with a tensor-core or native path; any other is not applicable on this class.
    devices : tuple of str
        Words of the device name that the driver reports.
    aliases : tuple of str
        Other names that `get` takes.
    multiples : mapping of str to int
        Precision to the multiple of channels that its kernels work on without padding; a precision that is not
        in it has none.
    """

    name: str
    title: str
    sm: int
    family: str
    precisions: frozenset[str]
    devices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    multiples: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def capability(self) -> str:
        """Compute capability as NVIDIA writes it: `7.5`."""
        return f"{self.sm // 10}.{self.sm % 10}"

    @property
    def is_generic(self) -> bool:
        """True for a class that stands for every GPU of one compute capability."""
        return self.name == f"sm{self.sm}"

    def admits(self, other: GpuClass) -> bool:
        """Return whether a GPU of class `other` is one of this class."""
        return self.name == other.name or (self.is_generic and self.sm == other.sm)


def get(name: str) -> GpuClass:
    """Return the GPU class of that name or alias, in any case.

    Raises
    ------
    SettingsError
        There is none; the message lists the good names and the nearest guess.
    """
    wanted = name.strip().lower()
    found = _lookup().get(wanted)
    if found is not None:
        return found
    guess = difflib.get_close_matches(wanted, _lookup(), n=1)
    raise SettingsError(
        f"unknown GPU class {name!r}" + (f": did you mean {guess[0]!r}?" if guess else ""),
        why=f"known: {', '.join(names())}; or smNN for any GPU of that compute capability",
        mend="give one of these, or auto",
    )


def names() -> tuple[str, ...]:
    """Return the names of all products in the table, oldest architecture first; no `smNN`, no alias."""
    return tuple(kind.name for kind in _table() if not kind.is_generic)


def classify(title: str, sm: int | None) -> GpuClass | None:
    """Return the class of a device, from the name that its driver gives and its compute capability.

    Parameters
    ----------
    title : str
        For instance `NVIDIA A100-SXM4-80GB`.
    sm : int or None
        10 * major + minor; None where the driver does not tell.

    Returns
    -------
    GpuClass or None
        The product; else the generic class of that compute capability; else None.
    """
    have = f" {' '.join(re.split(r'[^0-9a-z]+', title.lower()))} "
    for kind in _table():
        if sm in (None, kind.sm) and any(f" {words.lower()} " in have for words in kind.devices):
            return kind
    return _lookup().get(f"sm{sm}")


@cache
def _table() -> tuple[GpuClass, ...]:
    return parse((Path(__file__).parent / "classes.toml").read_text(encoding="utf-8"))


@cache
def _lookup() -> Mapping[str, GpuClass]:
    found = {kind.name: kind for kind in _table()}
    found.update({alias: kind for kind in _table() for alias in kind.aliases})
    return MappingProxyType(found)


def parse(text: str) -> tuple[GpuClass, ...]:
    """Return the classes that a table in TOML describes, sorted by compute capability, generic ones first.

    Raises
    ------
    SettingsError
        A class names a compute capability without a row, a precision is unknown, or a name is given twice.
    """
    raw: dict[str, dict[str, dict[str, Any]]] = parse_toml(text)
    found: list[GpuClass] = []
    for number, row in raw.get("sm", {}).items():
        wrong = set(row["precisions"]) - set(PRECISIONS)
        if wrong:
            raise SettingsError(
                f"[sm.{number}] has unknown precisions {sorted(wrong)!r}",
                why=f"known: {', '.join(PRECISIONS)}",
            )
        multiples: dict[str, int] = dict(row.get("multiples", {}))
        if not set(multiples) <= set(row["precisions"]):
            raise SettingsError(
                f"[sm.{number}] has multiples for {sorted(set(multiples) - set(row['precisions']))!r}",
                why=f"its precisions: {', '.join(row['precisions'])}",
            )
        title = f"any GPU of compute capability {int(number) // 10}.{int(number) % 10}"
        precisions = frozenset(row["precisions"])
        found.append(
            GpuClass(f"sm{number}", title, int(number), row["family"], precisions, multiples=multiples)
        )
    generic = {kind.sm: kind for kind in found}
    taken = {kind.name for kind in found}
    for name, row in raw.get("class", {}).items():
        base = generic.get(row["sm"])
        if base is None:
            raise SettingsError(f"[class.{name}] has sm = {row['sm']!r}, which no [sm.*] row describes")
        aliases = tuple(row.get("aliases", ()))
        again = taken & {name, *aliases}
        if again:
            raise SettingsError(f"[class.{name}] takes a name that is taken: {sorted(again)!r}")
        taken |= {name, *aliases}
        found.append(
            GpuClass(
                name,
                row["title"],
                base.sm,
                base.family,
                base.precisions,
                tuple(row["devices"]),
                aliases,
                base.multiples,
            )
        )
    return tuple(sorted(found, key=lambda kind: (kind.sm, not kind.is_generic, kind.name)))
