"""`python -m pytest_trt claims`: the claims of the TensorRT FAQ and the public bugs, and what became of them the last time."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_trt.errors import SettingsError
from pytest_trt.report import claims as book
from pytest_trt.report.terminal import table
from pytest_trt.settings import GOOD_CLAIMS, read_claim

if TYPE_CHECKING:
    from pytest_trt.cases.bugs import Bug
    from pytest_trt.cases.claims import Claim

WIDTH = 110
RUN = "pytest suites --trt-claim="
SHOWN = {
    "emulator": "on the emulator",
    "build": "by a real TensorRT-RTX that builds",
    "samples": "on recorded samples",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("names", nargs="*", metavar="CLAIM", help=f"{GOOD_CLAIMS}: tell all about these")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="where results were kept, as --trt-cache-dir; default: the user's cache",
    )


def run(given: argparse.Namespace) -> int:
    """Print the table, or all about some claims; return 1 where a claim was broken or a bug present the last time."""
    from pytest_trt.cases.bugs import BUGS
    from pytest_trt.cases.claims import CLAIMS
    from pytest_trt.runtime.plans import default_folder

    folder = given.cache_dir or default_folder()
    places = book.load(folder)
    rows: Mapping[str, Claim | Bug] = {**CLAIMS, **BUGS}
    names = tuple(dict.fromkeys(read_claim(word) for word in given.names)) or tuple(rows)
    for name, word in zip(names, given.names, strict=False):
        if name not in rows:
            raise SettingsError(f"claims: {word!r} is unknown", why=f"good values: {GOOD_CLAIMS}")
    if given.json:
        print(json.dumps([_plain(rows[name], places) for name in names], indent=1))
    elif given.names:
        print("\n\n".join("\n".join(_describe(rows[name], places)) for name in names))
    else:
        print("\n".join(_table(rows, places)))
    bad = {book.BROKEN, book.PRESENT}
    return int(
        any(place["results"].get(name, {}).get("outcome") in bad for place in places for name in names)
    )


def _triggers(name: str) -> list[Any]:
    from pytest_trt.cases.triggers import TRIGGERS

    return [each for each in TRIGGERS.values() if each.bug == name]


def _table(rows: Mapping[str, Claim | Bug], places: Sequence[Mapping[str, Any]]) -> list[str]:
    from pytest_trt.cases.claims import SOURCE, Claim

    lines = []
    for number, place in enumerate(places, 1):
        lines.append(f"[{number}] {place['where']}")
    if not places:
        lines.append("no results are kept: pytest suites -m 'faq or bug' makes them")
    head = ("claim", "what", "shown by", *(f"[{number}]" for number in range(1, len(places) + 1)))
    body = []
    for name, row in rows.items():
        results = [place["results"].get(name, {}).get("outcome", "") for place in places]
        if isinstance(row, Claim):
            what, shown = row.title, "+".join(row.shown)
        else:
            what, shown = _cut(row.trigger, 62), "+".join(row.checks) if not row.unwritable else "no test"
        body.append((name, what, shown, *results))
    lines += [
        "",
        *table(head, body),
        "",
        f"faq: {SOURCE}",
        "shown by: who runs the test here (faq), or the kind of check (bugs)",
    ]
    return lines


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def _describe(row: Claim | Bug, places: Sequence[Mapping[str, Any]]) -> list[str]:
    from pytest_trt.cases.claims import SOURCE, Claim

    if isinstance(row, Claim):
        facts = [
            ("claim", row.claim),
            ("holds", row.holds),
            ("since", row.since),
            ("shown", " and ".join(SHOWN[way] for way in row.shown)),
            ("GPU", row.gpu and f"only a GPU shows {row.gpu}"),
            ("source", f"{SOURCE}, item {row.number}"),
        ]
        lines = [f"{row.name}: {row.title}"]
    else:
        facts = [
            ("trigger", row.trigger),
            ("symptom", row.symptom),
            ("versions", row.versions),
            ("status", row.status),
            ("checks", ", ".join(row.checks)),
            ("threads", " ".join(row.links or row.threads)),
            ("no test", row.unwritable),
            *(
                ("test", f"{each.sentence} ({each.fidelity}; {', '.join(each.precisions)})")
                for each in _triggers(row.name)
            ),
            ("faults", ", ".join(sorted({fault for each in _triggers(row.name) for fault in each.faults}))),
        ]
        lines = [f"{row.name}: {row.symptom}"]
    for title, text in facts:
        if text:
            lines += textwrap.wrap(text, WIDTH, initial_indent=f"  {title:<9}", subsequent_indent=" " * 11)
    for place in places:
        told = place["results"].get(row.name)
        if told:
            words = f"{told['outcome']} on {place['where']}, {told['when']}"
            if told["words"]:
                words += f": {told['words']}"
            lines += textwrap.wrap(words, WIDTH, initial_indent="  last     ", subsequent_indent=" " * 11)
    return [*lines, f"  run      {RUN}{row.name}"]


def _plain(row: Claim | Bug, places: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    from dataclasses import asdict

    found = asdict(row)
    last = {place["where"]: place["results"][row.name] for place in places if row.name in place["results"]}
    return {**found, "last": last}
