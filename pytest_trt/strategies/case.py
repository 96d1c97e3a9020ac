"""A drawn configuration: everything that rebuilds its model, and one line of text that replays it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from onnx import ModelProto

from pytest_trt.errors import SettingsError
from pytest_trt.strategies.weights import KINDS

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]

_TOKEN = re.compile(r"([a-z]+?)(_[a-z0-9_]+|m?[0-9]+(?:xm?[0-9]+)*)")


@dataclass(frozen=True, repr=False)
class Case:
    """One configuration of one operator family.

    Attributes
    ----------
    family : str
        Operator and number of spatial dimensions, for instance `conv2d`.
    batch : int
        Length of the first axis of the inputs.
    weights : str
        `int`: small integers without zero; `real`: normal numbers; `grid`: multiples of 1/128 whose INT8
        scales are powers of two.
    seed : int
        What weights are drawn from.
    span : tuple of int
        (min, opt, max) of the batch in the optimization profile; empty when the model's shapes are fixed.

    Notes
    -----
    `text` and `Case.parse` are inverse to each other. Equal cases give byte-equal models.
    """

    family: str
    batch: int
    weights: str
    seed: int
    span: Shape

    families: ClassVar[tuple[str, ...]] = ()
    keys: ClassVar[Mapping[str, str]] = {"batch": "n", "weights": "w", "seed": "s", "span": "q"}

    def __repr__(self) -> str:
        return f"Case.parse({self.text!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the case by its text where hypothesis prints it (the protocol of IPython's pretty printer)."""
        printer.text(repr(self))

    @property
    def text(self) -> str:
        """One ASCII word that names the case and rebuilds it."""
        tokens = [self.family]
        for name in _ordered(type(self)):
            value = getattr(self, name)
            if value != ():
                tokens.append(self.keys[name] + _encode(value))
        return "-".join(tokens)

    @property
    def dims(self) -> int:
        """Number of spatial dimensions, 0 where the family has none."""
        found = re.search(r"(\d)d$", self.family)
        return int(found[1]) if found else 0

    @property
    def variant(self) -> str:
        """What is special about the case, for counts and tables; `plain` when nothing is."""
        return "plain"

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Input name to shape at the drawn batch."""
        raise NotImplementedError

    @property
    def profile(self) -> dict[str, tuple[Shape, Shape, Shape]] | None:
        """Input name to (min, opt, max) shape, or None when the shapes are fixed."""
        if not self.span:
            return None
        low, opt, high = self.span
        return {
            name: ((low, *shape[1:]), (opt, *shape[1:]), (high, *shape[1:]))
            for name, shape in self.input_shapes.items()
        }

    def flaw(self) -> str | None:
        """Return why the case has no model, None when it has one. A drawn case always has."""
        if self.batch < 1:
            return "the batch is empty"
        if self.weights not in KINDS:
            return f"weights are one of {', '.join(KINDS)}, not {self.weights!r}"
        if self.span and (len(self.span) != 3 or list(self.span) != sorted(self.span)):
            return f"the span {self.span} is not min <= opt <= max"
        return None

    def model(self) -> ModelProto:
        """Return the float32 model; its first axis is `N` where there is a profile."""
        raise NotImplementedError

    def replace(self, **changes: Any) -> Case:
        """Return the case with some fields changed."""
        return dataclasses.replace(self, **changes)

    @staticmethod
    def parse(text: str) -> Case:
        """Return the case that a text names.

        Raises
        ------
        SettingsError
            The family is unknown, or a part is missing, unknown or malformed.
        """
        family, _, rest = text.strip().partition("-")
        known = {name: kind for kind in _kinds(Case) for name in kind.families}
        if family not in known:
            near = difflib.get_close_matches(family, known, n=1)
            raise SettingsError(
                f"no case family {family!r} in {text!r}",
                why=f"known: {', '.join(sorted(known))}",
                mend=f"did you mean {near[0]!r}?" if near else None,
            )
        kind = known[family]
        names = {kind.keys[name]: name for name in _ordered(kind)}
        values: dict[str, Any] = dict.fromkeys(names.values(), ())
        for token in rest.split("-") if rest else []:
            found = _TOKEN.fullmatch(token)
            if not found or found[1] not in names:
                raise SettingsError(
                    f"part {token!r} of case {text!r} is not one of family {family!r}",
                    why="parts: " + " ".join(names),
                )
            values[names[found[1]]] = _decode(found[2])
        types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
        for name in names.values():
            values[name] = _fit(values[name], types[name], text, kind.keys[name])
        case = kind(family=family, **values)
        flaw = case.flaw()
        if flaw:
            raise SettingsError(f"case {text!r} is not possible", why=flaw)
        return case


def _kinds(base: type[Case]) -> Iterator[type[Case]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _ordered(kind: type[Case]) -> list[str]:
    """Field names in the order of the text: batch, the family's own, profile, weights, seed."""
    own = [field.name for field in dataclasses.fields(kind)]
    common = ("family", "batch", "weights", "seed", "span")
    return ["batch", *(name for name in own if name not in common), "span", "weights", "seed"]


def _encode(value: object) -> str:
    if isinstance(value, str):
        return f"_{value}"
    if isinstance(value, tuple):
        return "x".join(_encode(part) for part in value)
    number = int(value)  # type: ignore[call-overload]
    return f"m{-number}" if number < 0 else str(number)


def _decode(text: str) -> object:
    if text.startswith("_"):
        return text[1:]
    return tuple(-int(part[1:]) if part.startswith("m") else int(part) for part in text.split("x"))


def _fit(value: Any, kind: str, text: str, key: str) -> object:
    if kind == "str" and isinstance(value, str):
        return value
    if kind in ("int", "bool") and isinstance(value, tuple) and len(value) == 1:
        return bool(value[0]) if kind == "bool" else value[0]
    if kind in ("Shape", "tuple[int, ...]") and isinstance(value, tuple):
        return value
    if value == ():
        raise SettingsError(f"part {key!r} is missing in case {text!r}")
    raise SettingsError(f"part {key!r} of case {text!r} has a value of the wrong kind", why=f"wanted: {kind}")
