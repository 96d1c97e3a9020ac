"""How the build of today lies beside the build of a golden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pytest_trt.golden.record import (
    BENIGN,
    BUILD,
    CLASSES,
    DRIFT,
    IDENTICAL,
    REGRESSION,
    UNUSABLE,
    Comparison,
    Golden,
)

BUILT, REFUSED = "built", "refused"
# Growth that is told as drift: device memory decides which batch still fits. Below a MiB nobody runs short.
MEMORY_GROWTH, MEMORY_FLOOR = 2.0, 1 << 20
# Types from narrow to wide; where a narrower one was used, a wider one is a precision that is no longer had.
_WIDTH = {"fp4": 4, "int4": 4, "fp8": 8, "int8": 8, "fp16": 16, "bf16": 16, "tf32": 19, "fp32": 32}


def compare_builds(golden: Golden, today: Golden) -> Comparison:
    """Return how today's build of a case lies beside that of a golden.

    Parameters
    ----------
    golden, today : Golden
        Of kind `build`. Of their facts count `outcome`, `words` of what is not built, `layers` (a list of mappings, or of
        texts, or a mapping of name to type), `types` (how many layers work in each), `plan_bytes`, `device_memory_bytes` and
        `supported` (operators of the parser, true or false); `build_seconds`, `words` and `calibration` (the header of a
        cache) of what is built are told and never judged.

    Returns
    -------
    Comparison
        `regression`: it was built and is refused, was refused and crashes, or the parser takes an operator no longer.
        `drift`: fewer layers work in a narrow type and more in a wider one, or the engine asks for more than twice the device
        memory, and a MiB more. `benign`: anything else that changed, support gained included. `identical`: the same layers, types
        and sizes. `changes` has all differences in words. `unusable`: the two are of other kinds or models.
    """
    made = Comparison(today.key, golden.key, today.kind, IDENTICAL)
    then, now = golden.facts, today.facts
    if golden.kind != BUILD or today.kind != BUILD:
        line = f"a golden of kind {golden.kind!r} and one of kind {today.kind!r} are not compared as builds"
        return replace(made, outcome=UNUSABLE, why=(line,))
    if then.get("model") and now.get("model") and then["model"] != now["model"]:
        line = f"the golden was recorded with another model: {then['model']}, and today's is {now['model']}"
        return replace(made, outcome=UNUSABLE, why=(line,))
    was, built = then.get("outcome") == BUILT, now.get("outcome") == BUILT
    why = [*_outcomes(then, now), *_support(then, now)]
    if was and built:
        why += [*_types(then, now), *_memory(then, now), *_layers(then, now), *_sizes(then, now)]
    changes = [line for _, line in why]
    if was and built:
        changes += _told(then, now)
    outcome = max((name for name, _ in why), key=CLASSES.index, default=IDENTICAL)
    ordered = sorted(why, key=lambda one: -CLASSES.index(one[0]))
    lines = [f"{name}: {line}" for name, line in ordered if name == outcome]
    return replace(
        made,
        outcome=outcome,
        why=tuple(lines) or (f"identical: {_same(built)}",),
        numbers=_numbers(then, now),
        changes=tuple(changes),
    )


def _same(built: bool) -> str:
    return "the same layers, types and sizes" if built else "refused in the same words"


def _said(facts: Mapping[str, Any]) -> str:
    words = facts.get("words")
    lines = [words] if isinstance(words, str) else [str(line) for line in words or ()]
    return next((line.strip() for line in lines if line.strip()), "without words")


def _outcomes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Say whether it is built, refused in words, or neither: a crash is worse than a refusal."""
    old, new = (str(facts.get("outcome")) for facts in (then, now))
    if old == new == BUILT:
        return
    if new == BUILT:
        yield BENIGN, f"support gained: it was {old} ({_said(then)}) and is built"
    elif old == BUILT or (old == REFUSED and new != REFUSED):
        yield REGRESSION, f"it was {old} and is {new}: {_said(now)}"
    elif old != new or then.get("words") != now.get("words"):
        yield BENIGN, f"{old} then and {new} now, in other words: {_said(then)}; {_said(now)}"


