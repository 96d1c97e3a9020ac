"""Layers of an engine as records: from the inspector in both JSON dialects, or from the build log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from pytest_trt.records import LayerInfo, LogLine

_TYPES = {
    "float": "fp32",
    "fp32": "fp32",
    "half": "fp16",
    "fp16": "fp16",
    "bfloat16": "bf16",
    "bf16": "bf16",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
    "uint8": "uint8",
    "int4": "int4",
    "fp8": "fp8",
    "fp4": "fp4",
    "e8m0": "e8m0",
}
# Longest first, so that `BFloat16` is not read as `Float`.
_TYPE_WORD = re.compile(
    r"\b(bfloat16|float|half|bf16|fp32|fp16|uint8|int8|int32|int64|int4|bool|fp8|fp4|e8m0)\b", re.I
)
_TENSORS = r"\[\]|\[ ?\{.*?\}\]"  # Dimensions have brackets of their own, so a list ends at `}]`.
_LAYER = re.compile(
    rf"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: (?P<inputs>{_TENSORS})"
    rf"(?:, Constants: (?P<constants>{_TENSORS}))?, Outputs: (?P<outputs>{_TENSORS}),? ?(?P<rest>.*)$"
)
_TENSOR = re.compile(r"\{ Name: (.*?), (?=[A-Z][A-Za-z/]+: )(.*?)(?=\}, ?\{ Name: |\} ?\]$)")
_LOGGED_TYPE = re.compile(r"\b(?:Data[tT]ype|Format/Datatype): ([^,}\]]+)")
_LOGGED_FORMAT = re.compile(r"\b(?:Format|Format/Datatype): (?:\([^()]*\) )?([^,}]+)")
_TACTIC = re.compile(r"TacticName: (.*?)(?:, [A-Z][A-Za-z]+: |$)")
_WEIGHTS = re.compile(r"\bWeights: \{\"Type\": \"(\w+)\"")
_LETTERS = re.compile(r"^\([^()]*\) ")  # `(NHWC) Channel major format`
_METADATA = re.compile(r"Metadata: (.*)$")


def type_name(words: str) -> str:
    """Return our name of the element type that TensorRT's words contain, `?` if they contain none.

    Words are `Float`, `Half`, or of the older form `Row major linear FP16 format`.
    """
    found = _TYPE_WORD.search(words)
    return _TYPES[found.group(1).lower()] if found else "?"


def read_log(lines: Iterable[LogLine]) -> tuple[LayerInfo, ...]:
    """Return the layers that a build with DETAILED profiling verbosity logged, `()` if it logged none."""
    layers: list[LayerInfo] = []
    for line in lines:
        if line.text.lstrip().startswith("Layers:"):
            body = line.text.split("\nI/O Tensors:", 1)[0].split("\nBindings:", 1)[0]
            layers += [layer for text in body.splitlines() if (layer := _logged_layer(text)) is not None]
    return tuple(layers)


def _logged_layer(text: str) -> LayerInfo | None:
    found = _LAYER.match(text.strip())
    if found is None:
        return None

    def tensors(part: str) -> tuple[tuple[str, str], ...]:
        return tuple(_TENSOR.findall(found.group(part) or ""))

    def types(part: str) -> tuple[str, ...]:
        return tuple(type_name(_word(_LOGGED_TYPE, words)) for _, words in tensors(part))

    tactic = _TACTIC.search(found.group("rest"))
    metadata = _METADATA.search(found.group("rest"))
    weights = _WEIGHTS.search(found.group("rest"))
    return LayerInfo(
        name=found.group("name"),
        kind=found.group("kind"),
        inputs=types("inputs"),
        outputs=types("outputs"),
        constants=types("constants") or ((type_name(weights.group(1)),) if weights else ()),
        tactic=tactic.group(1).strip() if tactic else "",
        metadata=metadata.group(1).strip() if metadata else "",
        reads=tuple(name for name, _ in tensors("inputs")),
        writes=tuple(name for name, _ in tensors("outputs")),
        formats=tuple(_format(_word(_LOGGED_FORMAT, words)) for _, words in tensors("inputs")),
    )


def _word(pattern: re.Pattern[str], words: str) -> str:
    found = pattern.search(words)
    return found.group(1).strip() if found else ""


def _format(words: str) -> str:
    """Return the words of a memory format; none for a bare type (`Half`) or where shapes decide at run time."""
    bare = _TYPE_WORD.fullmatch(words) is not None
    return "" if bare or words.startswith("N/A") else words


def read_json(text: str) -> tuple[LayerInfo, ...]:
    """Return the layers of the inspector's JSON.

    Both dialects are read: up to 10.x a tensor has `Format/Datatype`; 11.x and TensorRT-RTX split it (TensorRT
    documentation, "Migrating IEngineInspector Usage from TensorRT 10.x to 11.x"). Where shapes are dynamic the older
    one may say "N/A due to dynamic shapes" for a type: it reads as `?`, and the type of the weights is told beside it. An
    engine that was not built with DETAILED verbosity gives names only; text that is not JSON gives `()`.
    """
    try:
        document = json.loads(text)
    except ValueError:
        return ()
    entries = document.get("Layers", []) if isinstance(document, dict) else []
    return tuple(_json_layer(entry) for entry in entries)


def _json_layer(entry: Any) -> LayerInfo:
    if not isinstance(entry, dict):
        return LayerInfo(name=str(entry), kind="?")

    def tensors(key: str) -> list[dict[str, Any]]:
        return [tensor for tensor in entry.get(key) or () if isinstance(tensor, dict)]

    def types(key: str) -> tuple[str, ...]:
        return tuple(map(_json_type, tensors(key)))

    weights = entry.get("Weights")  # up to 10.x: {"Type": "Half", "Count": 864}
    held = (type_name(str(weights["Type"])),) if isinstance(weights, dict) and "Type" in weights else ()
    return LayerInfo(
        name=str(entry.get("Name", "")),
        kind=str(entry.get("LayerType", "?")),
        inputs=types("Inputs"),
        outputs=types("Outputs"),
        constants=types("Constants") or held,
        tactic=str(entry.get("TacticName", "")),
        metadata=str(entry.get("Metadata", "")),
        reads=tuple(str(tensor.get("Name", "")) for tensor in tensors("Inputs")),
        writes=tuple(str(tensor.get("Name", "")) for tensor in tensors("Outputs")),
        formats=tuple(map(_json_format, tensors("Inputs"))),
    )


def _json_type(tensor: dict[str, Any]) -> str:
    for key in ("Datatype", "DataType", "Format/Datatype"):
        if key in tensor:
            return type_name(str(tensor[key]))
    return "?"


def _json_format(tensor: dict[str, Any]) -> str:
    words = next((str(tensor[key]) for key in ("Format", "Format/Datatype") if key in tensor), "")
    return _format(_LETTERS.sub("", words).strip())


def engine_layers(trt: Any, engine: Any) -> tuple[LayerInfo, ...]:
    """Return the layers of a loaded engine, `()` where its inspector gives nothing."""
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return ()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return read_json(text) if text else ()
