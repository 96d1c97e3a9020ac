"""The table of known limits (`limits.toml`): what a TensorRT refuses, or builds in another type than asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_trt.cases.versions import is_within
from pytest_trt.errors import SettingsError
from pytest_trt.records import PRECISIONS
from pytest_trt.toml import parse_toml

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

BUILDS = "builds"
FALLS_BACK = "falls back to fp32"
FALLS_BACK_16 = "falls back to 16 bits"  # INT8 with FP16 or BF16 elsewhere: to that type
REFUSED = "refused in words"
OUTCOMES = (BUILDS, FALLS_BACK, FALLS_BACK_16, REFUSED)
# What is asked for, as rows name it: a precision, or INT8 with another type where INT8 is not.
ASKED = (*PRECISIONS, "int8+fp16", "int8+bf16")

# Operators that multiply and accumulate: the ones that have to show the precision asked for.
WORKING = ("Conv", "ConvTranspose", "Gemm", "MatMul")
CONDITIONS = ("1d", "2d", "3d", "strided", "dilated")
_FIELDS = {
    "product",
    "since",
    "until",
    "operators",
    "precisions",
    "sm",
    "when",
    "outcome",
    "message",
    "reason",
    "seen",
}


@dataclass(frozen=True)
class Limit:
    """One row of the table.

    Attributes
    ----------
    name : str
        Stable, unique.
    product : str
        `tensorrt` or `tensorrt_rtx`.
    since, until : str
        Versions: first with the limit, first without it (empty: none known).
    operators : tuple of str
        ONNX operators; `*` is any.
    precisions : tuple of str
        As asked for, of `ASKED`.
    sm : (int, int)
        Lowest and highest compute capability, both included.
    when : tuple of str
        Conditions on the node, all of which must hold: `CONDITIONS`.
    outcome : str
        `FALLS_BACK`, `FALLS_BACK_16` or `REFUSED`.
    message : tuple of str
        For a refusal: TensorRT's words contain one of these.
    reason, seen : str
        Why, and the version and date of the observation.
    """

    name: str
    product: str
    since: str
    until: str
    operators: tuple[str, ...]
    precisions: tuple[str, ...]
    sm: tuple[int, int]
    when: tuple[str, ...]
    outcome: str
    message: tuple[str, ...]
    reason: str
    seen: str

    def applies(self, precision: str, *, sm: int, product: str, version: str, hybrid: str = "off") -> bool:
        """Tell whether the row speaks of this precision, compute capability and TensorRT."""
        return (
            self.product == product
            and name_asked(precision, hybrid) in self.precisions
            and self.sm[0] <= sm <= self.sm[1]
            and is_within(version, self.since, self.until)
        )

    def covers(self, node: Node) -> bool:
        """Tell whether the row speaks of a node with these traits."""
        return bool({"*", node.operator} & set(self.operators)) and set(self.when) <= node.traits


@dataclass(frozen=True)
class Node:
    """What the table asks of an ONNX node: its name, operator and which of `CONDITIONS` hold."""

    name: str
    operator: str
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Expectation:
    """How the build of one model has to end, by the table.

    Attributes
    ----------
    outcome : str
        One of `OUTCOMES`: the worst of its nodes.
    refusals : tuple of Limit
        Rows that refuse it; TensorRT's words have to be those of one of them.
    fallbacks : mapping of str to Limit
        Node name to the row by which it runs in another type; every other working node runs in the precision asked for.
    working : tuple of str
        Names of all nodes that multiply and accumulate.
    known : bool
        False where the table has nothing on this product and version: then nothing is expected.
    """

    outcome: str
    refusals: tuple[Limit, ...] = ()
    fallbacks: Mapping[str, Limit] = field(default_factory=dict)
    working: tuple[str, ...] = ()
    known: bool = True

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The rows behind it, each once, sorted by name."""
        rows = {limit.name: limit for limit in (*self.refusals, *self.fallbacks.values())}
        return tuple(rows[name] for name in sorted(rows))


