"""Checks calls against the printed signatures, and refuses what the bindings refuse: with a `TypeError`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_MISSING = object()
Accept = Callable[[Any], bool]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a signature; `default` is a marker object where there is none."""

    name: str
    kind: str
    default: object


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "([<":
            depth += 1
        elif char in ")]>" and text[position - 1 : position + 1] != "->":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def parse(signature: str) -> tuple[Parameter, ...]:
    """Return the parameters of `(a: int, b: str = None) -> bool`."""
    depth, end = 0, len(signature)
    for position, char in enumerate(signature):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            end = position
            break
    found = []
    for part in _split(signature[1:end]):
        name, _, rest = part.partition(":")
        kind, eq, default = rest.partition("=")
        found.append(Parameter(name.strip(), kind.strip(), default.strip() if eq else _MISSING))
    return tuple(found)


def _is_int(value: Any) -> bool:
    return not isinstance(value, (float, str, bytes)) and (
        hasattr(value, "__index__") or isinstance(value, int)
    )


def _is_float(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__float__")


def _is_bool(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


def _is_buffer(value: Any) -> bool:
    if isinstance(value, str):
        return False
    try:
        memoryview(value).release()
    except (TypeError, BufferError):
        return False
    return True


def _sequence_of(accept: Accept) -> Accept:
    def check(value: Any) -> bool:
        if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
            return False
        return all(accept(item) for item in value)

    return check


_is_ints = _sequence_of(_is_int)


class Types:
    """Decides whether a value fits a printed type, for the classes and enumerations of one module.

    Parameters
    ----------
    classes : mapping of str to type
        Every class and enumeration of the module by its printed name.
    """

    def __init__(self, classes: Mapping[str, type]) -> None:
        self._classes = classes
        self._known: dict[str, Accept] = {}

    def accept(self, kind: str) -> Accept:
        """Return the predicate for a printed type."""
        if kind not in self._known:
            self._known[kind] = self._make(kind)
        return self._known[kind]

    def _make(self, kind: str) -> Accept:
        simple: dict[str, Accept] = {
            "int": _is_int,
            "float": _is_float,
            "bool": _is_bool,
            "buffer": _is_buffer,
            "str": lambda value: isinstance(value, (str, bytes)),
            "FallbackString": lambda value: isinstance(value, (str, bytes)),
            "np.ndarray": lambda value: isinstance(value, np.ndarray),
        }
        if kind in simple:
            return simple[kind]
        nested = re.fullmatch(r"(?:List|Sequence|list)\[(.+)\]", kind)
        if nested:
            return _sequence_of(self.accept(nested.group(1)))
        if kind in ("list", "tuple"):
            return lambda value: isinstance(value, {"list": list, "tuple": tuple}[kind])
        found = self._classes.get(kind.replace("::", "."))
        if found is None:
            return lambda value: True
        if kind in ("Dims", "Dims2", "Dims3", "Dims4", "DimsHW"):
            return lambda value: isinstance(value, found) or _is_ints(value)
        if kind == "PluginFieldCollection_":  # made of a list of fields by itself
            fields = self._classes["PluginFieldCollection"]
            return lambda value: isinstance(value, (found, fields))
        if kind == "Weights":
            return lambda value: isinstance(value, (found, np.ndarray))
        return lambda value: isinstance(value, found)


def _refusal(
    name: str, signatures: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TypeError:
    which = "constructor" if name == "__init__" else "function"
    good = "\n".join(f"    {i}. {name}{text}" for i, text in enumerate(signatures, 1))
    given = ", ".join([*(repr(a)[:80] for a in args), *(f"{k}={v!r}"[:80] for k, v in kwargs.items())])
    return TypeError(
        f"{name}(): incompatible {which} arguments. The following argument types are supported:\n{good}\n\n"
        f"Invoked with: {given}"
    )


class Signature:
    """The overloads of one method: `check` lets a call pass or raises `TypeError`.

    Parameters
    ----------
    name : str
        Method name, for the message.
    overloads : sequence of str
        As printed by the bindings, without `self`.
    types : Types
        Of the module that the method belongs to.
    """

    def __init__(self, name: str, overloads: Sequence[str], types: Types) -> None:
        self._name = name
        self._overloads = overloads
        self._types = types
        self._parsed: list[list[tuple[Parameter, Accept]]] | None = None
        self._seen: set[tuple[type, ...]] = set()

    def _fits(
        self, parameters: list[tuple[Parameter, Accept]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bool:
        if len(args) > len(parameters):
            return False
        used = 0
        for position, (parameter, accept) in enumerate(parameters):
            if position < len(args):
                if parameter.name in kwargs:
                    return False
                value = args[position]
            elif parameter.name in kwargs:
                value = kwargs[parameter.name]
                used += 1
            elif parameter.default is _MISSING:
                return False
            else:
                continue
            if not (value is None and parameter.default == "None") and not accept(value):
                return False
        return used == len(kwargs)

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise `TypeError`, with the overloads, unless one of them takes the call.

        Raises
        ------
        TypeError
            Wrong number, name or type of an argument.
        """
        kinds = tuple(map(type, args))
        if kinds in self._seen and not kwargs:
            return
        if self._parsed is None:
            self._parsed = [
                [(parameter, self._types.accept(parameter.kind)) for parameter in parse(text)]
                for text in self._overloads
            ]
        if not any(self._fits(parameters, args, kwargs) for parameters in self._parsed):
            raise _refusal(self._name, self._overloads, args, kwargs)
        if not kwargs and not any(
            hasattr(kind, "__getitem__") and kind not in (str, bytes) for kind in kinds
        ):
            # Sequences are judged by what is in them, all else by type: the next call with such arguments is known to fit.
            self._seen.add(kinds)
