"""Tell from the layers of a built engine which type did the work, and whether that is what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_trt.precision.attribution import UNPROVEN, attribute, onnx_nodes
from pytest_trt.precision.kinds import is_opaque, is_reformat, is_working, working_type
from pytest_trt.records import LayerInfo

__all__ = ["Proof", "complaint", "describe", "is_working", "pool", "prove", "remark"]

# What a working layer of a precision is allowed to read. TF32 mostly shows as fp32 in layer lists.
_READS = {
    "fp32": ("fp32",),
    "tf32": ("tf32", "fp32"),
    "fp16": ("fp16",),
    "bf16": ("bf16",),
    "int8": ("int8",),
}
# From the most digits dropped to the fewest.
_LOOSEST = ("int8", "fp8", "bf16", "fp16", "tf32", "fp32")
_NAMED = 5


@dataclass(frozen=True)
class Proof:
    """What precision ran.

    Attributes
    ----------
    asked : str
        The precision asked for.
    ran : mapping of str to int
        Type to how many working layers (convolution, deconvolution, matrix product) read their data in it.
    fallback : tuple of str
        Names of working layers in a type that was not asked for; ONNX nodes of which the graph asks another type are
        `node NAME`.
    breaches : tuple of str
        Those of them in a type that a weakly typed build may not choose either, with the type: `conv1 (fp16)`.
    unproven : tuple of str
        Names of layers that multiply, or may, and do not tell their type.
    layers : mapping of str to int
        Type to how many layers of any kind read it; `?` counts those that read nothing or do not tell it.
    reformats : int
        Layers that change type or memory format and nothing else.
    counted : frozenset of str
        Types that count as the one asked for.
    pool : frozenset of str
        Types that a weakly typed build may choose among.
    """

    asked: str
    ran: Mapping[str, int] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()
    breaches: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    layers: Mapping[str, int] = field(default_factory=dict)
    reformats: int = 0
    counted: frozenset[str] = frozenset()
    pool: frozenset[str] = frozenset()

    @property
    def worked(self) -> int:
        """How many layers multiply and tell their type."""
        return sum(self.ran.values())

    @property
    def in_asked(self) -> int:
        """How many of them did so in the type asked for."""
        return sum(count for kind, count in self.ran.items() if kind in self.counted)

    @property
    def share(self) -> float:
        """Share of the layers that multiply, or may, which is proven to be in the type asked for."""
        return self.share_of(*self.counted)

    def share_of(self, *kinds: str) -> float:
        """Return the share of the layers that multiply, or may, which read one of these types; 0 where there are none."""
        total = self.worked + len(self.unproven)
        return sum(self.ran.get(kind, 0) for kind in kinds) / total if total else 0.0

    @property
    def holds(self) -> bool:
        """True when layers worked in the type asked for, none of them in another type, and every one of them tells it."""
        return self.in_asked > 0 and not (self.fallback or self.breaches or self.unproven)

    @property
    def fell_back(self) -> bool:
        """True when layers multiply, all tell their type, and not one of them is in the type asked for."""
        return self.worked > 0 and self.in_asked == 0 and not self.unproven

    @property
    def loosest(self) -> str:
        """The loosest type that ran: what a check of a weakly typed engine may hold it to.

        A layer that does not tell its type may have run in any of the pool.
        """
        seen = {*self.ran} | (self.pool if self.unproven or not self.ran else set())
        return next((kind for kind in _LOOSEST if kind in seen), self.asked)


def pool(precision: str, hybrid: str = "off", *, quantized: bool = False) -> frozenset[str]:
    """Return the types that a weakly typed build may choose for a layer.

    TensorRT times FP32 and every type whose builder flag is set, and no other: INT8 alone never gives FP16, which takes both
    flags (TensorRT 10.x documentation, "Precision Control"). TF32 is a choice only where its flag is set, and every precision
    but `tf32` clears it.

    Parameters
    ----------
    precision : str
        One of `records.PRECISIONS`.
    hybrid : str
        `fp16` or `bf16` where INT8 is allowed besides that type; else `off`.
    quantized : bool
        The model has Q/DQ of its own, which asks for INT8 at every precision.
    """
    return _counted(precision, quantized) | _beside(hybrid) | {"fp32"}


def _counted(precision: str, quantized: bool) -> frozenset[str]:
    return frozenset(_READS[precision]) | ({"int8"} if quantized else set())


def _beside(hybrid: str) -> frozenset[str]:
    return frozenset() if hybrid == "off" else frozenset({hybrid})


def prove(
    layers: Iterable[LayerInfo],
    asked: str,
    *,
    quantized: bool = False,
    hybrid: str = "off",
    wanted: Mapping[str, str] | None = None,
) -> Proof:
    """Return which types the working layers of an engine ran in.

    Parameters
    ----------
    layers : iterable of LayerInfo
        From the inspector, or from the DETAILED build log.
    asked : str
        One of `records.PRECISIONS`.
    quantized : bool
        The model has Q/DQ of its own: INT8 is then what its graph asks for, at every precision.
    hybrid : str
        `fp16` or `bf16`: INT8 besides that type. A layer may then be in either, but one at least is in INT8.
    wanted : mapping of str to str, optional
        ONNX node name to the type that the graph asks of it, as `attribution.typed_products` returns it: each of these nodes
        has to be proven by itself, and a layer may be in the type of its node, whatever was asked of the whole.
    """
    layers = tuple(layers)
    named = _promoted(wanted or {}, asked)
    counted, allowed = _counted(asked, quantized), pool(asked, hybrid, quantized=quantized)
    admitted = counted | _beside(hybrid)
    ran: Counter[str] = Counter()
    fallback, breaches, unproven = [], [], []
    for layer in layers:
        kind = working_type(layer)
        if is_opaque(layer) or (is_working(layer) and kind == UNPROVEN):
            unproven.append(layer.name)
        elif is_working(layer):
            ran[kind] += 1
            own = {named[node] for node in onnx_nodes(layer) if node in named}
            if kind not in admitted | own:
                fallback.append(layer.name)
            if kind not in allowed | own:
                breaches.append(f"{layer.name} ({kind})")
    for node, kind in _nodes(layers, named):
        where = {layer.name for layer in layers if node in onnx_nodes(layer)}
        if kind == UNPROVEN and not where & {*unproven}:
            unproven.append(f"node {node}")
        elif kind != UNPROVEN and not where & {*fallback}:
            fallback.append(f"node {node}")
    types = Counter(working_type(layer) for layer in layers)
    moves = sum(map(is_reformat, layers))
    return Proof(
        asked,
        dict(ran),
        tuple(fallback),
        tuple(breaches),
        tuple(unproven),
        dict(types),
        moves,
        counted,
        allowed,
    )


def _promoted(wanted: Mapping[str, str], asked: str) -> dict[str, str]:
    """Return what is wanted of each node where TF32 is no type of a graph: it is what FP32 may be computed in."""
    return {node: "tf32" if (kind, asked) == ("fp32", "tf32") else kind for node, kind in wanted.items()}


def _nodes(layers: tuple[LayerInfo, ...], wanted: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the nodes that are not proven to be in the type wanted, each with the type it is in; none without metadata."""
    if not any(layer.metadata for layer in layers):
        return []
    found = []
    for node, kind in wanted.items():
        ran = attribute(layers, [node], kind).get(node, UNPROVEN)
        if ran != kind:
            found.append((node, ran))
    return found


