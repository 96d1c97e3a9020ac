"""The inspector, which tells of an engine's layers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_trt.emulator import dtypes, layers
from pytest_trt.emulator.bound import Recorded

if TYPE_CHECKING:
    from pytest_trt.emulator.engine import Engine


class Inspector(Recorded):
    """Tells of an engine's layers."""

    _engine: Engine

    def _setup(self, engine: Engine) -> None:
        self._engine = engine
        self._context: Any = None
        self._reporter = engine._reporter.child()

    @property
    def execution_context(self) -> Any:
        """The context whose shapes are shown, or None."""
        return self._context

    @execution_context.setter
    def execution_context(self, value: Any) -> None:
        self._context = value

    @property
    def _is_new(self) -> bool:
        return self._host.has_new_inspector

    def _io(self) -> list[dict[str, Any]]:
        core = self._engine._core
        return [
            {
                "Name": port.name,
                "IOMode": "Input" if port.is_input else "Output",
                "DataType": layers.word_of(dtypes.short_of(port.elem)),
                "Dimensions": list(port.shape),
                "Location": "Device",
                "IsShapeInferenceIO": False,
                "ProfileInfo": [
                    {"Min": table[port.name][0], "Opt": table[port.name][1], "Max": table[port.name][2]}
                    for table in core.profiles
                    if port.is_input
                ],
            }
            for port in core.ports.values()
        ]

    def _verbosity(self) -> str:
        return str(self._engine._core.settings["verbosity"])

    def get_engine_information(self, format: Any) -> str:
        """Return all layers, as JSON or one a line."""
        rows = self._engine._core.settings["layers"]
        if self._verbosity() == "NONE":
            self._reporter.log(
                "WARNING", "The engine was built with ProfilingVerbosity.NONE: no layer information"
            )
            rows = []
        detailed = self._verbosity() in ("DETAILED", "VERBOSE")
        if format.name == "JSON":
            return layers.engine_json(rows, self._io(), detailed, self._is_new)
        lines = (
            layers.engine_lines(rows, self._is_new)
            if detailed
            else "Layers:\n" + "\n".join(row["name"] for row in rows)
        )
        return f"{lines}\n\nBindings:\n" + "\n".join(port["Name"] for port in self._io())

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        """Return one layer, as JSON or a line; an error text in JSON for a bad index."""
        rows = self._engine._core.settings["layers"]
        if not 0 <= layer_index < len(rows):
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IEngineInspector::getLayerInformation",
                f"Invalid layer index: {layer_index}",
            )
            return ""
        detailed = self._verbosity() in ("DETAILED", "VERBOSE")
        row = rows[layer_index]
        if format.name == "JSON":
            return json.dumps(layers.layer_value(row, detailed, self._is_new))
        return layers.engine_lines([row], self._is_new).partition("\n")[2] if detailed else str(row["name"])
