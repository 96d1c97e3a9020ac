"""The registry of plugin creators; one for each emulated TensorRT, as one library has one."""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.reporting import shielded


class PluginRegistry(Bound):
    """Creators by name, version and namespace, and the resources that plugins share."""

    def _setup(self) -> None:
        self._creators: dict[tuple[str, str, str], Any] = {}
        self._resources: dict[str, list[Any]] = {}  # key to [resource, how many use it]
        self._recorder: Any = None
        self._searches_parent = True

    @property
    def error_recorder(self) -> Any:
        """The attached recorder, or None."""
        return self._recorder

    @error_recorder.setter
    def error_recorder(self, value: Any) -> None:
        self._recorder = value

    @property
    def parent_search_enabled(self) -> bool:
        """Whether a parent registry is searched too; there is none here."""
        return self._searches_parent

    @parent_search_enabled.setter
    def parent_search_enabled(self, value: bool) -> None:
        self._searches_parent = bool(value)

    @property
    def plugin_creator_list(self) -> list[Any]:
        """The creators of the older kind."""
        return [creator for creator in self._creators.values() if hasattr(creator, "deserialize_plugin")]

    @property
    def all_creators(self) -> list[Any]:
        """Every creator."""
        return list(self._creators.values())

    @property
    def all_creators_recursive(self) -> list[Any]:
        """Every creator; there is no parent registry here."""
        return self.all_creators

    def register_creator(self, creator: Any, plugin_namespace: str = "") -> bool:
        """Take a creator; False where one of that name, version and namespace is there already."""
        namespace = plugin_namespace or getattr(creator, "plugin_namespace", "") or ""
        key = (creator.name, creator.plugin_version, namespace)
        if key in self._creators:
            return False
        self._creators[key] = creator
        return True

    def deregister_creator(self, creator: Any) -> bool:
        """Forget a creator; False where it is not here."""
        keys = [key for key, known in self._creators.items() if known is creator]
        for key in keys:
            del self._creators[key]
        return bool(keys)

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        """Return a creator, or None."""
        return self._creators.get((type, version, plugin_namespace))

    def get_plugin_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        """Return a creator of the older kind, or None."""
        found = self._creators.get((type, version, plugin_namespace))  # 8.x has no `get_creator`
        return found if found in self.plugin_creator_list else None

    def acquire_plugin_resource(self, key: str, resource: Any) -> Any:
        """Return the resource of a key; the first one to ask has its own cloned."""
        if key not in self._resources:
            self._resources[key] = [resource.clone(), 0]
        self._resources[key][1] += 1
        return self._resources[key][0]

    def release_plugin_resource(self, key: str) -> int:
        """Give a resource back, 0 on success; the last one to do so releases it."""
        if key not in self._resources:
            return -1
        self._resources[key][1] -= 1
        if not self._resources[key][1]:
            shielded(self._resources.pop(key)[0].release)
        return 0
