"""Counts of checks: added, merged, carried as text."""

from __future__ import annotations

from pytest_trt.records import Tolerance, Verdict
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.tally import Counts, Tally, describe_tolerance

VERDICT = Verdict(
    "conforms under winograd",
    compared=100,
    certified=40,
    unjudged={"Softmax": 2},
    relations=("identical rows", "batch 1"),
    provenance={"data": ("tiny", "big"), "runtime": "emulator"},
)


def test_counts_add_up() -> None:
    counts = Counts()
    counts.add(VERDICT)
    counts.add(Verdict("conforms", compared=10, provenance={"data": "given"}), Tolerance(0.5, 0, "so"))
    counts.add(None)
    assert (counts.checks, counts.compared, counts.certified) == (3, 110, 40)
    assert counts.statuses == {"conforms under winograd": 1, "conforms": 1, "violates": 1}
    assert counts.unjudged == {"Softmax": 2}
    assert counts.data == {"tiny": 1, "big": 1, "given": 1}
    assert counts.places == {"emulator": 1}
    assert counts.tolerances == {"atol=0.5 (so)": 1}


def test_merging_is_adding() -> None:
    one, other, both = Counts(), Counts(), Counts()
    one.add(VERDICT)
    other.add(None)
    both.add(VERDICT)
    both.add(None)
    one.merge(other)
    assert one == both
    assert other.checks == 1, "the other one stays"


def test_text_and_back() -> None:
    tally = Tally("a.py::test_a")
    tally.add("fp16", VERDICT)
    tally.add("int8", None)
    again = Tally.from_text(tally.to_text())
    assert "\n" not in tally.to_text()
    assert again.test == tally.test
    assert again.by_precision == tally.by_precision


def test_tolerances_in_words() -> None:
    assert describe_tolerance(Tolerance(1e-3, 2.0, "so")) == "atol=0.001, rtol=2 (so)"
    assert describe_tolerance(Tolerance(0, 0, "exact")) == "atol=0, rtol=0 (exact)"


def test_ledger_keeps_ours_only() -> None:
    tally = Tally("a.py::test_a")
    tally.add("fp16", VERDICT)
    ledger = Ledger()
    ledger.add("a.py::test_a[1]", [("trt_tally", tally.to_text()), ("other", 3)])
    ledger.add(
        "a.py::test_a[2]", [("trt_tally", tally.to_text()), ("trt_support", ["conv", "fp16", "t4", "builds"])]
    )
    ledger.add("a.py::test_b", [("trt_missing", ["build", "why", "how"])])
    assert [name for _, name, _ in ledger.records] == ["trt_tally", "trt_tally", "trt_support", "trt_missing"]
    assert ledger.tallies()[("a.py::test_a", "fp16")].checks == 2
    assert ledger.support() == {("conv", "fp16", "t4"): {"builds": 1}}
    assert ledger.missing() == {("build", "why", "how"): 1}


def test_ledger_takes_one_count_of_many_workers() -> None:
    ledger = Ledger()
    ledger.note_not_run({})
    ledger.note_not_run({"uses": 3, "deselected": 2})
    ledger.note_not_run({"uses": 3, "deselected": 2})
    ledger.note_not_run({"uses": 0, "deselected": 0})
    assert ledger.not_run == {"uses": 3, "deselected": 2}
