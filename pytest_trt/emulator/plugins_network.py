"""Plugins in a network: layers that are added or parsed, the shapes and types that they say, and what a build asks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, helper

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.building import Refusal
from pytest_trt.emulator.graph import (
    PLUGIN_DOMAINS,
    Dim,
    Graph,
    TensorInfo,
    infer,
    is_older_plugin,
    is_plugin,
)
from pytest_trt.emulator.plugins_life import Held, PluginFailure, call, fields_of, serialize
from pytest_trt.emulator.plugins_values import (
    DimsExprs,
    DynamicTensorDesc,
    ExprBuilder,
    evaluate,
    trees_of,
)
from pytest_trt.errors import NotEmulated

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.network import Network

_OWN_ATTRIBUTES = ("plugin_version", "plugin_namespace")
Recipe = dict[str, Any]


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node as plain values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def find_creator(host: Host, node: NodeProto) -> Any:
    """Return the creator that the parser takes for a node that no importer knows, or None.

    The name is the operator's, version and namespace are the attributes `plugin_version` (1 where it is missing) and
    `plugin_namespace`; source: onnx-tensorrt, the fallback importer.
    """
    if "add_plugin_v2" not in host.surface.classes["INetworkDefinition"].methods:
        return None
    attributes = attributes_of(node)
    version = _text(attributes.get("plugin_version", "1"))
    key = (node.op_type, version, _text(attributes.get("plugin_namespace", "")))
    return host.registry._creators.get(key)  # 8.x has no `get_creator`


def mark_nodes(host: Host, model: ModelProto, nodes: Iterable[NodeProto]) -> None:
    """Give nodes that a creator is registered for the domain by which the emulator knows plugins."""
    for node in nodes:
        creator = find_creator(host, node)
        if creator is not None:
            node.domain = _domain(model, older=hasattr(creator, "deserialize_plugin"))


def _domain(model: ModelProto, older: bool) -> str:
    """Return the domain by which the emulator knows plugins of a kind; the model imports it."""
    found = next(domain for domain, kind in PLUGIN_DOMAINS.items() if (kind == "PLUGIN_V2") == older)
    if all(known.domain != found for known in model.opset_import):
        model.opset_import.append(helper.make_opsetid(found, 1))
    return found


def fields_from(host: Host, creator: Any, node: NodeProto) -> Any:
    """Return the attributes of a node that the creator names among its fields; integers become INT32, texts CHAR."""
    wanted = [field.name for field in creator.field_names]
    kept = []
    for attribute in node.attribute:
        if attribute.name not in wanted or attribute.name in _OWN_ATTRIBUTES:
            continue
        value = helper.get_attribute_value(attribute)
        if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
            kind, data = "FLOAT32", np.atleast_1d(np.asarray(value, np.float32))
        elif attribute.type in (AttributeProto.INT, AttributeProto.INTS):
            kind, data = "INT32", np.atleast_1d(np.asarray(value, np.int32))
        elif attribute.type == AttributeProto.STRING:
            kind, data = (
                "CHAR",
                np.frombuffer(value + b"\0", np.uint8),
            )  # as the parser of TensorRT-RTX 1.7.1 does
        else:
            raise PluginFailure(f"{node.name}: attribute {attribute.name} has a type that no field can have")
        kept.append([attribute.name, kind, data.tobytes().hex(), data.size])
    return fields_of(host, kept)


def import_nodes(network: Network, graph: Graph) -> None:
    """Make a plugin of each marked node, by its creator, and learn the shapes behind it.

    Raises
    ------
    PluginFailure
        A creator made none, or a plugin does not say its shapes and types.
    """
    host = network._host
    for node in graph.nodes:
        if not is_plugin(node):
            continue
        creator = find_creator(host, node)
        fields = fields_from(host, creator, node)
        older = is_older_plugin(node)
        phase = () if older else (host.enum("TensorRTPhase")._table["BUILD"],)
        made = call(node.name, creator, "create_plugin", node.name, fields, *phase)
        first = Held(host, made, older, node.name)
        try:
            hold(network, graph, node, first.clone(), 0)
        finally:
            first.release()


def hold(network: Network, graph: Graph, node: NodeProto, held: Held, shape_inputs: int) -> None:
    """Put a plugin into the network, and ask it for the types and shapes of its outputs."""
    network._plugins[node.name] = held
    _learn(network, graph, node, shape_inputs)


def _learn(network: Network, graph: Graph, node: NodeProto, shape_inputs: int) -> None:
    recipe = network._recipes[node.name] = _ask(network._plugins[node.name], graph, node, shape_inputs)
    _declare(graph, node, recipe)
    _refresh(graph)


def _ask(held: Held, graph: Graph, node: NodeProto, shape_inputs: int) -> Recipe:
    host = held.host
    infos = [graph.tensor(name) for name in node.input if name]
    if shape_inputs:
        raise NotEmulated(
            "the emulator does not play shape inputs of plugins",
            why=f"{node.name} has {shape_inputs}",
            mend="run this test with the real library",
        )
    types = [host.data_type(info.elem) for info in infos]
    exprs = [host.new(DimsExprs, trees) for trees in trees_of([info.shape for info in infos])]
    builder = host.new(ExprBuilder)
    core, build = held.part("CORE"), held.part("BUILD")
    count = build.num_outputs
    if held.older:
        given = [held.call("get_output_datatype", index, types, on=build) for index in range(count)]
        shapes = [held.call("get_output_dimensions", i, exprs, builder, on=build) for i in range(count)]
    else:
        given = held.call(_types_method(build), types, on=build)
        shapes = held.call("get_output_shapes", exprs, [], builder, on=build)
    if len(given) != count or len(shapes) != count:
        raise PluginFailure(
            f"{held.name}: the plugin has {count} outputs, and says {len(given)} types and {len(shapes)} shapes"
        )
    return {
        "older": held.older,
        "name": core.plugin_type if held.older else core.plugin_name,
        "version": core.plugin_version,
        "namespace": core.plugin_namespace,
        "inputs": [info.elem for info in infos],
        "outputs": [dtypes.elem_of_member(kind.name) for kind in given],
        "shapes": [[dim._tree for dim in dims] for dims in shapes],
    }


def _types_method(build: Any) -> str:
    """Return the method that says the types of outputs: the override, whichever spelling a version shows."""
    own = [kind for kind in type(build).__mro__ if "_host" not in vars(kind)]
    spelled = ("get_output_data_types", "get_output_datatypes")
    return next((name for name in spelled if any(name in vars(kind) for kind in own)), spelled[0])


def _symbols(graph: Graph, node: NodeProto, recipe: Recipe) -> Iterator[list[Dim]]:
    dims = [graph.tensor(name).dims or () for name in node.input if name]
    for name, trees in zip(node.output, recipe["shapes"], strict=True):
        found: list[Dim] = []
        for axis, tree in enumerate(trees):
            if isinstance(tree, int):
                found.append(tree)
            elif tree[0] == "dim" and isinstance(dims[tree[1]][tree[2]], str):
                found.append(dims[tree[1]][tree[2]])
            else:
                found.append(f"{name}_{axis}")
        yield found


def _declare(graph: Graph, node: NodeProto, recipe: Recipe) -> None:
    shapes = list(_symbols(graph, node, recipe))
    _write(graph.model, node, recipe, shapes)
    for name, elem, dims in zip(node.output, recipe["outputs"], shapes, strict=True):
        graph.info[name] = TensorInfo(elem, tuple(dims))


def _write(model: ModelProto, node: NodeProto, recipe: Recipe, shapes: Sequence[Sequence[Dim]]) -> None:
    """Say in the model what a plugin gives: shape inference cannot know it."""
    known = {value.name: value for value in model.graph.value_info}
    for name, elem, dims in zip(node.output, recipe["outputs"], shapes, strict=True):
        value = known.get(name) or model.graph.value_info.add()
        value.CopyFrom(helper.make_tensor_value_info(name, elem, list(dims)))


def _refresh(graph: Graph) -> None:
    for name, info in infer(graph.model).items():
        if info.dims is not None or name not in graph.info:
            graph.info[name] = info


def settle(network: Network, graph: Graph) -> None:
    """Ask every plugin again, after the shape of an input was changed."""
    for node in graph.nodes:
        if is_plugin(node):
            _learn(network, graph, node, 0)


def concrete(
    model: ModelProto, recipes: Mapping[str, Recipe], inputs: Mapping[str, tuple[int, ...]]
) -> dict[str, TensorInfo]:
    """Return what is known of each tensor for shapes of the inputs, plugins worked out one after another."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    info = infer(copy, inputs)
    for node in copy.graph.node:
        if is_plugin(node):
            recipe = recipes[node.name]
            shapes = [info[name].shape for name in node.input if name]
            found = [[evaluate(tree, shapes) for tree in trees] for trees in recipe["shapes"]]
            _write(copy, node, recipe, [[size if size >= 0 else None for size in dims] for dims in found])
            info = infer(copy, inputs)
    return info


