"""What an upgrade of TensorRT changed, as one document: from it come Markdown, JSON and the sections of the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_trt.errors import CalibrationError, GoldenError
from pytest_trt.golden.book import Entry
from pytest_trt.golden.built import BUILT
from pytest_trt.golden.record import BUILD, CLASSES, MISSING, UNUSABLE, Comparison, Golden
from pytest_trt.golden.travel import read_entry, write_entry
from pytest_trt.precision.tables import CalibrationTable

PROPERTY = "trt_upgrade"
"""Name of the entries among a test's `user_properties`."""
SCHEMA = 1
ORDER = (*reversed(CLASSES), UNUSABLE, MISSING)
"""Classes, the worst first; behind them what could not be compared."""

_FACTS = (
    "outcome",
    "words",
    "plan_bytes",
    "device_memory_bytes",
    "memory",
    "build_seconds",
    "types",
    "calibration",
    "timing_cache",
    "supported",
    "unsupported",
    "onnx",
)
_PLACE = (
    ("plays", "TensorRT"),
    ("gpu_class", "GPU class"),
    ("gpu", "GPU"),
    ("driver", "driver"),
    ("onnxruntime", "ONNX Runtime"),
    ("onnx", "onnx"),
    ("python", "Python"),
    ("pytest_trt", "pytest-trt"),
    ("system", "system"),
    ("recorded", "recorded"),
)
_SIZES = ("plan_bytes", "device_memory_bytes", "build_seconds")
_LAYER = ("layer ", "layers by type")


