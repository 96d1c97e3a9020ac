"""The lines that a terminal shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pytest_trt import hardware
from pytest_trt.records import Missing, Settings, Verdict
from pytest_trt.report.ledger import Ledger
from pytest_trt.report.tally import Tally
from pytest_trt.report.terminal import broken_libraries, describe_session, summarise, table

T4 = hardware.get("t4")


def found(executor: Any = None, builder: Any = None, *missing: Missing, label: str = "none") -> Any:
    return SimpleNamespace(
        executor=executor, builder=builder, missing=missing, label=executor.title if executor else label
    )


def runtime(title: str, device: str, emulated: bool) -> Any:
    return SimpleNamespace(title=title, device=device, emulated=emulated)


def test_line_of_an_emulator_on_a_gpu_names_the_device_once() -> None:
    executor = runtime("emulator (tensorrt-11.4.0.106) on cuda:0", "cuda:0", True)
    line = describe_session(Settings(precisions=("int8",), seed=4), T4, found(executor))
    assert line == ("trt: emulator (tensorrt-11.4.0.106) on cuda:0 as t4 (sm_75); int8; budget quick; seed 4")


def test_line_of_a_builder_that_also_executes() -> None:
    executor = runtime("TensorRT 10.13", "cuda:0", False)
    assert "builds" not in describe_session(Settings(), T4, found(executor, executor))


def test_line_without_anyone() -> None:
    assert describe_session(Settings(), T4, found(label="off")) == "trt: off (--trt-runtime=off)"
    assert describe_session(Settings(), T4, found()) == "trt: nothing executes on t4 (sm_75)"


def test_broken_is_not_absent() -> None:
    discovery = found(
        None,
        None,
        Missing("tensorrt", "ImportError: No module named 'tensorrt'", "pip"),
        Missing("tensorrt_rtx", "ImportError: libx.so: cannot open", "pip"),
        Missing("gpu", "no NVIDIA GPU", "buy one"),
    )
    assert broken_libraries(discovery) == ["tensorrt_rtx does not load: ImportError: libx.so: cannot open"]


def test_table_aligns() -> None:
    assert table(("name", "n"), [("a", "10"), ("long name", "2")]) == [
        "name        n",
        "a          10",
        "long name   2",
    ]


def test_no_news_is_no_line() -> None:
    assert summarise(Ledger(), "t4") == []


def test_nothing_compared_has_no_share() -> None:
    tally = Tally("a.py::test_a")
    tally.add("int8", Verdict("mistrusted"))
    ledger = Ledger()
    ledger.add("a.py::test_a", [("trt_tally", tally.to_text())])
    assert summarise(ledger, "t4")[1].split() == ["a.py::test_a", "int8", "1", "mistrusted", "0", "-"]


def test_what_was_not_run() -> None:
    ledger = Ledger()
    ledger.note_not_run({"uses": 9, "deselected": 1, "not_applicable": {"bf16 has no path": 2}})
    ledger.add("a.py::test_b", [("trt_missing", ["build", "RTX is not here", "pip install it"])])
    ledger.problems.append("a row matches nothing")
    assert summarise(ledger, "t4") == [
        "deselected, no precision of the test was asked for: 1 test",
        "not applicable on t4: bf16 has no path: 2 tests",
        "skipped for lack of build, 1 test: RTX is not here; to get it: pip install it",
        "problem: a row matches nothing",
    ]


def test_support_map_orders_precisions_and_classes() -> None:
    ledger = Ledger()
    for precision, gpu in (("int8", "t4"), ("fp32", "t4"), ("fp32", "a10"), ("odd", "a10")):
        ledger.add("t", [("trt_support", ["conv", precision, gpu, "builds"])])
    head = summarise(ledger, "t4")[1]
    assert head.split() == ["family", "fp32", "a10", "odd", "a10", "fp32", "t4", "int8", "t4"]


def sections(*rows: int) -> Ledger:
    ledger = Ledger()
    for number, count in enumerate(rows):
        section = {
            "title": f"S{number}",
            "text": ["why"],
            "head": ["n", "x"],
            "rows": [[n, n / 8] for n in range(count)],
        }
        ledger.add(f"t{number:02}", [("trt_section", section)])
    return ledger


def test_a_section_shows_its_first_rows() -> None:
    more = "  ... 2 more rows in the report: --trt-report=DIR"
    head = ["S0 [t00]:", "  why", "  n      x"]
    body = ["  0      0", "  1  0.125", "  2   0.25", "  3  0.375", "  4    0.5", "  5  0.625", "  6   0.75"]
    assert summarise(sections(7), "t4") == [*head, *body[:5], more]
    assert summarise(sections(7), "t4", rows=None) == [*head, *body]
    assert summarise(sections(5), "t4") == [*head, *body[:5]]


def test_sections_need_no_table() -> None:
    ledger = Ledger()
    ledger.add("t", [("trt_section", {"title": "S"}), ("trt_section", {"title": "R", "rows": [["a", "b"]]})])
    assert summarise(ledger, "t4") == ["S [t]:", "R [t]:", "  a  b"]


def test_only_the_first_sections_are_shown() -> None:
    lines = summarise(sections(*[0] * 14), "t4")
    assert lines[-1] == "... 2 more sections in the report: --trt-report=DIR"
    assert "S11 [t11]:" in lines and "S12 [t12]:" not in lines
    assert "S13 [t13]:" in summarise(sections(*[0] * 14), "t4", rows=None)
