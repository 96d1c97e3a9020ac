"""A Python plugin that counts its own life: every instance, clone, context, enqueue and end, by serial number.

It computes y = x * scale + shift from the fields `scale` (float32), `shift` (int32) and `label` (text). The classes are made for
one TensorRT, real or emulated, since their bases come from its module. Its `enqueue` computes on the host: on a GPU it copies
both ways and waits, which is no way to write a plugin that has to be fast.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pytest_trt.errors import UnsupportedError
from pytest_trt.runtime.features import probe
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.plugin_lives import (
    Arrays,
    Fields,
    Ledger,
    from_bytes,
    from_collection,
    to_bytes,
)
from pytest_trt.runtime.profiles import Profile, add_profiles

NAME, VERSION, NAMESPACE = "CountingPlugin", "1", "pytest_trt"
KINDS = ("V3", "V2")


def offers_plugins(rt: Runtime, kind: str) -> bool:
    """Return whether this TensorRT takes Python plugins of a kind, `V3` or `V2`."""
    base = "IPluginV3" if kind == "V3" else "IPluginV2DynamicExt"
    return probe(rt.trt, base) and probe(rt.trt.INetworkDefinition, f"add_plugin_{kind.lower()}")


class Counting:
    """A counting plugin for one TensorRT.

    Parameters
    ----------
    rt : Runtime
    kind : str
        `V3` or `V2`.
    version, namespace : str
        What the creator is registered under.

    Attributes
    ----------
    ledger : Ledger
    creator : object
        Makes the plugins; see `registered`.

    Raises
    ------
    UnsupportedError
        This TensorRT has no such base class.
    """

    def __init__(self, rt: Runtime, kind: str, version: str = VERSION, namespace: str = NAMESPACE) -> None:
        base = "IPluginV3" if kind == "V3" else "IPluginV2DynamicExt"
        if not probe(rt.trt, base):
            raise UnsupportedError(
                f"{rt.title} has no Python plugins of kind {kind}", why=f"it has no {base}"
            )
        self.rt = rt
        self.kind = kind
        self.ledger = Ledger()
        self._plugin = (_v3 if kind == "V3" else _v2)(rt, self.ledger, version, namespace)
        self.creator = _creator(rt.trt, kind, self._plugin, version, namespace)

    def make(self, fields: Fields) -> Any:
        """Return a plugin of the user's own, to be added to a network."""
        return self._plugin(fields, 0, "made")

    @contextmanager
    def registered(self) -> Iterator[Counting]:
        """A block in which the creator is in TensorRT's registry.

        Raises
        ------
        UnsupportedError
            TensorRT did not take it: one of that name, version and namespace is there.
        """
        registry = self.rt.trt.get_plugin_registry()
        if not registry.register_creator(self.creator, self.creator.plugin_namespace):
            raise UnsupportedError(f"{self.rt.title} did not register the plugin creator {NAME}")
        try:
            yield self
        finally:
            registry.deregister_creator(self.creator)


def build_added(counting: Counting, model: bytes, fields: Fields, profile: Profile) -> bytes:
    """Return the plan of a model with a plugin added behind its first output, by hand; the new output is `y`.

    Raises
    ------
    UnsupportedError
        TensorRT did not take or build it; `why` holds its words.
    """
    rt = counting.rt
    with rt.logger.collect() as lines, rt.active():

        def taken(thing: Any, what: str) -> Any:
            if thing is None or thing is False:
                raise UnsupportedError(f"{rt.title} {what}", why=errors_in(lines) or ("no error was logged",))
            return thing

        builder = taken(rt.trt.Builder(rt.logger.raw), "made no builder")
        flags = rt.features.network_flags(rt.features.strong_typing)
        network = taken(builder.create_network(flags), "made no network")
        parser = rt.trt.OnnxParser(network, rt.logger.raw)
        taken(parser.parse(model), "did not parse the model")
        tensor = network.get_output(0)
        network.unmark_output(tensor)
        plugin = counting.make(fields)
        if counting.kind == "V3":
            layer = network.add_plugin_v3([tensor], [], plugin)
        else:
            layer = network.add_plugin_v2([tensor], plugin)
        output = taken(layer, "did not take the plugin").get_output(0)
        output.name = "y"
        network.mark_output(output)
        config = taken(builder.create_builder_config(), "made no configuration")
        refusal = add_profiles(builder, network, config, (profile,))
        taken(refusal is None, refusal or "")
        return bytes(taken(builder.build_serialized_network(network, config), "did not build the network"))


