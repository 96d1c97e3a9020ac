"""Goldens of one session: looked up, compared, and written where that was asked for; a check never writes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_trt.errors import GoldenError, GoldenMissing, UsageError
from pytest_trt.golden.built import compare_builds
from pytest_trt.golden.compare import compare_outputs, measure_errors
from pytest_trt.golden.key import Key
from pytest_trt.golden.record import (
    BENIGN,
    BUILD,
    DRIFT,
    IDENTICAL,
    MISSING,
    REGRESSION,
    UNUSABLE,
    Comparison,
    Golden,
)
from pytest_trt.golden.spread import count_spread
from pytest_trt.golden.store import Store
from pytest_trt.numerics.bounds import Bound
from pytest_trt.settings import GOLDENS

CHECK, RECORD, OFF = "check", "record", "off"
UPDATE_NEW, UPDATE_CHANGED, UPDATE_ALL = "update=new", "update=changed", "update=all"
MODES = GOLDENS

# What each mode writes, by how today's outputs lie beside the golden. What is outside of its limits is wrong and not merely
# changed: only `record` and `update=all` take it, and accepting it by name.
_WRITES: Mapping[str, frozenset[str]] = {
    CHECK: frozenset(),
    UPDATE_NEW: frozenset({MISSING}),
    UPDATE_CHANGED: frozenset({BENIGN, DRIFT, UNUSABLE}),
    UPDATE_ALL: frozenset({MISSING, BENIGN, DRIFT, REGRESSION, UNUSABLE}),
    RECORD: frozenset({MISSING, IDENTICAL, BENIGN, DRIFT, REGRESSION, UNUSABLE}),
}
_FAILS = frozenset({DRIFT, REGRESSION, UNUSABLE})


@dataclass(frozen=True)
class Entry:
    """One golden that was asked for.

    Attributes
    ----------
    comparison : Comparison
    written : bool
        Today's was written over it, or as the first of its key.
    outside : int
        Elements of today's outputs outside of their limits; counted where a golden is written.
    """

    comparison: Comparison
    written: bool = False
    outside: int = 0

    @property
    def passed(self) -> bool:
        """True unless it drifted, is a regression or cannot be used, and was not written."""
        return self.written or self.comparison.outcome not in _FAILS


@dataclass
class Book:
    """Goldens of one session.

    Parameters
    ----------
    store : Store
    mode : str
        One of `MODES` but `off`.
    from_product : str, optional
        Product and version whose goldens are looked up instead of those of today's; a shortened version means the newest
        that the store has of it.
    rejected : Store, optional
        Where today's outputs of a failing comparison are kept, for `golden accept`; nothing is kept of a comparison with another
        product, whose golden stays what it was.

    Attributes
    ----------
    entries : list of Entry
        All that were asked for, in order.
    duplicates : dict of Key to tuple of str
        Keys that two tests, or one test with two sets of inputs, asked for: who did.
    """

    store: Store
    mode: str
    from_product: str | None = None
    rejected: Store | None = None
    entries: list[Entry] = field(default_factory=list)
    duplicates: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    _asked: dict[Key, tuple[str, Any]] = field(default_factory=dict)
    _keys: tuple[Key, ...] | None = None

    def __post_init__(self) -> None:
        if self.mode not in _WRITES:
            raise UsageError(
                f"no mode of goldens: {self.mode!r}", why=f"modes: {', '.join(m for m in MODES if m != OFF)}"
            )
        if self.from_product is not None and self.mode != CHECK:
            raise UsageError(
                f"goldens of {self.from_product} are compared with, and not written: mode {self.mode!r}"
            )

    @property
    def comparisons(self) -> list[Comparison]:
        """All comparisons, in order."""
        return [entry.comparison for entry in self.entries]

    def check(
        self, today: Golden, limits: Mapping[str, Bound] | None = None, *, test: str = ""
    ) -> Comparison:
        """Return how today's golden lies beside the one in the store, and write it where the mode says so."""
        return self.enter(today, limits, test=test).comparison

    def enter(self, today: Golden, limits: Mapping[str, Bound] | None = None, *, test: str = "") -> Entry:
        """Look a golden up, compare, write where the mode says so, and keep what came of it.

        Parameters
        ----------
        today : Golden
        limits : mapping of str to Bound, optional
            Asked only for outputs that changed, and for all where a golden is written.
        test : str
            Who asks.

        Raises
        ------
        UsageError
            Another test, or this one with other inputs, asked for the same key: one would overwrite the other.
        GoldenError
            The store cannot be written.
        """
        __tracebackhide__ = True
        self._note_asked(today, test)
        compared = self._compare(today, limits)
        entry = Entry(compared)
        if compared.outcome in _WRITES[self.mode]:
            whole = _measured(today, limits)
            self.store.save(whole)
            entry = Entry(compared, written=True, outside=_count_outside(whole))
        self.entries.append(entry)
        if self.rejected is not None and self.from_product is None:
            if entry.passed:
                _forget(self.rejected, today.key)
            else:
                with suppress(GoldenError):  # a cache that cannot be written hides no failure
                    self.rejected.save(_measured(today, limits))
        return entry

    def find(self, key: Key) -> Golden:
        """Return the golden that a key of today is held against.

        Raises
        ------
        GoldenMissing, GoldenError
            As `Store.load`.
        """
        asked = self._asked_product(key.product)
        try:
            return self.store.load(key.of(asked))
        except GoldenMissing:
            if self.mode != CHECK:
                raise
            base, engine, rest = asked.partition("+ort-")
            if engine and "+cpu-" not in rest:
                asked = base  # exact outputs are the same whatever ONNX Runtime computes them
            elif self.from_product is None:
                raise
            older = newest_of(asked, (known.product for known in self._of_case(key)))
            if older is None:
                raise
            return self.store.load(key.of(older))

    def products(self, key: Key) -> tuple[str, ...]:
        """Return the products that the store has the same case of, sorted."""
        return tuple(sorted({known.product for known in self._of_case(key)}))

    def _compare(self, today: Golden, limits: Mapping[str, Bound] | None) -> Comparison:
        key = today.key
        try:
            golden = self.find(key)
        except GoldenMissing as error:
            return Comparison(key, self._other(key), today.kind, MISSING, (str(error),))
        except GoldenError as error:
            return Comparison(key, self._other(key), today.kind, UNUSABLE, tuple(str(error).splitlines()))
        if today.kind == BUILD:
            return compare_builds(golden, today)
        return compare_outputs(golden, today, limits)

    def _other(self, key: Key) -> Key:
        return key if self.from_product is None else key.of(self._asked_product(key.product))

    def _asked_product(self, today: str) -> str:
        """The product to look up; outputs of this machine alone are compared with those of this machine."""
        machine = today.partition("+cpu-")[2]
        asked = self.from_product or today
        return f"{asked}+cpu-{machine}" if machine and "+cpu-" not in asked else asked

    def _note_asked(self, today: Golden, test: str) -> None:
        who = (test, today.facts.get("inputs"))
        known = self._asked.setdefault(today.key, who)
        if known != who:
            both = tuple(dict.fromkeys((*self.duplicates.get(today.key, (known[0],)), test)))
            self.duplicates[today.key] = both
            raise UsageError(
                f"two goldens have the name {today.key.case!r} ({today.key.precision}, {today.key.gpu})",
                why=f"asked for by {' and by '.join(both) if len(both) > 1 else f'{test} twice, with other inputs'}",
                mend="give each its own name",
            )

    def _of_case(self, key: Key) -> tuple[Key, ...]:
        if self._keys is None:
            self._keys = self.store.keys()
        return tuple(known for known in self._keys if known.of(key.product) == key)