def _support(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Say which operators the parser takes no longer, and which it takes now; another onnx knows other operators."""
    old, new = (dict(facts.get("supported") or {}) for facts in (then, now))
    shared = sorted(old.keys() & new.keys())
    lost = [name for name in shared if old[name] and not new[name]]
    gained = [name for name in shared if new[name] and not old[name]]
    if lost:
        yield REGRESSION, f"the parser supports no longer: {', '.join(lost)}"
    if gained:
        yield BENIGN, f"the parser supports now: {', '.join(gained)}"


def _types(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    old, new = (dict(facts.get("types") or {}) for facts in (then, now))
    if old == new:
        return
    words = ", ".join(
        f"{name} {old.get(name, 0)} to {new.get(name, 0)}"
        for name in sorted({*old, *new})
        if old.get(name, 0) != new.get(name, 0)
    )
    yield DRIFT if _is_looser(old, new) else BENIGN, f"layers by type: {words}"


def _is_looser(old: Mapping[str, int], new: Mapping[str, int]) -> bool:
    """Tell whether layers moved to a wider type: fewer in a narrow one, and more in a wider one than it."""
    return any(
        new.get(narrow, 0) < old.get(narrow, 0) and new.get(wide, 0) > old.get(wide, 0)
        for narrow, bits in _WIDTH.items()
        for wide, more in _WIDTH.items()
        if more > bits
    )


def _memory(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    old, new = (facts.get("device_memory_bytes") for facts in (then, now))
    if old is None or new is None or old == new:
        return
    much = new > MEMORY_GROWTH * old and new - old > MEMORY_FLOOR
    yield DRIFT if much else BENIGN, f"device memory {_bytes(old, new)}"


def _sizes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    old, new = (facts.get("plan_bytes") for facts in (then, now))
    if old is not None and new is not None and old != new:
        yield BENIGN, f"plan {_bytes(old, new)}"


def _layers(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Say which layers went, came, or changed in a property; only the order of the list counts for nothing."""
    old, new = _by_name(then.get("layers")), _by_name(now.get("layers"))
    for name in old:
        if name not in new:
            yield BENIGN, f"layer {name!r} is gone"
    for name, layer in new.items():
        if name not in old:
            yield BENIGN, f"layer {name!r} is new"
            continue
        before = old[name]
        for part in sorted({*before, *layer}):
            if before.get(part) != layer.get(part):
                yield BENIGN, f"layer {name!r}: {part} {before.get(part)!r} to {layer.get(part)!r}"


def _by_name(layers: Any) -> dict[str, dict[str, Any]]:
    """Return layers by name; a name that comes again gets a number."""
    if isinstance(layers, Mapping):
        layers = [{"name": name, "type": kind} for name, kind in layers.items()]
    found: dict[str, dict[str, Any]] = {}
    for layer in layers or ():
        facts = dict(layer) if isinstance(layer, Mapping) else {"name": str(layer)}
        name = str(facts.pop("name", "?"))
        again = sum(1 for known in found if known == name or known.startswith(f"{name} #"))
        found[name if not again else f"{name} #{again + 1}"] = facts
    return found


def _told(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    """Give what is told and never judged: what the build took, what it said, what caches of it are worth."""
    old, new = then.get("build_seconds"), now.get("build_seconds")
    if old is not None and new is not None:
        yield f"build time {old:.3g} s to {new:.3g} s (not judged)"
    old, new = then.get("calibration"), now.get("calibration")
    if old and new and old != new:
        yield f"calibration caches of then do not apply: their header is {old!r}, and today's {new!r}"
    if (then.get("words") or None) != (now.get("words") or None):
        yield f"the build said {_said(then)!r}, and says {_said(now)!r} (not judged)"


def _bytes(old: int, new: int) -> str:
    return f"{old} to {new} bytes" + (f" ({new / old:.3g} x)" if old else "")


def _numbers(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found = {}
    for name in ("plan_bytes", "device_memory_bytes", "build_seconds"):
        old, new = then.get(name), now.get(name)
        if old is not None and new is not None:
            found[name] = {"old": float(old), "new": float(new)}
    return found