def name_asked(precision: str, hybrid: str = "off") -> str:
    """Return how rows name what is asked for: `int8+fp16` for INT8 with FP16 where INT8 is not."""
    return precision if hybrid == "off" or precision != "int8" else f"{precision}+{hybrid}"


def expected_outcome(
    model: ModelProto, precision: str, *, sm: int, product: str, version: str, hybrid: str = "off"
) -> Expectation:
    """Return how the build of a model has to end.

    Parameters
    ----------
    model : ModelProto
        The user's model, before it is rewritten for the precision.
    precision : str
        One of `records.PRECISIONS`.
    sm : int
        Compute capability built for.
    product, version : str
        Of the TensorRT that builds.
    hybrid : str
        INT8: `fp16` or `bf16` where what is not INT8 is asked for in that type.
    """
    nodes = describe(model)
    working = tuple(node.name for node in nodes if node.operator in WORKING)
    if not is_known(product, version):
        return Expectation(BUILDS, working=working, known=False)
    rows = [
        row
        for row in table()
        if row.applies(precision, sm=sm, product=product, version=version, hybrid=hybrid)
    ]
    refusals = tuple(
        row for row in rows if row.outcome == REFUSED and any(row.covers(node) for node in nodes)
    )
    if refusals:
        return Expectation(REFUSED, refusals=refusals, working=working)
    fallbacks = {
        node.name: row for row in rows if row.outcome != REFUSED for node in nodes if row.covers(node)
    }
    outcome = next(iter(fallbacks.values())).outcome if fallbacks else BUILDS
    return Expectation(outcome, fallbacks=fallbacks, working=working)


def is_known(product: str, version: str) -> bool:
    """Tell whether the table was made with this product, at this version or an older one."""
    return any(row.product == product and is_within(version, row.since) for row in table())


def describe(model: ModelProto) -> tuple[Node, ...]:
    """Return the nodes of a model with the traits that the table asks about.

    A node without a name gets `OPERATOR_POSITION`, the name that `precision.prepare` gives it.
    """
    graph = model.graph
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        if value.type.tensor_type.HasField("shape"):
            ranks.setdefault(value.name, len(value.type.tensor_type.shape.dim))
    found = []
    for position, node in enumerate(graph.node):
        if node.op_type in ("DequantizeLinear", "QuantizeLinear", "Identity") and node.input[0] in ranks:
            ranks[node.output[0]] = ranks[node.input[0]]
        elif node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            ranks[node.output[0]] = len(node.attribute[0].t.dims)
        name = node.name or f"{node.op_type}_{position}"
        found.append(Node(name, node.op_type, _traits(node, ranks)))
    return tuple(found)


def _traits(node: NodeProto, ranks: Mapping[str, int]) -> frozenset[str]:
    attributes = {entry.name: tuple(entry.ints) for entry in node.attribute}
    traits = set()
    spatial = next(
        (len(attributes[key]) for key in ("kernel_shape", "strides", "dilations") if attributes.get(key)),
        None,
    )
    if spatial is None and node.op_type in ("Conv", "ConvTranspose") and node.input[1] in ranks:
        spatial = ranks[node.input[1]] - 2
    if spatial is not None:
        traits.add(f"{spatial}d")
    if any(step > 1 for step in attributes.get("strides", ())):
        traits.add("strided")
    if any(step > 1 for step in attributes.get("dilations", ())):
        traits.add("dilated")
    return frozenset(traits)


