"""Which names each TensorRT version has: read from `surfaces.json`, facts of the bindings that NVIDIA publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pytest_trt.errors import SettingsError

_SOURCE = Path(__file__).with_name("surfaces.json")


@dataclass(frozen=True)
class ClassSurface:
    """One class of one version: its bases, signatures by method, and (access, type) by property.

    `access` is `rw`, `ro` or `wo`. Only the class's own members are listed.
    """

    name: str
    bases: tuple[str, ...]
    is_enum: bool
    static: frozenset[str]
    methods: Mapping[str, tuple[str, ...]]
    properties: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Surface:
    """Every public name of one version.

    Attributes
    ----------
    product : str
        `tensorrt` or `tensorrt_rtx`.
    version : str
        The full version.
    classes, enums, functions, constants : mapping
        By name; an enum maps its members to their integers, a constant names another object.
    plugin : frozenset of str
        Names of the `plugin` submodule; empty where there is none.
    """

    product: str
    version: str
    classes: Mapping[str, ClassSurface]
    enums: Mapping[str, Mapping[str, int]]
    functions: Mapping[str, str]
    constants: Mapping[str, str]
    plugin: frozenset[str]


@cache
def _packed() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_SOURCE.read_text(encoding="utf-8"))
    return table


def known() -> list[tuple[str, str]]:
    """Return (product, version) of each TensorRT that the emulator plays, oldest first in each product."""
    return [(product, version) for product, version in _packed()["versions"]]


def resolve(name: str) -> tuple[str, str]:
    """Return the (product, version) that a possibly shortened name means: the newest known of it.

    Parameters
    ----------
    name : str
        `tensorrt-10.13.3.9`, `tensorrt-10.13`, `tensorrt-11`, `tensorrt_rtx-1.7`, `tensorrt`, ...

    Raises
    ------
    SettingsError
        No known version is meant; the message lists those that can be.
    """
    product, _, short = name.partition("-")
    matches = [
        (p, v) for p, v in known() if p == product and (not short or v == short or v.startswith(short + "."))
    ]
    if matches:
        return matches[-1]
    good = [f"{p}-{v}" for p, v in known()]
    near = get_close_matches(name, good, n=1, cutoff=0.5)
    raise SettingsError(
        f"the emulator knows no TensorRT {name!r}",
        why=f"known: {', '.join(good)}; a shortened version means the newest known of it",
        mend=f"use --trt-emulate={near[0] if near else good[-1]}",
    )


def _pick(rows: list[list[Any]], bit: int) -> Any:
    for mask, value in rows:
        if mask & bit:
            return value
    return None


def _select(table: Mapping[str, list[list[Any]]], bit: int) -> dict[str, Any]:
    found = {}
    for name, rows in table.items():
        value = _pick(rows, bit)
        if value is not None:
            found[name] = value
    return found


@cache
def read(product: str, version: str) -> Surface:
    """Return the surface of one exact version.

    Raises
    ------
    SettingsError
        The version is not known.
    """
    table = _packed()
    if [product, version] not in table["versions"]:
        product, version = resolve(f"{product}-{version}")
    bit = 1 << table["versions"].index([product, version])
    classes = {}
    for name, body in table["classes"].items():
        head = _pick(body["in"], bit)
        if head is None:
            continue
        bases, is_enum, static = head
        classes[name] = ClassSurface(
            name=name,
            bases=tuple(bases),
            is_enum=is_enum,
            static=frozenset(static),
            methods={key: tuple(value) for key, value in _select(body["methods"], bit).items()},
            properties={key: tuple(value) for key, value in _select(body["properties"], bit).items()},
        )
    enums = {name: _select(members, bit) for name, members in table["enums"].items()}
    return Surface(
        product=product,
        version=version,
        classes=classes,
        enums={name: members for name, members in enums.items() if members},
        functions=_select(table["functions"], bit),
        constants=_select(table["constants"], bit),
        plugin=frozenset(_select(table["plugin"], bit)),
    )
