"""Ways to see the tensors between the layers of an engine: as marked outputs, as debug tensors, as unfused debug tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from onnx import GraphProto, ModelProto, helper

from pytest_trt.check.feeds import Profile
from pytest_trt.check.graph import FLOAT_KINDS, KINDS, Graph
from pytest_trt.check.half_range import activations
from pytest_trt.check.subject import Subject
from pytest_trt.errors import UnsupportedError
from pytest_trt.numerics.formats import Array, is_representable
from pytest_trt.precision.graph import computed_constants, subgraphs
from pytest_trt.runtime.debug import show_marked, show_tensors

MARKED, DEBUG, UNFUSED = "marked outputs", "debug tensors", "unfused debug tensors"


def tensors_to_see(graph: Graph, there: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the inner tensors of a network that can be marked, in graph order.

    These are the floating ones and the quantised ones, but for constants and for the dequantised copies of quantised tensors.
    `there` names the tensors of the network that is built, where that is another one than the typed graph (weak typing).
    """
    floating = set(activations(graph))
    names = []
    for node in graph.nodes:
        for name in node.outputs:
            wanted = node.op == "QuantizeLinear" or (name in floating and node.op != "DequantizeLinear")
            if wanted and name in graph.readers and name not in graph.outputs:
                names.append(name)
    constant = computed_constants(graph.model.graph)
    return tuple(n for n in names if n not in constant and (there is None or n in there))


