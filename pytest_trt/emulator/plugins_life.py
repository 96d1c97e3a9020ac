"""From a plan to a plugin that runs: instances that TensorRT owns, in an engine and in each context.

An engine has one instance of each plugin, made by the creator; each context has its own: what `attach_to_context` gives
(V3), or a clone that is not initialised (V2). An instance is destroyed once, when what owns it goes; V2 instances that were
initialised are terminated before. What a callback raises is printed and fails the call that it came from.
"""

from __future__ import annotations

import sys
import traceback
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.plugins_classes import ResourceContext
from pytest_trt.emulator.plugins_values import DynamicTensorDesc, FieldView, PluginField, TensorDesc, evaluate

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.lowering import Step

Arrays = dict[str, NDArray[Any]]


class PluginFailure(Exception):
    """A callback of a plugin raised, or answered what TensorRT cannot use."""


def call(name: str, owner: Any, method: str, *args: Any) -> Any:
    """Return what a method of a user's object answers; `name` is that of the layer.

    Raises
    ------
    PluginFailure
        It raised.
    """
    try:
        return getattr(owner, method)(*args)
    except Exception:  # whatever a user's code raises
        print(f"[ERROR] Exception thrown from {method}()", file=sys.stderr)
        traceback.print_exc()
        raise PluginFailure(f"{name}: {method}() of the plugin raised") from None


class Held:
    """An instance of a plugin that TensorRT owns.

    Parameters
    ----------
    host : Host
    plugin : object
        The Python plugin.
    older : bool
        A V2 plugin.
    name : str
        Of the layer.
    """

    def __init__(self, host: Host, plugin: Any, older: bool, name: str) -> None:
        if plugin is None:
            raise PluginFailure(f"{name}: there is no plugin")
        self.host, self.plugin, self.older, self.name = host, plugin, older, name
        self._initialized = False

    def part(self, capability: str) -> Any:
        """Return the object with the methods of CORE, BUILD or RUNTIME."""
        if self.older:
            return self.plugin
        member = self.host.enum("PluginCapabilityType")._table[capability]
        return self.call("get_capability_interface", member, on=self.plugin)

    def call(self, method: str, *args: Any, on: Any) -> Any:
        """Return what a callback answers, as `call` does."""
        return call(self.name, on, method, *args)

    def clone(self) -> Held:
        """Return a clone of its own."""
        return Held(self.host, self.call("clone", on=self.plugin), self.older, self.name)

    def initialize(self) -> None:
        """Initialise a V2 plugin."""
        if self.older:
            if self.call("initialize", on=self.plugin) not in (0, None):
                raise PluginFailure(f"{self.name}: initialize() of the plugin failed")
            self._initialized = True

    def release(self) -> None:
        """Terminate what was initialised, destroy the instance and let go of it; at most once."""
        plugin, self.plugin = self.plugin, None
        if plugin is None:
            return
        for method in ("terminate", "destroy") if self._initialized else ("destroy",):
            with suppress(PluginFailure):  # it is told, and nothing waits for an answer
                self.call(method, on=plugin)
            if self.host.faults:
                self.host.faults.visit("plugin", "", stage=method, plugin=plugin, node_name=self.name)


def own(owner: object, held: Iterable[Held]) -> None:
    """Release instances, those that are there then, when their owner goes."""

    def release(instances: Iterable[Held]) -> None:
        for instance in instances:
            instance.release()

    weakref.finalize(owner, release, held).atexit = False


def serialize(held: Held) -> Any:
    """Return what a plan keeps of a plugin: its bytes (V2), or its fields (V3), as plain data."""
    if held.older:
        kept: list[Any] = [["", "UNKNOWN", bytes(held.call("serialize", on=held.plugin)).hex(), 0]]
    else:
        fields = held.call("get_fields_to_serialize", on=held.part("RUNTIME"))
        kept = [[field.name, field.type.name, field._bytes.hex(), field.size] for field in fields]
    if held.host.faults:
        site, _ = held.host.faults.visit(
            "plugin", "", stage="serialize", plugin=held.plugin, node_name=held.name, fields=kept
        )
        kept = site.fields
    return kept


