"""Write `pytest_trt/emulator/surfaces.json` from a folder of introspected API surfaces, one JSON file a version.

Usage: python tools/pack_surfaces.py FOLDER

Each input file holds what introspection of one bindings wheel gave: `product`, `version`, `classes` (methods,
properties, property_types, bases, static), `enums`, `functions`, `constants`, `plugin_module`. The output holds each
name once, with a bit mask of the versions that have it; run time reads only the output.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "pytest_trt" / "emulator" / "surfaces.json"


def order_of(surface: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    """Return the sort key of a surface: product, then the version as numbers."""
    return surface["product"], tuple(int(part) for part in surface["version"].split("."))


def strip_self(signature: str) -> str:
    """Return `(a: int) -> bool` for `name(self, a: int) -> bool`."""
    text = signature[signature.index("(") :]
    return re.sub(r"^\((self|this)(, |(?=\)))", "(", text)


def note(table: dict[str, Any], name: str, value: Any, bit: int) -> None:
    """Record that the version of this bit gives `value` to `name`."""
    for row in table.setdefault(name, []):
        if row[1] == value:
            row[0] |= bit
            return
    table[name].append([bit, value])


def pack(surfaces: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the packed table of all surfaces."""
    packed: dict[str, Any] = {
        "versions": [[s["product"], s["version"]] for s in surfaces],
        "classes": {},
        "enums": {},
        "functions": {},
        "constants": {},
        "plugin": {},
    }
    for position, surface in enumerate(surfaces):
        bit = 1 << position
        for name, body in surface["classes"].items():
            entry = packed["classes"].setdefault(name, {"in": [], "methods": {}, "properties": {}})
            note(entry, "in", [body.get("bases", []), bool(body.get("enum")), body.get("static", [])], bit)
            for method, signatures in body.get("methods", {}).items():
                every = signatures if isinstance(signatures, list) else [signatures]
                static = method in body.get("static", [])
                kept = [s[s.index("(") :] if static else strip_self(s) for s in every]
                note(entry["methods"], method, kept, bit)
            types = body.get("property_types", {})
            for prop, access in body.get("properties", {}).items():
                note(entry["properties"], prop, [access, types.get(prop, "")], bit)
        for name, members in surface["enums"].items():
            table = packed["enums"].setdefault(name, {})
            for member, value in members.items():
                note(table, member, value, bit)
        for name, signature in surface["functions"].items():
            note(packed["functions"], name, signature[signature.index("(") :], bit)
        for name, value in surface["constants"].items():
            note(packed["constants"], name, value, bit)
        plugin = surface.get("plugin_module") or {}
        for name in [*plugin.get("functions", {}), *plugin.get("classes", {})]:
            note(packed["plugin"], name, 1, bit)
    return packed


def main(folder: str) -> None:
    """Pack the surfaces of a folder; one class, enum or table a line, so that changes read well."""
    found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("tensorrt*.json"))]
    packed = pack(sorted(found, key=order_of))
    lines = []
    for key, value in packed.items():
        if key in ("classes", "enums"):
            rows = ",\n".join(
                f"{json.dumps(name)}:{json.dumps(value[name], separators=(',', ':'))}"
                for name in sorted(value)
            )
            lines.append(f"{json.dumps(key)}:{{\n{rows}\n}}")
        else:
            lines.append(f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main(sys.argv[1])
