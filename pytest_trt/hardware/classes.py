"""The table of GPU classes (`classes.toml`), read once and asked by name, device, PCI id or Jetson."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pytest_trt.errors import SettingsError
from pytest_trt.hardware.gpu_class import Figures, GpuClass
from pytest_trt.hardware.table import parse

__all__ = ["Figures", "GpuClass", "classify", "classify_model", "classify_pci", "get", "names", "parse"]


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
        The product, with the figures of that very device; else the generic class of that compute capability; else None.
    """
    for kind in _table():
        if sm in (None, kind.sm) and _holds(title, kind.devices):
            return kind.narrowed(title)
    return _lookup().get(f"sm{sm}")


def classify_pci(device: str) -> GpuClass | None:
    """Return the class of a PCI device id of vendor 10de, four hexadecimal digits; None where the table has it not."""
    wanted = device.lower().removeprefix("0x")
    return next((kind for kind in _table() if wanted in kind.pci), None)


def classify_model(model: str) -> GpuClass | None:
    """Return the class of a Jetson, from the model in its device tree; None for another machine."""
    found = next((kind for kind in _table() if _holds(model, kind.models)), None)
    return None if found is None else found.narrowed(model)


def _holds(text: str, wanted: tuple[str, ...]) -> bool:
    """Return whether the words of one of the entries stand side by side in a text."""
    have = f" {' '.join(re.split(r'[^0-9a-z]+', text.lower()))} "
    return any(f" {words.lower()} " in have for words in wanted)


@cache
def _table() -> tuple[GpuClass, ...]:
    return parse((Path(__file__).parent / "classes.toml").read_text(encoding="utf-8"))


@cache
def _lookup() -> Mapping[str, GpuClass]:
    found = {kind.name: kind for kind in _table()}
    found.update({alias: kind for kind in _table() for alias in kind.aliases})
    return MappingProxyType(found)
