"""Enumerations that behave as those of the bindings do.

A member converts with `int()`, is not an integer, equals no integer and no member of another enumeration, and a value
without a name is written `???`. Only a severity can be ordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class EnumType(type):
    """The type of enumerations: gives `__members__`, as pybind11 does."""

    _table: dict[str, Any]

    @property
    def __members__(cls) -> dict[str, Any]:
        """Name to member, aliases included."""
        return dict(cls._table)


class Member(metaclass=EnumType):
    """One value of an enumeration."""

    _table: ClassVar[dict[str, Any]] = {}
    _ordered = False
    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        if isinstance(value, (str, bytes, float)) or not hasattr(value, "__int__"):
            raise TypeError(
                "__init__(): incompatible constructor arguments. The following argument types are supported:\n"
                f"    1. {type(self).__name__}(value: int)\n\nInvoked with: {value!r}"
            )
        self._value = int(value)

    @property
    def value(self) -> int:
        """The integer of the member in this version; never store it."""
        return self._value

    @property
    def name(self) -> str:
        """The first name of the value, or `???`."""
        for name, member in type(self)._table.items():
            if member._value == self._value:
                return name
        return "???"

    def __int__(self) -> int:
        return self._value

    __index__ = __int__

    def __hash__(self) -> int:
        return hash(self._value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._value == self._value

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _rank(self, other: object) -> int | None:
        """Return the distance of two members, or None where this enumeration has no order."""
        if not self._ordered:
            return None
        if type(other) is not type(self):
            raise TypeError("Expected an enumeration of matching type!")
        return self._value - other._value

    def __lt__(self, other: object) -> bool:
        rank = self._rank(other)
        return NotImplemented if rank is None else rank < 0

    def __le__(self, other: object) -> bool:
        rank = self._rank(other)
        return NotImplemented if rank is None else rank <= 0

    def __gt__(self, other: object) -> bool:
        rank = self._rank(other)
        return NotImplemented if rank is None else rank > 0

    def __ge__(self, other: object) -> bool:
        rank = self._rank(other)
        return NotImplemented if rank is None else rank >= 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}.{self.name}: {self._value}>"

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


# Bytes of an element by DataType member; a half byte for the 4-bit types, as the bindings say.
ITEM_BYTES: Mapping[str, float | None] = {
    "FLOAT": 4,
    "HALF": 2,
    "BF16": 2,
    "INT8": 1,
    "INT32": 4,
    "INT64": 8,
    "BOOL": 1,
    "UINT8": 1,
    "FP8": 1,
    "INT4": 0.5,
    "FP4": 0.5,
    "E8M0": None,
}


def _itemsize(member: Member) -> float | None:
    return ITEM_BYTES[member.name]


def make_enum(
    name: str, members: Mapping[str, int], module: str, properties: tuple[str, ...] = ()
) -> EnumType:
    """Return an enumeration with these members, each reachable as an attribute of it.

    Parameters
    ----------
    name : str
        Qualified name, for instance `ILogger.Severity`.
    members : mapping of str to int
        Two names of one value are aliases.
    module : str
        The module that it says it is from.
    properties : tuple of str
        Extra properties; `itemsize` (bytes of an element) is the only one known.
    """
    namespace: dict[str, Any] = {
        "__slots__": (),
        "__module__": module,
        "__qualname__": name,
        "_table": {},
        "_ordered": name.endswith("Severity"),
    }
    if "itemsize" in properties:
        namespace["itemsize"] = property(_itemsize)
    kind = EnumType(name.rpartition(".")[2], (Member,), namespace)
    for member, value in sorted(members.items(), key=lambda pair: pair[1]):
        instance = kind(value)
        kind._table[member] = instance
        setattr(kind, member, instance)
    return kind