def fields_of(host: Host, kept: Iterable[Any]) -> Any:
    """Return fields as a plugin's creator is given them."""
    types = host.enum("PluginFieldType")._table
    made = []
    for name, kind, data, size in kept:
        field = host.new(PluginField, name, bytes.fromhex(data), types[kind])
        field._length = size
        made.append(field)
    return host.new(FieldView, made)


def load(host: Host, recipes: Mapping[str, Any]) -> dict[str, Held]:
    """Return the instances of an engine, by layer: made by their creators out of what the plan keeps.

    Raises
    ------
    PluginFailure
        No creator of that name, version and namespace is registered, or it made none.
    """
    found: dict[str, Held] = {}
    try:
        for name, recipe in recipes.items():
            found[name] = _load(host, name, recipe)
    except PluginFailure:
        for held in found.values():
            held.release()
        raise
    return found


def _load(host: Host, name: str, recipe: Mapping[str, Any]) -> Held:
    key = (recipe["name"], recipe["version"], recipe["namespace"])
    creator = host.registry._creators.get(key)  # 8.x has no `get_creator`
    if host.faults:
        site, _ = host.faults.visit("plugin", "", stage="load", creator=creator, node_name=name)
        creator = site.creator
    if creator is None:
        raise PluginFailure(
            "Cannot deserialize plugin since corresponding IPluginCreator not found in Plugin Registry:"
            f" {key[0]}, version {key[1]}, namespace {key[2]!r}"
        )
    kept = recipe["fields"]
    if recipe["older"]:
        made = call(name, creator, "deserialize_plugin", key[0], bytes.fromhex(kept[0][2]))
    else:
        phase = host.enum("TensorRTPhase")._table["RUNTIME"]
        made = call(name, creator, "create_plugin", key[0], fields_of(host, kept), phase)
    held = Held(host, made, recipe["older"], name)
    held.initialize()
    return held


