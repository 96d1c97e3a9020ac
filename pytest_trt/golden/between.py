"""How two goldens of a store compare, when no reference is at hand: by their bits, and what they keep of their errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pytest_trt.errors import GoldenError
from pytest_trt.golden.book import newest_of
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.compare import compare_outputs
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import BENIGN, BUILD, DRIFT, REGRESSION, UNUSABLE, Comparison, Golden
from pytest_trt.golden.rule import BIAS, GROWTH
from pytest_trt.golden.spread import pair_spreads
from pytest_trt.golden.store import Store


def compare_kept(old: Golden, new: Golden) -> Comparison:
    """Return how a golden lies beside an older one.

    Outputs are identical by their bits. Others are a regression where the newer golden counts elements outside of its limits,
    and else drift where the RMS error grew by half or the bias by half of the RMS error. The elements themselves cannot be
    compared with the reference here: a run of the test does that, and by a stricter rule.

    Parameters
    ----------
    old, new : Golden
    """
    if BUILD in (old.kind, new.kind):
        return compare_builds(old, new)
    made = compare_outputs(old, new, None)
    histograms = pair_spreads(old.facts.get("spread"), new.facts.get("spread"))
    changed = [name for name, known in made.numbers.items() if known["changed"]]
    known = {name: _numbers(old, new, name) for name in made.numbers}
    numbers = {name: {**made.numbers[name], **(known[name] or {})} for name in made.numbers}
    made = replace(made, numbers=numbers, histograms=histograms)
    if made.outcome != DRIFT:
        return made
    lines, outcome = [], BENIGN
    for name in changed:
        facts = known[name]
        if facts is None:
            lines.append(
                f"{DRIFT}: output {name!r} changed, and one of the goldens keeps nothing of its errors"
            )
        elif facts["new_outside"]:
            then = f"; {facts['old_outside']:.0f} were then" if facts["old_outside"] else ""
            lines.append(f"{REGRESSION}: output {name!r}: {facts['new_outside']:.0f} elements outside{then}")
        elif _grew(facts):
            lines.append(f"{DRIFT}: output {name!r}: the error against the reference grew")
        else:
            lines.append(f"{BENIGN}: output {name!r} changed, and its error did not grow")
    for kind in (DRIFT, REGRESSION):
        outcome = kind if any(line.startswith(kind) for line in lines) else outcome
    lines.sort(key=lambda line: not line.startswith(outcome))
    return replace(made, outcome=outcome, why=tuple(lines))


def compare_products(
    store: Store, old: str, new: str, pattern: str = ""
) -> tuple[list[Comparison], list[Key], list[Key]]:
    """Return the comparisons of all cases that two products have, and the keys that only the one or the other has.

    Parameters
    ----------
    store : Store
    old, new : str
        Product and version; a shortened one means the newest of it.
    pattern : str
        Only cases with this in their name.

    Raises
    ------
    GoldenError
        The store has nothing of one of them.
    """
    kept = store.keys()
    keys = [key for key in kept if pattern in key.case]
    sides = [_by_case(keys, asked) for asked in (old, new)]
    for asked, side in zip((old, new), sides, strict=True):
        if not side:
            names = sorted({key.product for key in keys})
            raise GoldenError(
                f"no golden of {asked!r} in {store.place!r}",
                why=f"there are: {', '.join(names) or 'none'}",
                mend="python -m pytest_trt golden list",
            )
    both = [name for name in sides[0] if name in sides[1]]
    found = []
    for name in both:
        first, second = sides[0][name], sides[1][name]
        try:
            found.append(compare_kept(store.load(first), store.load(second)))
        except GoldenError as error:
            found.append(Comparison(second, first, "", UNUSABLE, tuple(str(error).splitlines())))
    only = [[key for name, key in side.items() if name not in both] for side in sides]
    return found, only[0], only[1]


def _by_case(keys: Iterable[Key], asked: str) -> dict[tuple[str, ...], Key]:
    """The keys of a product; those that hold on one processor beside those that hold on all."""
    sorts: dict[tuple[str, ...], list[Key]] = {}
    for key in keys:
        machine = key.product.partition("+cpu-")[2]
        sorts.setdefault((key.case, key.precision, key.gpu, machine), []).append(key)
    found = {}
    for name, known in sorts.items():
        wanted = f"{asked}+cpu-{name[3]}" if name[3] and "+cpu-" not in asked else asked
        newest = newest_of(wanted, (key.product for key in known))
        if newest is not None:
            found[name] = known[0].of(newest)
    return found


def _numbers(old: Golden, new: Golden, name: str) -> dict[str, float] | None:
    """What both keep of the errors of an output; None where one keeps nothing."""
    kept: list[Mapping[str, Any]] = []
    for golden in (old, new):
        facts = golden.facts.get("numbers")
        known = facts.get(name) if isinstance(facts, Mapping) else None
        if not isinstance(known, Mapping):
            return None
        kept.append(known)
    return {
        f"{side}_{fact}": float(known.get(fact, 0.0))
        for side, known in zip(("old", "new"), kept, strict=True)
        for fact in ("rms", "bias", "largest", "outside")
    }


def _grew(facts: Mapping[str, float]) -> bool:
    return facts["new_rms"] > GROWTH * facts["old_rms"] or (
        abs(facts["new_bias"]) > abs(facts["old_bias"]) + BIAS * facts["old_rms"]
    )