def compare(
    expected: Expectation,
    outcome: str,
    *,
    words: Sequence[str] = (),
    fallback: Sequence[str] = (),
    unproven: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return what contradicts the table, one line each; `()` when the build ended as the table says.

    Parameters
    ----------
    expected : Expectation
        From `expected_outcome`.
    outcome : str
        How it ended, one of `OUTCOMES`.
    words : sequence of str
        TensorRT's words, when it refused.
    fallback : sequence of str
        Names of the working nodes that did not run in the precision asked for.
    unproven : sequence of str
        Names of the working nodes of which the layer list does not tell the type: they contradict no row.
    """
    if not expected.known:
        return ()
    if outcome == REFUSED:
        said = "\n".join(words)
        if expected.outcome != REFUSED:
            return (f"refused, and the table expects {expected.outcome!r}: {_first(said)}",)
        if not any(part in said for row in expected.refusals for part in row.message):
            names = ", ".join(row.name for row in expected.refusals)
            return (f"refused in other words than those of {names}: {_first(said)}",)
        return ()
    if expected.outcome == REFUSED:
        return tuple(f"built, and the table expects a refusal: {_row(row)}" for row in expected.refusals)
    surplus = sorted(set(fallback) - set(expected.fallbacks))
    lifted = sorted(set(expected.fallbacks) - {*fallback, *unproven})
    lines = [f"node {name!r} fell back to another type, and no row of the table says so" for name in surplus]
    lines += [f"node {name!r} ran in the type asked for: {_row(expected.fallbacks[name])}" for name in lifted]
    return tuple(lines)


def _row(row: Limit) -> str:
    return f"[{row.name}] says {row.outcome!r} ({row.reason}; seen with {row.seen}); if it was lifted, set `until` there"


def _first(text: str) -> str:
    return text.strip().splitlines()[0][:300] if text.strip() else "no words"


@cache
def table() -> tuple[Limit, ...]:
    """Return every row, sorted by name."""
    return parse((Path(__file__).parent / "limits.toml").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Limit, ...]:
    """Return the rows of a table in TOML.

    Raises
    ------
    SettingsError
        An unknown field, precision, outcome or condition, a refusal without words, or rows that are not sorted.
    """
    raw: dict[str, dict[str, Any]] = parse_toml(text)
    rows = [_limit(name, row) for name, row in raw.items()]
    names = [row.name for row in rows]
    if names != sorted(names):
        late = next(b for a, b in pairwise(names) if a > b)
        raise SettingsError(f"limit [{late}] is not in its place", mend="sort the table by name")
    return tuple(rows)


def _limit(name: str, row: Mapping[str, Any]) -> Limit:
    def refuse(what: str, good: Sequence[str]) -> SettingsError:
        return SettingsError(
            f"limit [{name}]: {what}", why=f"good: {', '.join(good)}", mend="mend limits.toml"
        )

    unknown = set(row) - _FIELDS
    missing = _FIELDS - set(row) - {"when", "message"}
    if unknown or missing:
        raise refuse(f"unknown fields {sorted(unknown)}, missing {sorted(missing)}", sorted(_FIELDS))
    for key, good in (("precisions", ASKED), ("when", CONDITIONS)):
        wrong = [value for value in row.get(key, ()) if value not in good]
        if wrong:
            raise refuse(f"{key} has {wrong[0]!r}", good)
    if row["outcome"] not in OUTCOMES[1:]:
        raise refuse(f"outcome is {row['outcome']!r}", OUTCOMES[1:])
    other = [text for text in row["precisions"] if ("+" in text) == (row["outcome"] == FALLS_BACK)]
    if row["outcome"] != REFUSED and other:
        meant = FALLS_BACK_16 if row["outcome"] == FALLS_BACK else FALLS_BACK
        raise refuse(f"{other[0]} has the outcome {row['outcome']!r}", (meant, REFUSED))
    if (row["outcome"] == REFUSED) != bool(row.get("message")):
        raise refuse("a refusal needs `message`, a fallback has none", ("a part of TensorRT's words",))
    return Limit(
        name=name,
        product=row["product"],
        since=row["since"],
        until=row["until"],
        operators=tuple(row["operators"]),
        precisions=tuple(row["precisions"]),
        sm=(row["sm"][0], row["sm"][1]),
        when=tuple(row.get("when", ())),
        outcome=row["outcome"],
        message=tuple(row.get("message", ())),
        reason=row["reason"],
        seen=row["seen"],
    )