def describe_unseen(
    graph: Graph, seen: Collection[str], how: str, there: Collection[str] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the tensors of a network that were not seen, each with the reason; constants are not asked for.

    `there` is that of `tensors_to_see`.
    """
    constant = computed_constants(graph.model.graph)
    nested = {node.name for node in graph.model.graph.node if node.name and subgraphs(node)}
    found = []
    for node in graph.nodes:
        if node.name in nested:
            found.append(
                (f"inside of {node.op} {node.name!r}", "TensorRT marks nothing in a loop or conditional")
            )
        for name in node.outputs:
            if not name or name in seen or name in constant:
                continue
            kind = graph.kinds.get(name, "?")
            if there is not None and name not in there:
                why = "the typed graph has it, and not the network that is built"
            elif node.op == "DequantizeLinear":
                why = "belongs to the kernel that reads it"
            elif name not in graph.readers and name not in graph.outputs:
                why = "nobody reads it"
            elif kind not in FLOAT_KINDS | {"int8", "uint8"}:
                why = f"{kind}: only floating and quantised tensors are looked at"
            elif how == UNFUSED:
                why = "fused away, or shown under a name or type of the engine's own"
            else:
                why = "it was not shown"
            found.append((name, why))
    return tuple(found)


class Views:
    """Builds and runs the variants of one subject; nothing stays open.

    Attributes
    ----------
    builds : int
        How many engines were built so far.
    """

    def __init__(self, subject: Subject, feeds: Mapping[str, Array]) -> None:
        self.subject, self.feeds, self.builds = subject, feeds, 0

    @property
    def graph(self) -> Graph:
        """The typed graph."""
        return self.subject.graph

    @property
    def there(self) -> frozenset[str] | None:
        """The tensors of the network that is built, where it is another one than the typed graph."""
        prepared = self.subject.prepared
        if prepared.strong:
            return None
        return frozenset(name for node in prepared.model.graph.node for name in node.output)

    def plain(self) -> dict[str, Array]:
        """Return the outputs of the engine as it is."""
        self.builds += 1
        return self.subject.run(self.feeds)

    def marked(self, names: tuple[str, ...]) -> dict[str, Array]:
        """Return the outputs of an engine with these tensors as further outputs."""
        self.builds += 1
        with self.subject.with_outputs(names) as other:
            return other.run(self.feeds)

    def debug(self, names: tuple[str, ...]) -> dict[str, Array]:
        """Return the outputs and what a debug listener was shown.

        Raises
        ------
        UnsupportedError
            This TensorRT has no debug tensors.
        """
        if self.subject.prepared.implicit:
            raise UnsupportedError("debug tensors are not looked at under implicit INT8", mend="how='marked'")
        self.builds += 1
        with self.subject.with_debug(names) as other:
            with show_marked(other.session, names) as listener:
                got = other.run(self.feeds)
            return {**listener.seen, **got}

    def unfused(self, marks: tuple[str, ...] = ()) -> dict[str, Array]:
        """Return the outputs, and what the fused engine shows between its layers that the network has by name and type.

        It has no tensor that a kernel keeps in a wider type on the way to its reader.

        Raises
        ------
        UnsupportedError
            This TensorRT does not show them.
        """
        subject = self.subject.with_outputs(marks) if marks else self.subject
        shown = subject.with_tensors_shown()
        if shown is None:
            raise UnsupportedError(
                f"{self.subject.rt.title} does not show tensors without breaking fusion",
                why="mark_unfused_tensors_as_debug_tensors came with TensorRT 10.12",
                mend="how='marked': every tensor is marked as an output",
            )
        self.builds += 1
        with shown, show_tensors(shown.session) as seen:
            got = shown.run(self.feeds)
            known = {name: values for name, values in seen.items() if self._is_as_declared(name, values)}
        return {**known, **got}

    def _is_as_declared(self, name: str, values: Array) -> bool:
        if name not in tensors_to_see(self.graph, self.there):
            return False
        kind = self.graph.kinds.get(name, "?")
        if kind == "fp16":
            return values.dtype == np.float16
        return kind != "bf16" or is_representable(values, "bf16")

    def cut(self, tensor: str) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
        """Return the typed graph of a network that ends at a tensor, its inputs, and what an engine of it gives."""
        subject = self.subject
        prepared = subject.prepared
        # Under weak typing the network's own types are those of the model, and not those that layers may get.
        built = self.graph if prepared.strong else Graph(prepared.model)
        model = cut_model(prepared.model, tensor, built)
        matched = model if prepared.strong else cut_model(prepared.matched, tensor, self.graph)
        names = {value.name for value in model.graph.input}
        feeds = {name: values for name, values in self.feeds.items() if name in names}
        profile: Profile | None = subject.profile
        if profile is not None:
            profile = {name: shapes for name, shapes in profile.items() if name in names} or None
        short = replace(prepared, model=model, matched=matched)
        self.builds += 1
        with Subject(subject.rt, short, profile, build={"detailed": False}, allow=subject.allow) as other:
            return other.graph, feeds, other.run(feeds)


def cut_model(model: ModelProto, tensor: str, graph: Graph) -> ModelProto:
    """Return the part of a model that a tensor is computed from, with the tensor as its only output."""
    needed, nodes = {tensor}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(name for name in node.input if name)
            for inner in subgraphs(node):
                needed.update(_names_in(inner))
    cut = ModelProto()
    cut.CopyFrom(model)
    kind, shape = graph.values[tensor]
    elem = next(number for number, name in KINDS.items() if name == kind)
    del cut.graph.node[:], cut.graph.output[:], cut.graph.input[:], cut.graph.initializer[:]
    cut.graph.node.extend(reversed(nodes))
    cut.graph.initializer.extend(one for one in model.graph.initializer if one.name in needed)
    cut.graph.input.extend(one for one in model.graph.input if one.name in needed)
    cut.graph.output.append(helper.make_tensor_value_info(tensor, elem, list(shape)))
    made = {name for node in nodes for name in node.output}
    typed = [one for one in model.graph.value_info if one.name in made and one.name != tensor]
    del cut.graph.value_info[:]
    cut.graph.value_info.extend(typed)
    return cut


def _names_in(graph: GraphProto) -> set[str]:
    """Return every name that a subgraph reads; more than it takes from outside does no harm."""
    found = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    return found.union(*(_names_in(inner) for node in graph.node for inner in subgraphs(node)))
