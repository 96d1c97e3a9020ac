"""Reports to look at: one with everything in it, and an empty one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pytest_trt import hardware
from pytest_trt.errors import ConformanceError
from pytest_trt.records import Finding, Settings, Tolerance, Verdict
from pytest_trt.report.document import make_document
from pytest_trt.report.facts import describe_facts
from pytest_trt.report.failures import FAILURE, describe_failure
from pytest_trt.report.ledger import MISSING, PROPERTY, SUPPORT, Ledger
from pytest_trt.report.outcomes import Ran
from pytest_trt.report.plain import to_text
from pytest_trt.report.tally import Tally

NASTY = "t.py::test_b[<script>alert('&amp;')</script>|`x`\x1b[31m]"
BARS = {"kind": "bars", "title": "<i>ratio</i>", "labels": ["<b>", "c"], "series": {"$r": [1.0, 2.0]}}
SECTIONS = (
    {
        "title": "Layers <u>",
        "text": ["three & four"],
        "head": ["<th>", "n"],
        "rows": [["<td>", 1.5]],
        "plot": BARS,
    },
    {"title": "No head", "rows": [["a", "b"]]},
)


def ran(test: str, outcome: str, **more: Any) -> Ran:
    made = Ran(test)
    vars(made).update(outcome=outcome, seconds=0.25, **more)
    return made


def make_error() -> ConformanceError:
    error = ConformanceError("output '<y>': 3 of 9", why=["worst <off>"], mend="repeat: pytest -k '<x>'")
    error.verdict = Verdict(
        "violates",
        (
            Finding(
                "interval",
                "violates",
                "<y>",
                "tiny",
                3,
                9,
                (0, 1),
                7.0,
                0.1,
                0.2,
                0.15,
                "<rule>",
                axes=("N", "C"),
            ),
            Finding(
                "rows",
                "violates",
                note="rows <differ>",
                sources=(("<w>", 0.5),),
                fits=("<bias>",),
                layer="<l>",
            ),
        ),
        9,
        3,
        relations=("<held>",),
        provenance={"runtime": "<emu>", "data": ("tiny", "big")},
    )
    return error


def facts(executor: Any = None, builder: Any = None, **settings: Any) -> dict[str, Any]:
    discovery: Any = SimpleNamespace(executor=executor, builder=builder)
    return describe_facts(Settings(**settings), hardware.get("t4"), discovery, "trt: <line>")


EMULATOR = SimpleNamespace(title="emulator (tensorrt-10.13.3.9)", device="cpu", emulated=True)
BUILDER = SimpleNamespace(title="TensorRT-RTX 1.7.1.116", device="cpu", emulated=False)


def full_ledger(turned: bool = False) -> Ledger:
    tally = Tally("t.py::test_a")
    tally.add("int8", Verdict("conforms", (), 1000, 999, unjudged={"Softmax": 2}, relations=("rows",)), None)
    tally.add("fp16", Verdict("conforms"), Tolerance(0.1, 0.0, "<known>"))
    added = [
        ("t.py::test_a", [(PROPERTY, tally.to_text()), (SUPPORT, ["conv2d", "int8", "t4", "builds"])]),
        (NASTY, [("trt_section", to_text(section)) for section in SECTIONS]),
        (NASTY, [("trt_section", to_text(section)) for section in SECTIONS] + [(FAILURE, failure())]),
        ("t.py::test_c", [(MISSING, ["build", "no <TensorRT>", "pip install it"])]),
    ]
    ledger = Ledger()
    for test, properties in added if not turned else [*reversed(added[:1] + added[3:]), *added[1:3]]:
        ledger.add(test, properties)
    ledger.note_not_run({"uses": 3, "deselected": 1, "not_applicable": {"bf16 has <none>": 2}})
    ledger.problems = ["nothing of <this> matches"]
    return ledger


def failure() -> str:
    return to_text(describe_failure(make_error()))


def full_document(turned: bool = False) -> dict[str, Any]:
    """Return a report with one of everything; `turned`: the tests ended in another order."""
    trouble = {"when": "call", "words": "E <words>", "text": "long <text>\x00"}
    tests = [
        ran("t.py::test_a", "passed"),
        ran(NASTY, "failed", troubles=[trouble]),
        ran("t.py::test_c", "skipped", reason="trt: no <TensorRT>; to get it: pip install it"),
        ran("t.py::test_d", "skipped", reason="<mine>"),
        ran("t.py::test_e", "error", troubles=[{**trouble, "when": "setup"}]),
    ]
    return make_document(
        facts(EMULATOR, BUILDER, faults=("a:b",), allow=("half",)),
        tests[::-1] if turned else tests,
        full_ledger(turned),
        started="2026-01-02T03:04:05+00:00",
        seconds=1.25,
        exit_status=(1, "TESTS_FAILED"),
        replay="--trt-seed=3",
        collection=[{"where": "<u>.py", "words": "ImportError: <v>", "text": "<long>"}],
    )


def empty_document(status: tuple[int, str] = (5, "NO_TESTS_COLLECTED")) -> dict[str, Any]:
    return make_document(facts(), [], Ledger(), started="2026-01-02", seconds=0.0, exit_status=status)