def newest_of(asked: str, products: Iterable[str]) -> str | None:
    """Return the newest product and version that a shortened one stands for; None where there is none.

    `tensorrt-10.13` stands for `tensorrt-10.13.3.9`, and not for `tensorrt-10.1` or `tensorrt_rtx-10.13`. Of the emulator,
    `+ort-...` may be left out, and of outputs that hold on one machine the machine never is.
    """
    base, _, machine = asked.partition("+cpu-")
    found = []
    for product in products:
        rest, _, other = product.partition("+cpu-")
        if other == machine and (rest == base or rest.startswith((f"{base}.", f"{base}+"))):
            found.append((tuple(int(n) for n in re.findall(r"\d+", rest)), product))
    return max(found)[1] if found else None


def _measured(today: Golden, limits: Mapping[str, Bound] | None) -> Golden:
    """The golden with what is known of its errors, as it is kept."""
    if today.kind == BUILD or limits is None:
        return today
    known = {"numbers": measure_errors(today.arrays, limits), "spread": count_spread(today.arrays, limits)}
    return replace(today, facts={**today.facts, **known})


def _count_outside(golden: Golden) -> int:
    numbers = golden.facts.get("numbers")
    if not isinstance(numbers, Mapping):
        return 0
    return sum(int(known.get("outside", 0)) for known in numbers.values())


def _forget(store: Store, key: Key) -> None:
    """Take what was kept of an earlier failure away: it is no longer what the check gives."""
    try:
        store.load(key)
    except GoldenMissing:
        return
    except GoldenError:
        pass
    store.remove(key)