def add(
    network: Network, inputs: Sequence[Any], plugin: Any, older: bool, shape_inputs: int = 0
) -> NodeProto:
    """Return the node of a plugin that is added to the network; the plugin is cloned."""
    graph = network._parsed()
    kind = "PluginV2" if older else "PluginV3"
    name = f"(Unnamed Layer* {len(graph.nodes)}) [{kind}]"
    held = Held(network._host, plugin, older, name).clone()
    core = held.part("CORE")
    count = held.part("BUILD").num_outputs
    outputs = [f"{name}_output_{index}" if index else f"{name}_output" for index in range(count)]
    node = helper.make_node(
        core.plugin_type if older else core.plugin_name,
        [tensor._name for tensor in inputs],
        outputs,
        name=name,
        domain=_domain(graph.model, older),
    )
    graph.model.graph.node.append(node)
    node = graph.nodes[-1]
    graph.producers.update(dict.fromkeys(outputs, node))
    hold(network, graph, node, held, shape_inputs)
    return node


def build(network: Network, graph: Graph, profiles: Sequence[Mapping[str, Any]]) -> dict[str, Recipe]:
    """Return what a plan says of each plugin, after each was asked what a build asks.

    Raises
    ------
    Refusal
        A plugin raised, or takes none of the types that its tensors have.
    """
    recipes = {}
    corners = [
        [
            concrete(
                graph.model, network._recipes, {name: tuple(shapes[at]) for name, shapes in table.items()}
            )
            for at in range(3)
        ]
        for table in profiles
    ]
    try:
        for node in graph.nodes:
            if is_plugin(node):
                held = network._plugins[node.name].clone()
                try:
                    recipes[node.name] = _build(held, network._recipes[node.name], graph, node, corners)
                finally:
                    held.release()
    except PluginFailure as failure:
        raise Refusal("UNSPECIFIED_ERROR", str(failure)) from None
    return recipes


