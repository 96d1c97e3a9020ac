"""The table of GPU classes, read from TOML and held against what it may say."""

from __future__ import annotations

import re
from typing import Any

from pytest_trt.errors import SettingsError
from pytest_trt.hardware.gpu_class import LOOKED_AT, Figures, GpuClass
from pytest_trt.records import PRECISIONS
from pytest_trt.toml import parse_toml


def parse(text: str) -> tuple[GpuClass, ...]:
    """Return the classes that a table in TOML describes, sorted by compute capability, generic ones first.

    Raises
    ------
    SettingsError
        A class names a compute capability without a row, a precision is unknown, a rate is of a precision that the class
        has not, a version or a PCI id is none, or a name or a PCI id is given twice.
    """
    raw: dict[str, dict[str, dict[str, Any]]] = parse_toml(text)
    generic = {int(number): _read_sm(number, row) for number, row in raw.get("sm", {}).items()}
    found = list(generic.values())
    taken = {kind.name for kind in found}
    ids: set[str] = set()
    for name, row in raw.get("class", {}).items():
        base = generic.get(row["sm"])
        if base is None:
            raise SettingsError(f"[class.{name}] has sm = {row['sm']!r}, which no [sm.*] row describes")
        kind = _read_class(name, row, base)
        again = (taken & {name, *kind.aliases}) | (ids & set(kind.pci))
        if again:
            raise SettingsError(f"[class.{name}] takes a name that is taken: {sorted(again)!r}")
        taken |= {name, *kind.aliases}
        ids |= set(kind.pci)
        found.append(kind)
    return tuple(sorted(found, key=lambda kind: (kind.sm, not kind.is_generic, kind.name)))


def _read_sm(number: str, row: dict[str, Any]) -> GpuClass:
    wrong = set(row["precisions"]) - set(PRECISIONS)
    if wrong:
        raise SettingsError(
            f"[sm.{number}] has unknown precisions {sorted(wrong)!r}", why=f"known: {', '.join(PRECISIONS)}"
        )
    multiples: dict[str, int] = dict(row.get("multiples", {}))
    if not set(multiples) <= set(row["precisions"]):
        raise SettingsError(
            f"[sm.{number}] has multiples for {sorted(set(multiples) - set(row['precisions']))!r}",
            why=f"its precisions: {', '.join(row['precisions'])}",
        )
    versions = {product: tuple(row[product]) for product in LOOKED_AT if product in row}
    for product, span in versions.items():
        if len(span) > 2 or not all(re.fullmatch(r"\d+\.\d+", end) for end in span):
            raise SettingsError(f"[sm.{number}] {product} = {list(span)!r} is no first and last version")
    title = f"any GPU of compute capability {int(number) // 10}.{int(number) % 10}"
    precisions = frozenset(row["precisions"])
    return GpuClass(
        f"sm{number}",
        title,
        int(number),
        row["family"],
        precisions,
        multiples=multiples,
        versions=versions,
    )


def _read_class(name: str, row: dict[str, Any], base: GpuClass) -> GpuClass:
    pci = tuple(row.get("pci", ()))
    if not all(re.fullmatch(r"[0-9a-f]{4}", one) for one in pci):
        raise SettingsError(
            f"[class.{name}] has PCI ids {list(pci)!r}", why="each is four hexadecimal digits"
        )
    figures = _read_figures(f"class.{name}", row, base)
    where = f"class.{name}.variants"
    variants = {
        key: _read_figures(f"{where}.{key}", part, base) for key, part in row.get("variants", {}).items()
    }
    return GpuClass(
        name,
        row["title"],
        base.sm,
        base.family,
        base.precisions,
        tuple(row["devices"]),
        tuple(row.get("aliases", ())),
        base.multiples,
        figures,
        variants,
        base.versions,
        pci,
        tuple(row.get("models", ())),
    )


def _read_figures(where: str, row: dict[str, Any], base: GpuClass) -> Figures:
    tera = {precision: float(rate) for precision, rate in row.get("tera", {}).items()}
    if not set(tera) <= base.precisions:
        raise SettingsError(
            f"[{where}] has rates for {sorted(set(tera) - base.precisions)!r}",
            why=f"its precisions: {', '.join(sorted(base.precisions))}",
        )
    return Figures(
        row.get("multiprocessors"),
        row.get("memory_gb"),
        row.get("bandwidth_gb_s"),
        tera,
        row.get("source", ""),
        row.get("missing", ""),
    )
