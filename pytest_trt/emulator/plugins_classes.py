"""The classes that a Python plugin subclasses. Methods with a default may be left out; the others must be overridden.

Which methods the bindings look up, and which may be missing, is that of NVIDIA's `pyPlugin.cpp`, releases 10 and 11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_trt.emulator.bound import Bound, Callback
from pytest_trt.emulator.plugins_values import FieldView


def _pure(name: str) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"no implementation provided for {name}()")

    refuse.__name__ = name
    return refuse


def _kept(name: str, default: Any = None) -> property:
    """Return a property that a plugin sets for itself; read before that, it is missing as in the bindings."""

    def read(self: Any) -> Any:
        found = self.__dict__.get(f"_{name}", default)
        if found is None:
            raise AttributeError(f"{name} not initialized")
        return found

    def write(self: Any, value: Any) -> None:
        self.__dict__[f"_{name}"] = value

    return property(read, write, doc=f"`{name}` as the plugin set it.")


_PARTS = frozenset(
    ("IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime", "IPluginV2DynamicExt")
)


class Part(Callback):
    """One base of a plugin, which may have several; the `__init__` of each must run."""

    _begun: frozenset[str] = frozenset()

    def _begin(self, name: str) -> None:
        self._begun = self._begun | {name}

    @property
    def _ready(self) -> bool:  # type: ignore[override]
        return {kind.__qualname__ for kind in type(self).__mro__} & _PARTS <= self._begun


class PluginV3(Part):
    """A plugin from 10.0 on: gives its capabilities, and clones itself."""

    def __init__(self, arg0: Any = None) -> None:
        self._begin("IPluginV3")

    get_capability_interface = _pure("get_capability_interface")
    clone = _pure("clone")

    def destroy(self) -> None:
        """Release what the plugin holds; called once before TensorRT lets go of an instance that is its own."""


class Core(Part):
    """Name, version and namespace of a plugin."""

    def __init__(self, arg0: Any = None) -> None:
        self._begin("IPluginV3OneCore")

    plugin_name = _kept("plugin_name")
    plugin_version = _kept("plugin_version")
    plugin_namespace = _kept("plugin_namespace", "")


class Build(Part):
    """What a plugin does at build time."""

    DEFAULT_FORMAT_COMBINATION_LIMIT = 100

    def __init__(self, arg0: Any = None) -> None:
        self._begin("IPluginV3OneBuild")

    num_outputs = _kept("num_outputs")
    format_combination_limit = _kept("format_combination_limit", 100)
    timing_cache_id = _kept("timing_cache_id", "")
    metadata_string = _kept("metadata_string", "")
    get_output_data_types = _pure("get_output_data_types")
    get_output_datatypes = _pure("get_output_data_types")
    get_output_shapes = _pure("get_output_shapes")
    supports_format_combination = _pure("supports_format_combination")
    configure_plugin = _pure("configure_plugin")

    def get_valid_tactics(self) -> list[int]:
        """Return no tactics."""
        return []

    def get_workspace_size(self, *args: Any) -> int:
        """Return 0."""
        return 0


class Run(Part):
    """What a plugin does at run time."""

    def __init__(self, arg0: Any = None) -> None:
        self._begin("IPluginV3OneRuntime")

    attach_to_context = _pure("attach_to_context")
    enqueue = _pure("enqueue")
    get_fields_to_serialize = _pure("get_fields_to_serialize")
    on_shape_change = _pure("on_shape_change")
    set_tactic = _pure("set_tactic")


class PluginV2(Bound):
    """Base of the older plugins."""

    _sealed = False
    plugin_type = _kept("plugin_type")
    plugin_version = _kept("plugin_version")
    plugin_namespace = _kept("plugin_namespace", "")
    num_outputs = _kept("num_outputs")

    @property
    def tensorrt_version(self) -> int:
        """The version of the interface."""
        return 1

    @property
    def serialization_size(self) -> int:
        """How many bytes `serialize` gives."""
        return len(self.serialize())  # type: ignore[attr-defined]


class PluginV2Dynamic(Part):
    """A plugin of the older kind, which Python can have from 10.0 on."""

    FORMAT_COMBINATION_LIMIT = 100

    def __init__(self, arg0: Any = None) -> None:
        self._begin("IPluginV2DynamicExt")

    clone = _pure("clone")
    configure_plugin = _pure("configure_plugin")
    enqueue = _pure("enqueue")
    get_output_datatype = _pure("get_output_datatype")
    get_output_dimensions = _pure("get_output_dimensions")
    serialize = _pure("serialize")
    supports_format_combination = _pure("supports_format_combination")

    def initialize(self) -> int:
        """Return 0: nothing to set up."""
        return 0

    def terminate(self) -> None:
        """Nothing to give back."""

    def destroy(self) -> None:
        """Nothing to release."""

    def get_workspace_size(self, *args: Any) -> int:
        """Return 0."""
        return 0

    def get_serialization_size(self) -> int:
        """Return how many bytes `serialize` gives."""
        return len(self.serialize())


class Creator(Callback):
    """Makes plugins of one name, version and namespace."""

    name = _kept("name")
    plugin_version = _kept("plugin_version")
    plugin_namespace = _kept("plugin_namespace", "")
    create_plugin = _pure("create_plugin")

    @property
    def field_names(self) -> Any:
        """The fields that a plugin takes."""
        return self.__dict__.get("_field_names", ())

    @field_names.setter
    def field_names(self, value: Any) -> None:
        self.__dict__["_field_names"] = self._host.new(FieldView, value)


class OlderCreator(Creator):
    """Makes V2 plugins."""

    deserialize_plugin = _pure("deserialize_plugin")


class Resource(Callback):
    """What several plugins share through the registry."""

    clone = _pure("clone")
    release = _pure("release")


class ResourceContext(Bound):
    """What a plugin is told of the context that it is attached to."""

    _recorder: Any

    def _setup(self, recorder: Any) -> None:
        self._recorder = recorder

    @property
    def error_recorder(self) -> Any:
        """The error recorder of the context, or None."""
        return self._recorder

    @property
    def gpu_allocator(self) -> Any:
        """None: the emulator has none."""
        return None


__all__ = [
    "Build",
    "Core",
    "Creator",
    "OlderCreator",
    "PluginV2",
    "PluginV2Dynamic",
    "PluginV3",
    "Resource",
    "ResourceContext",
    "Run",
]