@dataclass(frozen=True)
class Change:
    """One case before and after.

    Attributes
    ----------
    entry : Entry
        How the two compare.
    then, now : mapping
        Facts of both goldens that the report tells; empty where there was none.
    from_place, to_place : mapping
        Provenance of both.
    """

    entry: Entry
    then: Mapping[str, Any] = field(default_factory=dict)
    now: Mapping[str, Any] = field(default_factory=dict)
    from_place: Mapping[str, Any] = field(default_factory=dict)
    to_place: Mapping[str, Any] = field(default_factory=dict)

    @property
    def comparison(self) -> Comparison:
        """How the two compare."""
        return self.entry.comparison

    @classmethod
    def of(cls, entry: Entry, then: Golden | None, now: Golden) -> Change:
        """Return the change of a golden that was held against an older one; `then` is None where there was none."""
        old = {} if then is None else _pick(then.facts)
        return cls(entry, old, _pick(now.facts), {} if then is None else then.provenance, now.provenance)

    def to_text(self) -> str:
        """Return it as text that travels between processes."""
        rest = {"then": self.then, "now": self.now, "from_place": self.from_place, "to_place": self.to_place}
        return json.dumps({"entry": json.loads(write_entry(self.entry)), **rest}, sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Change:
        """Return the change of a text.

        Raises
        ------
        GoldenError
            The text is of no change.
        """
        try:
            plain = json.loads(text)
            entry = read_entry(json.dumps(plain["entry"]))
            return cls(entry, plain["then"], plain["now"], plain["from_place"], plain["to_place"])
        except (ValueError, KeyError, TypeError) as error:
            raise GoldenError("a change of an upgrade cannot be read", why=str(error)) from error


def make_report(changes: Iterable[Change]) -> dict[str, Any]:
    """Return the document of an upgrade: plain data.

    Parameters
    ----------
    changes : iterable of Change
        Every case that was compared, in any order.

    Returns
    -------
    dict
        `schema`; `from` and `to` (products); `place` (rows: what, then, now); `counts` by class; `cases`, worst first; `support`
        and `operators` (gained, lost); `layers` (changes of layer lists, types and tactics, by case); `sizes` (of what was built
        both times: sums then and now, cases that grew and shrank); `calibration` (tables that no longer apply);
        `timing_caches` (digests then and now).
    """
    found = sorted(changes, key=lambda one: (ORDER.index(one.comparison.outcome), one.comparison.key))
    counts = Counter(one.comparison.outcome for one in found)
    return {
        "schema": SCHEMA,
        "from": sorted({one.comparison.other.product for one in found}),
        "to": sorted({one.comparison.key.product for one in found}),
        "place": _places(found),
        "counts": {name: counts[name] for name in ORDER if counts[name]},
        "cases": [_case(one) for one in found],
        "support": _support(found),
        "operators": _operators(found),
        "layers": _layers(found),
        "sizes": _sizes(found),
        "calibration": find_stale(found),
        "timing_caches": _timing(found),
    }


def find_stale(changes: Iterable[Change]) -> list[dict[str, str]]:
    """Return the calibration tables of before that the TensorRT of today does not take: `case`, `header`, `why`.

    The header of a table names the version that wrote it, and a table is not portable between versions.
    """
    stale = []
    for one in changes:
        header = one.then.get("calibration")
        if not header:
            continue
        product, _, version = str(one.to_place.get("plays", "")).partition("-")
        writer = "emulator" if one.comparison.key.product.startswith("emulator+") else "TRT"
        why = ""
        if not one.now.get("calibration"):
            why = f"{product} {version} calibrated nothing here"
        else:
            try:
                table = CalibrationTable.parse(f"{header}\nx: 3c010a14\n".encode())
                table.check_version(writer, version)
            except CalibrationError as error:
                why = error.what
        if why:
            stale.append({"case": one.comparison.key.title, "header": str(header), "why": why})
    return stale


def _pick(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in _FACTS if name in facts}


def _case(one: Change) -> dict[str, Any]:
    compared = one.comparison
    return {
        "case": compared.key.case,
        "precision": compared.key.precision,
        "gpu": compared.key.gpu,
        "kind": compared.kind,
        "class": compared.outcome,
        "why": list(compared.why),
        "changes": list(compared.changes),
        "numbers": {name: dict(known) for name, known in compared.numbers.items()},
        "written": one.entry.written,
        "then": {name: one.then[name] for name in ("outcome", *_SIZES) if name in one.then},
        "now": {name: one.now[name] for name in ("outcome", *_SIZES) if name in one.now},
    }


def _places(found: Sequence[Change]) -> list[list[str]]:
    """Rows of what, then, now; several values of one side are listed."""
    rows = []
    for name, title in _PLACE:
        sides = []
        for places in ([one.from_place for one in found], [one.to_place for one in found]):
            values = sorted({str(place[name]) for place in places if place.get(name) is not None})
            if name == "recorded" and len(values) > 1:
                values = [f"{values[0]} to {values[-1]}"]
            sides.append(", ".join(values) or "-")
        if sides != ["-", "-"]:
            rows.append([title, *sides])
    if (
        found
        and all(one.comparison.kind == BUILD for one in found)
        and not any(row[0] == "GPU" for row in rows)
    ):
        rows.append(["GPU", "none: builds alone", "none: builds alone"])
    return rows


def _support(found: Sequence[Change]) -> dict[str, list[dict[str, str]]]:
    """Cases that only one of the two built, each with the words of the other's refusal."""
    support: dict[str, list[dict[str, str]]] = {"gained": [], "lost": []}
    for one in found:
        was, built = (facts.get("outcome") for facts in (one.then, one.now))
        if was is None or (was == BUILT) == (built == BUILT):
            continue
        key, refused = one.comparison.key, one.now if was == BUILT else one.then
        words = next(iter(refused.get("words") or ()), "without words")
        support["lost" if was == BUILT else "gained"].append(
            {"case": key.case, "precision": key.precision, "gpu": key.gpu, "words": str(words)}
        )
    return support


def _operators(found: Sequence[Change]) -> dict[str, list[str]]:
    """Operators that the parser says it supports in one of the two alone; those that only one onnx knows do not count."""
    gained: set[str] = set()
    lost: set[str] = set()
    for one in found:
        old, new = (dict(facts.get("supported") or {}) for facts in (one.then, one.now))
        for name in old.keys() & new.keys():
            if old[name] != new[name]:
                (gained if new[name] else lost).add(name)
    return {"gained": sorted(gained), "lost": sorted(lost)}


def _layers(found: Sequence[Change]) -> list[dict[str, Any]]:
    rows = []
    for one in found:
        lines = [line for line in one.comparison.changes if line.startswith(_LAYER)]
        if lines and one.comparison.kind == BUILD:
            key = one.comparison.key
            rows.append({"case": key.case, "precision": key.precision, "gpu": key.gpu, "changes": lines})
    return rows


def _sizes(found: Sequence[Change]) -> list[dict[str, Any]]:
    rows = []
    for name in _SIZES:
        pairs = [
            (one.then[name], one.now[name])
            for one in found
            if None not in (one.then.get(name), one.now.get(name))
        ]
        if pairs:
            rows.append(
                {
                    "name": name,
                    "cases": len(pairs),
                    "then": round(sum(old for old, _ in pairs), 3),
                    "now": round(sum(new for _, new in pairs), 3),
                    "grew": sum(new > old for old, new in pairs),
                    "shrank": sum(new < old for old, new in pairs),
                    "most": max((new / old for old, new in pairs if old), default=1.0),
                }
            )
    return rows


def _timing(found: Sequence[Change]) -> list[dict[str, str]]:
    rows = []
    for one in found:
        old, new = ((facts.get("timing_cache") or {}).get("sha256") for facts in (one.then, one.now))
        if old or new:
            rows.append({"case": one.comparison.key.title, "then": old or "-", "now": new or "-"})
    return rows