def _read(rt: Runtime, address: int, shape: Sequence[int]) -> Any:
    array = np.empty(tuple(shape), np.float32)
    if rt.device == "cpu":
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
    else:
        driver = importlib.import_module("pycuda.driver")
        driver.Context.synchronize()
        driver.memcpy_dtoh(array, address)
    return array


def _write(rt: Runtime, address: int, array: Any) -> None:
    if rt.device == "cpu":
        ctypes.memmove(address, array.ctypes.data, array.nbytes)
    else:
        importlib.import_module("pycuda.driver").memcpy_htod(address, array)


def _compute(rt: Runtime, plugin: Any, input_desc: Any, inputs: Any, outputs: Any) -> None:
    """Do the enqueue of an instance."""
    life = plugin.life
    x = _read(rt, int(inputs[0]), tuple(input_desc[0].dims))
    if x.size:
        life.marks.add(float(x.flat[0]))
    fields = plugin.fields
    y = np.ascontiguousarray(x * np.float32(fields.scale) + np.float32(fields.shift), np.float32)
    _write(rt, int(outputs[0]), y)


def _is_float(trt: Any, desc: Any) -> bool:
    desc = getattr(desc, "desc", desc)
    return bool(desc.type == trt.DataType.FLOAT and desc.format == trt.TensorFormat.LINEAR)


def _v3(rt: Runtime, ledger: Ledger, version: str, namespace: str) -> Callable[..., Any]:
    trt: Any = rt.trt

    class Plugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
        def __init__(self, fields: Fields, parent: int, origin: str) -> None:
            trt.IPluginV3.__init__(self)
            trt.IPluginV3OneCore.__init__(self)
            trt.IPluginV3OneBuild.__init__(self)
            trt.IPluginV3OneRuntime.__init__(self)
            self.plugin_name, self.plugin_version, self.plugin_namespace = NAME, version, namespace
            self.num_outputs = 1
            self.fields = fields
            self.arrays = Arrays(trt, fields)
            self.life = ledger.begin(self, parent, origin, fields)

        def get_capability_interface(self, type: Any) -> Any:
            return self

        def clone(self) -> Any:
            ledger.note(self.life, "clone")
            return Plugin(self.fields, self.life.serial, "clone")

        def destroy(self) -> None:
            ledger.note(self.life, "destroy")

        def get_output_data_types(self, input_types: Any) -> list[Any]:
            ledger.note(self.life, "get_output_data_types")
            return [input_types[0]]

        get_output_datatypes = get_output_data_types  # as the surface of 10.0 to 10.2 spells it

        def get_output_shapes(self, inputs: Any, shape_inputs: Any, expr_builder: Any) -> list[Any]:
            ledger.note(self.life, "get_output_shapes")
            return [trt.DimsExprs([inputs[0][axis] for axis in range(len(inputs[0]))])]

        def supports_format_combination(self, pos: int, in_out: Any, num_inputs: int) -> bool:
            return _is_float(trt, in_out[pos])

        def configure_plugin(self, inputs: Any, outputs: Any) -> None:
            ledger.note(self.life, "configure_plugin")

        def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
            return 0

        def get_valid_tactics(self) -> list[int]:
            return []

        def set_tactic(self, tactic: int) -> None:
            ledger.note(self.life, "set_tactic")

        def on_shape_change(self, inputs: Any, outputs: Any) -> None:
            ledger.note(self.life, "on_shape_change")

        def attach_to_context(self, resource_context: Any) -> Any:
            ledger.note(self.life, "attach_to_context")
            return Plugin(self.fields, self.life.serial, "attach")

        def get_fields_to_serialize(self) -> Any:
            ledger.note(self.life, "get_fields_to_serialize")
            return self.arrays.collect()

        def enqueue(
            self, input_desc: Any, output_desc: Any, inputs: Any, outputs: Any, workspace: int, stream: int
        ) -> None:
            ledger.note(self.life, "enqueue")
            _compute(rt, self, input_desc, inputs, outputs)

    return Plugin


