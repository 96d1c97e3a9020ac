"""How the outputs of today lie beside those of a golden: identical, benign, drift or regression.

The reference is at hand, so that "changed" is told apart from "worse". `docs/golden-classes.md` has the rule in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_trt.golden.histogram import count_errors
from pytest_trt.golden.record import (
    BENIGN,
    BUILD,
    CLASSES,
    DRIFT,
    IDENTICAL,
    REGRESSION,
    UNUSABLE,
    Array,
    Comparison,
    Golden,
)
from pytest_trt.golden.rule import ROUNDING, TOGETHER, WHOLE, Growth, Pairs, find_growth, needed_elements
from pytest_trt.golden.steps import step_sizes
from pytest_trt.golden.units import in_limits, to_numbers
from pytest_trt.numerics.bounds import Bound
from pytest_trt.numerics.judge import Measure, measure

Float64 = NDArray[np.float64]
Limits = Mapping[str, Bound]

_NAMES = {"rms": "RMS error", "bias": "bias", "jump": "error"}


@dataclass
class _Found:
    """What is known of the comparison so far."""

    outcome: str = IDENTICAL
    why: list[str] = field(default_factory=list)
    numbers: dict[str, Mapping[str, float]] = field(default_factory=dict)
    histograms: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pairs: list[Pairs] = field(default_factory=list)

    def say(self, outcome: str, line: str) -> None:
        """Take a class in; the worst one counts."""
        self.outcome = max(self.outcome, outcome, key=CLASSES.index)
        self.why.append(f"{outcome}: {line}")


def compare_outputs(golden: Golden, today: Golden, limits: Limits | None) -> Comparison:
    """Return how today's outputs lie beside those of a golden of the same case and data.

    Parameters
    ----------
    golden, today : Golden
        Of kind `outputs`.
    limits : mapping of output name to Bound, optional
        The admissible values of today's outputs for the same inputs. It is asked only for outputs that changed. Without
        a limit a changed output is at best `drift`: nothing says whether it is worse.

    Returns
    -------
    Comparison
        `regression`: names, types or shapes changed, or an output is outside of its limits, also where it was already.
        `drift`: inside of them, but the error grew (`rule.find_growth`). `benign`: other bits, and no worse. `identical`: the
        same bits; where the golden's own numbers say that it was outside of its limits, that is a `regression` as well.
        `unusable`: the two are of other kinds, inputs or models.
    """
    made = Comparison(today.key, golden.key, today.kind, IDENTICAL)
    foreign = _foreign(golden, today)
    if foreign:
        return replace(made, outcome=UNUSABLE, why=(foreign,))
    found = _Found()
    _compare_names(golden, today, found)
    for name in today.arrays:
        if name in golden.arrays:
            _compare_one(name, golden, today, limits, found)
    _compare_errors(found)
    if found.outcome == IDENTICAL and not found.why:
        found.why.append(f"identical: the same bits in {_counted(len(today.arrays), 'output')}")
    # The worst first.
    why = sorted(found.why, key=lambda line: -CLASSES.index(line.partition(":")[0]))
    return replace(
        made, outcome=found.outcome, why=tuple(why), numbers=found.numbers, histograms=found.histograms
    )


def measure_errors(outputs: Mapping[str, Array], limits: Limits | None) -> dict[str, dict[str, float]]:
    """Return what a golden keeps of the errors of its outputs against the reference, by output; plain data.

    Parameters
    ----------
    outputs : mapping of str to ndarray
    limits : mapping of str to Bound, optional
        Outputs without one are left out.

    Returns
    -------
    dict
        `rms`, `bias` and `largest`, each in units of the limit (1 is its end) and over the elements that have more than one
        admissible value; `free`, how many these are; `certified` elements with one admissible value; `outside` of the limits;
        `total`.
    """
    found = {}
    for name, got in outputs.items():
        limit = _limit(limits, name)
        if limit is not None and np.shape(got) == limit.mid.shape:
            values = to_numbers(np.asarray(got), limit)
            outside = measure(values, limit).bad
            found[name] = {**_facts(in_limits(values, limit)[_is_free(limit)]), "outside": float(outside)}
            found[name] |= {"certified": float(limit.certified), "total": float(values.size)}
    return found


def _foreign(golden: Golden, today: Golden) -> str:
    """Return why the two cannot be compared; empty where they can."""
    if golden.kind != today.kind or BUILD in (golden.kind, today.kind):
        return f"a golden of kind {golden.kind!r} and one of kind {today.kind!r} are not compared as outputs"
    for fact in ("inputs", "model"):
        then, now = golden.facts.get(fact), today.facts.get(fact)
        if then and now and then != now:
            return f"the golden was recorded with another {fact.rstrip('s')}: {then}, and today's is {now}"
    return ""


def _compare_names(golden: Golden, today: Golden, found: _Found) -> None:
    for name in golden.arrays:
        if name not in today.arrays:
            found.say(
                REGRESSION, f"output {name!r} is missing; there are {', '.join(today.arrays) or 'none'}"
            )
    for name in today.arrays:
        if name not in golden.arrays:
            found.say(
                REGRESSION, f"output {name!r} is new; the golden has {', '.join(golden.arrays) or 'none'}"
            )


def _compare_one(name: str, golden: Golden, today: Golden, limits: Limits | None, found: _Found) -> None:
    old, new = golden.arrays[name], today.arrays[name]
    title = f"output {name!r}"
    if old.dtype != new.dtype or old.shape != new.shape:
        found.say(REGRESSION, f"{title} is {_form(new)}, and was {_form(old)}")
        return
    if np.ascontiguousarray(old).tobytes() == np.ascontiguousarray(new).tobytes():
        _see_same(name, golden, new, limits, found)
        return
    limit = _limit(limits, name)
    then, now = to_numbers(old, limit), to_numbers(new, limit)
    # Large integers differ in bits that float64 has not.
    changed = old != new if old.dtype.kind == "i" else _differ(then, now)
    count = int(np.count_nonzero(changed))
    found.numbers[name] = {"changed": float(count), "total": float(new.size)}
    if limit is not None and limit.mid.shape != now.shape:
        found.say(REGRESSION, f"{title} has shape {now.shape}, and the reference {limit.mid.shape}")
        return
    if limit is None or not limit.judged:
        _see_unjudged(title, then, now, count, found)
        return
    was, seen = measure(then, limit), measure(now, limit)
    units = [in_limits(values, limit) for values in (then, now)]
    free = _is_free(limit)
    old_facts, new_facts = (_facts(values[free]) for values in units)
    found.numbers[name] = {
        **found.numbers[name],
        **{f"old_{fact}": value for fact, value in old_facts.items() if fact != "free"},
        **{f"new_{fact}": value for fact, value in new_facts.items() if fact != "free"},
        "free": old_facts["free"],
        "judged": float(seen.judged),
        "certified": float(seen.certified),
        "old_outside": float(was.bad),
        "new_outside": float(seen.bad),
    }
    found.histograms[name] = count_errors(units[0][free], units[1][free])
    if seen.bad:
        found.say(REGRESSION, _outside(title, seen, was))
    elif not count:
        found.say(BENIGN, f"{title}: other bits and the same values: signs of zero, or bits of a NaN")
    else:
        pairs = _paired(name, then, now, limit)
        found.pairs.append(pairs)
        cured = f"; {was.bad} were outside of the limits and are inside today" if was.bad else ""
        moved = f"at most {float(np.max(pairs.moved, initial=0.0)):.3g} steps of its type"
        found.say(
            BENIGN, f"{title}: {count} of {new.size} elements changed, {moved}, inside of the limits{cured}"
        )


def _see_same(name: str, golden: Golden, new: Array, limits: Limits | None, found: _Found) -> None:
    """Say that the same bits are wrong where they were outside of the limits when they were recorded."""
    numbers = golden.facts.get("numbers")
    known = numbers.get(name) if isinstance(numbers, Mapping) else None
    found.numbers[name] = {"changed": 0.0, "total": float(new.size)}
    if isinstance(known, Mapping):
        outside = int(known.get("outside", 0))
    else:
        limit = _limit(limits, name)
        outside = measure(to_numbers(new, limit), limit).bad if limit is not None else 0
    if outside:
        line = f"output {name!r}: the same bits, {outside} of {new.size} outside of the limits: already wrong"
        found.say(REGRESSION, f"{line} when the golden was recorded")


def _see_unjudged(title: str, then: Float64, now: Float64, count: int, found: _Found) -> None:
    """Say what can be said of a changed output without a limit."""
    lost = int(np.count_nonzero(np.isnan(then) != np.isnan(now)))
    if not count:
        found.say(BENIGN, f"{title}: other bits and the same values: signs of zero, or bits of a NaN")
    elif lost:
        found.say(REGRESSION, f"{title}: {lost} of {now.size} elements became NaN, or ceased to be")
    else:
        with np.errstate(invalid="ignore"):
            gap = float(np.nanmax(np.where(then == now, 0.0, np.abs(now - then))))
        line = f"{title}: {count} of {now.size} elements changed, by {gap:.3g} at most"
        found.say(DRIFT, f"{line}; without a reference (model=, inputs=) nothing says whether that is worse")


def _compare_errors(found: _Found) -> None:
    for growth in find_growth(found.pairs):
        found.say(DRIFT, _told(growth))
    count = sum(pairs.count for pairs in found.pairs)
    if found.outcome == BENIGN and any(pairs.moves for pairs in found.pairs) and count < needed_elements():
        elements = f"{count} elements with more than one admissible value"
        line = f"{elements} are too few to show a doubled error ({needed_elements()} do)"
        found.why.append(f"benign: {line}; one that jumps is seen")


def _told(growth: Growth) -> str:
    name = f"output {growth.name!r}" if growth.where != TOGETHER else f"outputs {growth.name}"
    ratio = f" ({growth.new / growth.old:.3g} x)" if growth.old > 0 and growth.what == "rms" else ""
    place = growth.where if growth.where in (WHOLE, TOGETHER) else f"in {growth.where}"
    sizes = f"from {growth.old:.3g} to {growth.new:.3g}{ratio}"
    return (
        f"{name}, {place}: inside of the limits, but the {_NAMES[growth.what]} grew {sizes}, in units of its scale; "
        f"statistic {growth.seen:.3g}, by chance {growth.chance:.3g} in one of a million comparisons"
    )


def _outside(title: str, seen: Measure, was: Measure) -> str:
    then = (
        f"already wrong when the golden was recorded: {was.bad} were"
        if was.bad
        else "none was when the golden was recorded"
    )
    only = "the one admissible value is" if seen.low == seen.high else "admissible is"
    allowed = f"{seen.low!r}" if seen.low == seen.high else f"[{seen.low!r}, {seen.high!r}]"
    return (
        f"{title}: {seen.bad} of {seen.total} elements outside of the limits ({seen.pattern}); {then}; "
        f"worst at {seen.index}: got {seen.got!r}, {only} {allowed}"
    )


def _paired(name: str, then: Float64, now: Float64, limit: Bound) -> Pairs:
    free = _is_free(limit)
    with np.errstate(invalid="ignore"):
        free &= (then >= limit.low) & (then <= limit.high) & (now >= limit.low) & (now <= limit.high)
        step = np.where(np.isfinite(limit.mid), step_sizes(limit), 1.0)
        moved = np.where(np.isfinite(then) & np.isfinite(now), np.abs(now - then), 0.0) / step
        moved = np.where(_is_promised(limit), moved, 0.0)
        if limit.sigma is not None and np.isfinite(limit.sigma).all():
            scale = np.sqrt(limit.sigma**2 + step**2 / 12)
        else:
            scale = np.maximum(limit.high - limit.mid, limit.mid - limit.low)
        scale = np.where(free, scale, 1.0)
        old, new = (np.where(free, values - limit.mid, 0.0) / scale for values in (then, now))
    rounding = np.where(free, step / scale, 0.0) * ROUNDING
    return Pairs(name, old, new, rounding, free, moved)


def _is_promised(limit: Bound) -> NDArray[np.bool_]:
    promised = np.isfinite(limit.mid)
    for mask in (limit.loose, limit.overflow):
        if mask is not None:
            promised &= ~mask
    return np.asarray(promised)


def _is_free(limit: Bound) -> NDArray[np.bool_]:
    """Return where there is more than one admissible value, and something is promised."""
    with np.errstate(invalid="ignore"):
        wide = (limit.low < limit.high) & np.isfinite(limit.high - limit.low)
    return np.asarray(wide & _is_promised(limit))


def _facts(errors: Float64) -> dict[str, float]:
    errors = errors[np.isfinite(errors)]
    if not errors.size:
        return {"rms": 0.0, "bias": 0.0, "largest": 0.0, "free": 0.0}
    rms, bias = float(np.sqrt(np.mean(errors**2))), float(np.mean(errors))
    return {"rms": rms, "bias": bias, "largest": float(np.max(np.abs(errors))), "free": float(errors.size)}


def _limit(limits: Limits | None, name: str) -> Bound | None:
    return limits[name] if limits is not None and name in limits else None


def _form(values: Array) -> str:
    return f"{values.dtype} {tuple(values.shape)}"


def _differ(one: Float64, other: Float64) -> NDArray[np.bool_]:
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