def complaint(proof: Proof, *, binding: bool) -> str | None:
    """Return in words why a proof is refused; None where it is not.

    Parameters
    ----------
    binding : bool
        The type was an order: a strongly typed network, or constraints that the builder obeys. Otherwise it was a permission:
        the builder may fall back to FP32, to no type outside of the pool, and what it hides is not held against it.
    """
    if proof.breaches:
        allowed = ", ".join(kind for kind in _LOOSEST if kind in proof.pool)
        return f"asked for {proof.asked}, which allows {allowed}; in another type: {_listed(proof.breaches)}"
    if not proof.worked and not proof.unproven:
        return f"no layer that multiplies is told, so nothing proves {proof.asked}"
    if not binding:
        return None
    if proof.fallback:
        share = f"{proof.in_asked} of {proof.worked} working layers are in {proof.asked}"
        return f"{share}; in another type: {_listed(proof.fallback)}"
    if proof.unproven:
        return f"the layer list does not tell the type of {_listed(proof.unproven)}, so nothing proves {proof.asked}"
    if proof.fell_back:
        return f"no working layer is in {proof.asked}: {_counts(proof.ran)}"
    return None


def remark(proof: Proof) -> str | None:
    """Return what a reader ought to know of an engine whose builder was free to choose; None where all is as asked."""
    if proof.holds:
        return None
    if proof.fell_back:
        return f"fell back entirely: no working layer is in {proof.asked} ({_counts(proof.ran)})"
    share = f"{proof.in_asked} of {proof.worked} working layers are in {proof.asked} ({_counts(proof.ran)})"
    hidden = f"; type not told: {_listed(proof.unproven)}" if proof.unproven else ""
    return share + hidden


def describe(proof: Proof) -> tuple[str, ...]:
    """Return a proof as lines for a reader: the working layers, then all layers, then what is not proven."""
    total = proof.worked + len(proof.unproven)
    lines = [
        f"{proof.asked}: {proof.in_asked} of {total} working layers ({proof.share:.0%}); {_counts(proof.ran)}"
    ]
    lines.append(f"layers by type: {_counts(proof.layers)}; reformat layers: {proof.reformats}")
    if proof.breaches:
        lines.append(f"in a type that is not allowed: {_listed(proof.breaches)}")
    if proof.fallback:
        lines.append(f"in another type: {_listed(proof.fallback)}")
    if proof.unproven:
        lines.append(f"type not told: {_listed(proof.unproven)}")
    return tuple(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {counts[kind]}" for kind in sorted(counts)) or "none"


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