def _v2(rt: Runtime, ledger: Ledger, version: str, namespace: str) -> Callable[..., Any]:
    trt: Any = rt.trt

    class Plugin(trt.IPluginV2DynamicExt):
        def __init__(self, fields: Fields, parent: int, origin: str) -> None:
            trt.IPluginV2DynamicExt.__init__(self)
            self.plugin_type, self.plugin_version, self.plugin_namespace = NAME, version, namespace
            self.num_outputs = 1
            self.fields = fields
            self.life = ledger.begin(self, parent, origin, fields)

        def clone(self) -> Any:
            ledger.note(self.life, "clone")
            return Plugin(self.fields, self.life.serial, "clone")

        def initialize(self) -> int:
            ledger.note(self.life, "initialize")
            return 0

        def terminate(self) -> None:
            ledger.note(self.life, "terminate")

        def destroy(self) -> None:
            ledger.note(self.life, "destroy")

        def get_output_datatype(self, index: int, input_types: Any) -> Any:
            ledger.note(self.life, "get_output_datatype")
            return input_types[0]

        def get_output_dimensions(self, output_index: int, inputs: Any, expr_builder: Any) -> Any:
            ledger.note(self.life, "get_output_dimensions")
            return trt.DimsExprs([inputs[0][axis] for axis in range(len(inputs[0]))])

        def supports_format_combination(self, pos: int, in_out: Any, num_inputs: int) -> bool:
            return _is_float(trt, in_out[pos])

        def configure_plugin(self, inputs: Any, outputs: Any) -> None:
            ledger.note(self.life, "configure_plugin")

        def get_workspace_size(self, inputs: Any, outputs: Any) -> int:
            return 0

        def get_serialization_size(self) -> int:
            return len(to_bytes(self.fields))

        def serialize(self) -> bytes:
            ledger.note(self.life, "serialize")
            return to_bytes(self.fields)

        def enqueue(
            self, input_desc: Any, output_desc: Any, inputs: Any, outputs: Any, workspace: int, stream: int
        ) -> int:
            ledger.note(self.life, "enqueue")
            _compute(rt, self, input_desc, inputs, outputs)
            return 0

    return Plugin


def _creator(trt: Any, kind: str, plugin: Callable[..., Any], version: str, namespace: str) -> Any:
    base: Any = trt.IPluginCreatorV3One if kind == "V3" else trt.IPluginCreator

    class Creator(base):
        def __init__(self) -> None:
            base.__init__(self)
            self.name, self.plugin_version, self.plugin_namespace = NAME, version, namespace
            self.arrays = Arrays(trt, Fields(label=" "))
            self.field_names = self.arrays.collect()

    class CreatorV3(Creator):
        def create_plugin(self, name: str, field_collection: Any, phase: Any) -> Any:
            return plugin(from_collection(field_collection), 0, phase.name.lower())

    class CreatorV2(Creator):
        def create_plugin(self, name: str, field_collection: Any) -> Any:
            return plugin(from_collection(field_collection), 0, "build")

        def deserialize_plugin(self, name: str, serialized_plugin: Any) -> Any:
            return plugin(from_bytes(serialized_plugin), 0, "runtime")

    return CreatorV3() if kind == "V3" else CreatorV2()
