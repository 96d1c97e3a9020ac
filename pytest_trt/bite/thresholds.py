"""What a measurement has to reach; the exit status of `python -m pytest_trt bite` hangs on these numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_trt.bite.excused import EXCUSED
from pytest_trt.bite.records import SuiteRow
from pytest_trt.bite.score import PairScore

# Useful score over all pairs, by the battery that was drawn.
SCORES: Mapping[str, float] = {"quick": 0.95, "default": 0.998, "full": 0.999}
# Useful score of each family, on the batteries that are meant to see all of them.
FAMILY_SCORE = 0.998
FAMILY_BATTERIES = ("default", "full")
FALSE_ALARMS = 0
# Families of mutants made from public bugs that the suites have to catch; M33 is the honest one.
MUTANTS = tuple(f"M{number:02d}" for number in range(1, 33))


def pair_failures(score: PairScore) -> list[str]:
    """Return what a pair score falls short of, one line each; empty is good."""
    found = []
    need = SCORES.get(score.battery)
    if not score.ours.useful.total:
        found.append("no fault changed anything: nothing was measured")
    if need is not None and score.ours.useful.value < need:
        found.append(f"score {score.ours.useful.value:.4f} is below {need} for the {score.battery} battery")
    if score.battery in FAMILY_BATTERIES:
        for name, share in score.families.items():
            if share.value < FAMILY_SCORE:
                found.append(f"family {name}: {share.value:.4f} is below {FAMILY_SCORE}")
    if score.ours.alarms.count > FALSE_ALARMS:
        found.append(
            f"{score.ours.alarms.count} of {score.ours.alarms.total} correct outputs were refused; first: {score.alarms[0]}"
        )
    if score.broken:
        found.append(f"{len(score.broken)} faults or kernels raised; first: {score.broken[0]}")
    return found


def suite_failures(
    rows: Sequence[SuiteRow], *, every: bool = True, excused: Mapping[str, str] = EXCUSED
) -> list[str]:
    """Return what the suites fall short of, one line each; empty is good.

    Parameters
    ----------
    rows : sequence of SuiteRow
    every : bool
        All faults were run: each family of mutants has to be caught, and each excuse has to be needed.
    excused : mapping of str to str
        Fault to the reason why it may survive.
    """
    found = []
    for row in rows:
        if row.outcome == "broken":
            found.append(f"the suites could not be run with {row.name}: {row.note}")
        elif row.outcome == "survived" and row.name not in excused:
            found.append(f"the suites do not catch {row.name}")
        elif row.outcome == "caught" and row.name in excused:
            found.append(f"{row.name} is excused and the suites catch it: take the excuse out")
        elif row.outcome == "refused":
            found.append(
                f"the suites refuse the correct kernel {row.name}: {row.test} ({', '.join(row.checks)})"
            )
    if every:
        caught = {name for row in rows if row.outcome == "caught" for name in row.mutants}
        missing = [name for name in MUTANTS if name not in caught]
        if missing:
            found.append(f"no fault of these families is caught: {', '.join(missing)}")
        found += [
            f"{name} is excused and is no fault"
            for name in sorted(excused)
            if name not in {row.name for row in rows}
        ]
    return found
