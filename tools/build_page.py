"""Words of the map that `build_map.py` measures: one Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ASKED = ("fp32", "tf32", "fp16", "bf16", "int8", "int8+fp16", "int8+bf16")
REFUSED = "refused in words"
HEAD = """# What TensorRT-RTX builds

This page is made by `python tools/build_map.py`; do not edit it. {product} {version} built everything on it without a GPU
(Python {python}, {system}); nothing here was executed. {builds} builds, one process for each compute capability:
{sms}. They are held against the table of known limits (`pytest_trt/cases/limits.toml`), which
`suites/test_build.py` holds against drawn configurations as well.

`int8` is a Q/DQ graph with float32 where INT8 is not; `int8+fp16` and `int8+bf16` have that type there instead (`--trt-hybrid`).

| in a cell | means |
| --- | --- |
| yes | it builds; every convolution and matrix product is in the type asked for, by the layer list of the DETAILED build log |
| fp32, fp16, bf16 | it builds, and the layer list shows its products in this type instead |
| ? | it builds, and the layer list does not tell the type of its product: a generated kernel holds it and what is around it |
| no (a) | TensorRT-RTX refuses it, in the words below the tables |

What stands in a cell holds for every compute capability that is not named in it. TF32 shows in no layer list: its `yes` says
that it builds with the flag. For operators that do not multiply, `yes` says that they build. SM75 has no TF32 and is left out of
that column.
"""
NETWORKS = """
## Trained networks

Three networks of the wheel `rapidocr-onnxruntime` with a dynamic batch, INT8 scales from drawn images. `products` counts the
convolutions and matrix products by the type that they ran in, `layers` those of the engine by the type that they read, `moves`
those that change only type or memory format, `plan` is its size. Compute capabilities with the same numbers share a line. Seconds
are of the machine that made this page and say nothing else.

| network | asked | SM | products | layers | moves | plan, KiB | seconds |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def render(parts: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> str:
    """Return the page.

    Parameters
    ----------
    parts : sequence of mapping
        One for each compute capability, from `build_map.measure`.
    facts : mapping of str to str
        `python` and `system` of the machine.
    """
    sms = [part["sm"] for part in parts]
    notes: dict[str, str] = {}
    page = HEAD.format(
        product="TensorRT-RTX" if parts[0]["product"] == "tensorrt_rtx" else parts[0]["product"],
        version=parts[0]["version"],
        builds=sum(part["builds"] for part in parts),
        sms=", ".join(f"SM{sm}" for sm in sms),
        **facts,
    )
    for block, rows in _blocks(parts).items():
        asked = [name for name in ASKED if any(name in cells for cells in rows.values())]
        page += f"\n## {block}\n\n| | {' | '.join(asked)} |\n{'| --- ' * (len(asked) + 1)}|\n"
        texts = {
            row: tuple(_cell(cells.get(name, {}), notes) for name in asked) for row, cells in rows.items()
        }
        for rows_alike, cell_texts in _alike(texts):
            page += f"| {'; '.join(rows_alike)} | {' | '.join(cell_texts)} |\n"
    if any(part["networks"] for part in parts):
        page += NETWORKS + "".join(_networks(parts, notes))
    if notes:
        page += "\n## Words of the refusals\n\n| | TensorRT-RTX says |\n| --- | --- |\n"
        page += "".join(f"| {letter} | {_escape(words)} |\n" for words, letter in notes.items())
    against = [text for part in parts for text in part["contradictions"]]
    if against:
        page += "\n## Against the table of known limits\n\n" + "".join(f"- {text}\n" for text in against)
    return page


def _blocks(
    parts: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, dict[str, dict[int, tuple[str, str]]]]]:
    """Return block, row, asked, compute capability to (outcome, words)."""
    found: dict[str, dict[str, dict[str, dict[int, tuple[str, str]]]]] = {}
    for part in parts:
        for block, row, asked, outcome, words in part["rows"]:
            cells = found.setdefault(block, {}).setdefault(row, {}).setdefault(asked, {})
            cells[part["sm"]] = (outcome, words)
    return found


def _cell(ends: Mapping[int, tuple[str, str]], notes: dict[str, str]) -> str:
    """Return one cell: what most compute capabilities do, then those that do something else."""
    by_text: dict[str, list[int]] = {}
    for sm, (outcome, words) in ends.items():
        by_text.setdefault(_word(outcome, words, notes), []).append(sm)
    ordered = sorted(by_text.items(), key=lambda entry: (-len(entry[1]), entry[1]))
    if not ordered:
        return ""
    rest = [f"SM{', '.join(map(str, sms))}: {text}" for text, sms in ordered[1:]]
    return "; ".join([ordered[0][0], *rest])


def _word(outcome: str, words: str, notes: dict[str, str]) -> str:
    if outcome == REFUSED:
        letter = notes.setdefault(words, chr(ord("a") + len(notes)))
        return f"no ({letter})"
    return "yes" if outcome == "builds" else outcome


def _alike(texts: Mapping[str, tuple[str, ...]]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Return rows that have the same cells together, in the order of their first."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row, cells in texts.items():
        found.setdefault(cells, []).append(row)
    return [(rows, cells) for cells, rows in found.items()]


def _networks(parts: Sequence[Mapping[str, Any]], notes: dict[str, str]) -> Iterable[str]:
    groups: dict[tuple[str, ...], list[tuple[int, Mapping[str, Any]]]] = {}
    for part in parts:
        for entry in part["networks"]:
            if entry["outcome"] == REFUSED:
                told: tuple[str, ...] = (_word(REFUSED, entry["words"], notes), "", "")
            else:
                shown = {"tf32": "fp32 or tf32"}  # layer lists name both fp32
                products = ", ".join(f"{n} {shown.get(kind, kind)}" for kind, n in entry["ran"].items())
                types = ", ".join(f"{count} {kind}" for kind, count in entry["types"].items())
                told = (products, types, str(entry["reformats"]))
            groups.setdefault((entry["network"], entry["asked"], *told), []).append((part["sm"], entry))
    order = {name: position for position, name in enumerate(ASKED)}
    for key in sorted(groups, key=lambda key: (key[0], order[key[1]], groups[key][0][0])):
        members = groups[key]
        sizes = [round(entry["bytes"] / 1024) for _, entry in members if "bytes" in entry]
        seconds = [entry["seconds"] for _, entry in members if "seconds" in entry]
        cells = (
            key[0],
            key[1],
            ", ".join(str(sm) for sm, _ in members),
            *key[2:],
            _range(sizes),
            _range(seconds),
        )
        yield f"| {' | '.join(cells)} |\n"


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def _escape(text: str) -> str:
    return text.strip().splitlines()[0][:200].replace("|", "\\|") if text.strip() else "no words"