def _build(
    held: Held,
    known: Recipe,
    graph: Graph,
    node: NodeProto,
    corners: Sequence[Sequence[Mapping[str, TensorInfo]]],
) -> Recipe:
    recipe = dict(known)
    names = [name for name in (*node.input, *node.output) if name]
    count = len(recipe["inputs"])
    kinds = [held.host.data_type(elem) for elem in (*recipe["inputs"], *recipe["outputs"])]
    part = held.part("BUILD")
    recipe["workspace"] = 0
    for reach in corners:
        descs = [
            held.host.new(
                DynamicTensorDesc, graph.tensor(name).shape, [corner[name].shape for corner in reach], kind
            )
            for name, kind in zip(names, kinds, strict=True)
        ]
        asked = [desc.desc for desc in descs] if held.older else descs
        for position in range(len(names)):
            if not held.call("supports_format_combination", position, asked, count, on=part):
                raise PluginFailure(
                    f"could not find any supported formats consistent with input/output data types: {held.name}"
                )
        held.call("configure_plugin", descs[:count], descs[count:], on=part)
        size = held.call("get_workspace_size", asked[:count], asked[count:], on=part)
        recipe["workspace"] = max(recipe["workspace"], int(size or 0))
    tactics = [] if held.older else held.call("get_valid_tactics", on=part)
    recipe["tactic"] = int(tactics[0]) if tactics else 0
    held.initialize()
    recipe["fields"] = serialize(held)
    return recipe