class Attached:
    """The plugins of one context, by layer, and their memory.

    Parameters
    ----------
    host : Host
    held : mapping of str to Held
        The engine's own instances.
    recipes : mapping of str to mapping
        What the plan says of each.
    recorder : IErrorRecorder or None
        Of the context.
    facts : mapping
        What sites for faults are told: `engine_id` and `context_id`.

    Raises
    ------
    PluginFailure
        A plugin could not be cloned or attached.
    """

    def __init__(
        self,
        host: Host,
        held: Mapping[str, Held],
        recipes: Mapping[str, Any],
        recorder: Any,
        facts: Mapping[str, int],
    ) -> None:
        self._host = host
        self._recipes = recipes
        self._facts = facts
        self._shapes: dict[str, list[tuple[int, ...]]] = {}
        self._blocks: dict[tuple[str, int], tuple[int, int]] = {}
        self._own: list[Held] = []
        self._held: dict[str, Held] = {}
        try:
            for name, instance in held.items():
                self._held[name] = self._attach(instance, recorder)
        except PluginFailure:
            for made in self._own:
                made.release()
            raise

    def _attach(self, instance: Held, recorder: Any) -> Held:
        if self._host.faults:
            site, _ = self._host.faults.visit(
                "plugin", "", stage="attach", plugin=instance.plugin, attached=None, **self._told(instance)
            )
            if site.attached is not None:  # another owner releases it
                return Held(self._host, site.attached, instance.older, instance.name)
        if instance.older:
            made = instance.clone()
        else:
            context = self._host.new(ResourceContext, recorder)
            plugin = instance.call("attach_to_context", context, on=instance.part("RUNTIME"))
            made = Held(self._host, plugin, False, instance.name)
        self._own.append(made)
        return made

    def _told(self, held: Held) -> dict[str, Any]:
        return {"node_name": held.name, **self._facts}

    def bind(self, context: object) -> None:
        """Release the instances when the context goes."""
        own(context, self._own)

    def run(self, step: Step, inputs: Arrays, stream: int) -> Arrays:
        """Return the outputs of a plugin, carried, by name.

        Raises
        ------
        PluginFailure
            The enqueue failed.
        """
        held, recipe = self._held[step.node.name], self._recipes[step.node.name]
        if self._host.faults:
            site, _ = self._host.faults.visit(
                "plugin", "", stage="enqueue", plugin=held.plugin, **self._told(held)
            )
            if site.plugin is not held.plugin:
                held = Held(self._host, site.plugin, held.older, held.name)
        names = [name for name in step.node.input if name]
        stored = [
            np.ascontiguousarray(dtypes.to_stored(inputs[step.sources[name]], elem))
            for name, elem in zip(names, recipe["inputs"], strict=True)
        ]
        shapes = [array.shape for array in stored]
        outputs = [
            np.full([evaluate(tree, shapes) for tree in trees], 0, dtypes.storage_of(elem))
            for trees, elem in zip(recipe["shapes"], recipe["outputs"], strict=True)
        ]
        self._enqueue(held, recipe, stored, outputs, stream)
        return {
            name: np.asarray(dtypes.to_carried(array, elem))
            for name, array, elem in zip(step.node.output, outputs, recipe["outputs"], strict=True)
        }

    def _enqueue(
        self, held: Held, recipe: Mapping[str, Any], inputs: list[Any], outputs: list[Any], stream: int
    ) -> None:
        part = held.part("RUNTIME")
        shapes = [array.shape for array in (*inputs, *outputs)]
        elems = [*recipe["inputs"], *recipe["outputs"]]
        kinds = [self._host.data_type(elem) for elem in elems]
        descs = [self._host.new(TensorDesc, shape, kind) for shape, kind in zip(shapes, kinds, strict=True)]
        count = len(inputs)
        if self._shapes.get(held.name) != shapes:
            if held.older:
                dynamic = [
                    self._host.new(DynamicTensorDesc, shape, (), kind)
                    for shape, kind in zip(shapes, kinds, strict=True)
                ]
                held.call("configure_plugin", dynamic[:count], dynamic[count:], on=part)
            else:
                held.call("set_tactic", recipe["tactic"], on=part)
                held.call("on_shape_change", descs[:count], descs[count:], on=part)
            self._shapes[held.name] = shapes
        with _Places(self._host, self._blocks, held.name, stream) as places:
            given = [places.give(array) for array in inputs]
            taken = [places.take(array) for array in outputs]
            scratch = places.take(np.zeros(recipe["workspace"], np.uint8)) if recipe["workspace"] else 0
            answer = held.call(
                "enqueue", descs[:count], descs[count:], given, taken, scratch, stream, on=part
            )
            if held.older and answer not in (0, None):
                raise PluginFailure(f"{held.name}: enqueue() of the plugin answered {answer!r}")


class _Places:
    """Addresses for one enqueue: of the arrays themselves on the CPU, of device memory on a GPU."""

    def __init__(
        self, host: Host, blocks: dict[tuple[str, int], tuple[int, int]], name: str, stream: int
    ) -> None:
        self._device = host.device
        self._blocks = blocks
        self._name = name
        self._stream = stream
        self._count = 0
        self._outputs: list[tuple[int, NDArray[Any]]] = []

    def __enter__(self) -> _Places:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None and self._outputs:
            self._device.drain(self._stream)
            for address, array in self._outputs:
                array[...] = self._device.read(address, array.dtype, array.shape)

    def _place(self, array: NDArray[Any]) -> int:
        if self._device.name == "cpu":
            return int(array.ctypes.data)
        key = (self._name, self._count)
        self._count += 1
        address, size = self._blocks.get(key, (0, 0))
        if not address or size < array.nbytes:
            address = self._device.allocate(max(1, array.nbytes))
            self._blocks[key] = (address, array.nbytes)
        return address

    def give(self, array: NDArray[Any]) -> int:
        """Return the address of an input."""
        address = self._place(array)
        if self._device.name != "cpu":
            self._device.write(address, array)
        return address

    def take(self, array: NDArray[Any]) -> int:
        """Return the address of an output, whose bytes are all set before: what is not written shows."""
        array.view(np.uint8).reshape(-1)[...] = 0xFF if array.size else 0
        address = self._place(array)
        if self._device.name != "cpu":
            self._device.write(address, array)
            self._outputs.append((address, array))
        return address
