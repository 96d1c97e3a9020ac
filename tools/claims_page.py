"""Write docs/claims.md: the claims of the TensorRT FAQ and the public bugs, with what is checked of each and where.

python tools/claims_page.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from pytest_trt.cases.bugs import BUGS, CHECKS, Bug
from pytest_trt.cases.claims import CLAIMS, SOURCE, Claim
from pytest_trt.cases.triggers import TRIGGERS

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"
SHOWN = {
    "emulator": "the emulator executes",
    "build": "a real TensorRT-RTX builds",
    "samples": "recorded samples are read",
}
KINDS = {
    "DIF": "numbers against the reference",
    "ROW": "rows of a batch against each other",
    "OUT": "one more output",
    "PROF": "profile and batch",
    "CTX": "contexts, threads, streams",
    "STALE": "poisoned buffers, return codes",
    "UPG": "goldens of another version",
    "GPU": "GPU classes",
    "EDGE": "special values",
    "OVF": "the range of 16 bits",
    "Q": "INT8 levels and scales",
    "DET": "rebuilds",
    "PREC": "proof of precision",
    "REFIT": "refits",
    "BLD": "builds in a child process",
    "EQV": "equivalent graphs",
    "LEAK": "what is left of contexts",
}


def render() -> str:
    """Return the page."""
    return "\n".join([*_head(), *_claims(), *_bugs(), ""])


def _head() -> Iterator[str]:
    yield "# Claims and known bugs"
    yield ""
    yield from _fill(
        """
        `pytest suites -m faq` runs the tests of the claims, `-m bug` those of the bugs, and
        `--trt-claim=faq-7,B02` those of some. `python -m pytest_trt claims` prints both tables with the last
        results of this machine; with a name, all about that one.
        """
    )
    yield ""
    yield "This page is written by `tools/claims_page.py` from `pytest_trt/cases/claims.toml` and `bugs.toml`."


def _claims() -> Iterator[str]:
    yield ""
    yield "## The FAQ"
    yield ""
    yield from _fill(
        f"""
        Source: {SOURCE}. Each item is put as what has to hold of a TensorRT today. *Shown by* says who runs its
        tests where no GPU of TensorRT is: the emulator plays TensorRT's API over ONNX Runtime, and says nothing
        about a GPU's kernels.
        """
    )
    for claim in CLAIMS.values():
        yield from _claim(claim)


def _claim(claim: Claim) -> Iterator[str]:
    yield ""
    yield f"### {claim.name}: {claim.title}"
    yield ""
    yield from _fill(claim.claim)
    yield ""
    yield f"- Asked of: {claim.holds}."
    yield f"- Since the FAQ: {claim.since}"
    yield f"- Shown by: {', '.join(SHOWN[way] for way in claim.shown)}."
    if claim.gpu:
        yield f"- Only a GPU that TensorRT runs on shows: {claim.gpu}."


def _bugs() -> Iterator[str]:
    triggers = list(TRIGGERS.values())
    faults = {fault for each in triggers for fault in each.faults}
    tested = sum(not bug.unwritable for bug in BUGS.values())
    yield ""
    yield "## Public bugs"
    yield ""
    yield from _fill(
        f"""
        {len(BUGS)} reports; {tested} have a test that provokes them, with {len(triggers)} triggers in all. The
        facts are those of the threads. A test that fails says that the bug is *present*; one that passes on a
        real TensorRT, that it is *fixed* there, or was never in it. A *stand-in* runs where the reported network
        is not public: a pass then says no more than *not seen*. On the emulator a pass says nothing about
        TensorRT; there {len(faults)} injected faults imitate the bugs, and each has to be caught by the kind of
        check that is named.
        """
    )
    yield ""
    yield "| bug | reported | what provokes it, and what came out | seen in | check | test | imitated by |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for bug in BUGS.values():
        yield _bug(bug)
    yield ""
    yield "| check | what it holds against what |"
    yield "| --- | --- |"
    for kind in CHECKS:
        yield f"| {kind} | {KINDS[kind]} |"


def _bug(bug: Bug) -> str:
    mine = [each for each in TRIGGERS.values() if each.bug == bug.name]
    ways = ", ".join(dict.fromkeys(each.fidelity for each in mine)) or bug.unwritable or "other suites"
    imitated = ", ".join(
        f"`{name}`" for name in dict.fromkeys(fault for each in mine for fault in each.faults)
    )
    threads = ", ".join(_link(thread) for thread in bug.threads)
    cells = (
        bug.name,
        f"{threads}; {bug.status}",
        f"{bug.trigger}: {bug.symptom}",
        bug.versions,
        " ".join(bug.checks),
        ways,
        imitated,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _fill(text: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 128, break_long_words=False, break_on_hyphens=False)


def _link(thread: str) -> str:
    return f"[{thread}](https://github.com/{thread.replace('#', '/issues/')})" if "#" in thread else thread


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
