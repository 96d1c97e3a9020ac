"""`--trt-report`: the report of a session, from one process and from workers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.reporting import replay_options
from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence

pytest.importorskip("jinja2", reason='needs jinja2: pip install "pytest-trt[report]"')

TESTS = """
    import pytest
    from pytest_trt.report.sections import attach

    @pytest.fixture
    def late(request):
        yield
        attach(request.node, {"title": "At the end", "rows": [["a", 1]]})

    def test_a(trt_check, late): trt_check(b"m")
    def test_b(trt_builder): pass
    @pytest.mark.gpu("a100")
    def test_c(): pass
    def test_d(trt_check): trt_check(b"wrong")
    @pytest.mark.parametrize("name", ["<script>"])
    def test_e(name): raise ValueError(name)
    @pytest.mark.xfail(reason="known")
    def test_f(): assert 0
    @pytest.fixture
    def broken(): raise ValueError("no")
    def test_g(broken): pass
    @pytest.mark.skip(reason="mine")
    def test_h(): pass
"""
FILES = {"index.html", "report.json", "report.md"}


def read(trt: Trt, folder: str = "out") -> dict[str, Any]:
    path = trt.pytester.path / folder
    assert {entry.name for entry in path.iterdir()} == FILES
    document: dict[str, Any] = json.loads((path / "report.json").read_text(encoding="utf-8"))
    return document


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    for record in (document, *document["tests"]):
        record["seconds"] = 0
    document["started"] = ""
    return document


def test_precedence(trt: Trt) -> None:
    here = str(trt.pytester.path)
    values = (("a", f"{here}/a"), ("/tmp", "/tmp"), ("b/c", f"{here}/b/c"))
    check_precedence(trt, "--trt-report", None, values)


def test_empty(trt: Trt) -> None:
    assert "is empty" in trt.refusal("--trt-report=")


def test_what_is_in_it(trt: Trt) -> None:
    trt.tests(TESTS)
    result = trt.run("--trt-report=a/out", "--trt-precision=int8,bf16")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "At the end [[]test_it.py::test_a[[]int8]]:",
            "  a  1",
            f"report: {trt.pytester.path}/a/out/index.html",
        ]
    )
    document = read(trt, "a/out")
    tests = {test["test"]: test for test in document["tests"]}
    assert {name.partition("::")[2]: test["outcome"] for name, test in tests.items()} == {
        "test_a[int8]": "passed",
        "test_b": "skipped",
        "test_d[int8]": "failed",
        "test_e[<script>]": "failed",
        "test_f": "xfailed",
        "test_g": "error",
        "test_h": "skipped",
    }
    assert tests["test_it.py::test_a[int8]"]["checks"]["int8"]["compared"] == 1000
    assert [error["what"] for error in tests["test_it.py::test_d[int8]"]["errors"]] == [
        "output 'y': 3 of 9 values outside the allowance"
    ]
    assert tests["test_it.py::test_d[int8]"]["errors"][0]["verdict"]["certified"] == 9
    assert tests["test_it.py::test_g"]["replay"] == "pytest test_it.py::test_g --trt-precision=int8,bf16"
    assert document["session"]["executor"] == {
        "title": "emulator (tensorrt-10.13.3.9)",
        "device": "cpu",
        "emulated": True,
    }
    assert document["session"]["line"].startswith("trt: emulator (tensorrt-10.13.3.9) on cpu as t4")
    assert document["exit_status"] == {"code": 1, "name": "TESTS_FAILED"}
    assert document["not_run"]["not_applicable"] == [
        {"reason": "bf16 has no tensor-core or native path", "tests": 2},
        {"reason": "marker gpu names others", "tests": 1},
    ]
    assert [one["requirement"] for one in document["not_run"]["missing"]] == ["build"]
    assert document["not_run"]["skipped"] == [{"reason": "mine", "tests": 1}]
    assert [section["title"] for section in document["sections"]] == ["At the end"]
    page = (trt.pytester.path / "a/out/index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "test_e[&lt;script&gt;]" in page


def test_workers_report_what_one_process_reports(trt: Trt) -> None:
    pytest.importorskip("xdist")
    trt.tests(TESTS)
    documents = []
    for number, args in enumerate((("-n2", "-p", "xdist.plugin"), ())):
        result = trt.run_apart("-p", "trt", *args, f"--trt-report=out{number}", "--trt-precision=int8,bf16")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        document = without_times(read(trt, f"out{number}"))
        for test in document["tests"]:
            for trouble in test["troubles"]:
                # a worker's texts begin with its name, and all tell where objects lie
                trouble["text"] = re.sub(r"\[gw\d\].*\n| at 0x\w+", "", trouble["text"]).strip()
        documents.append(document)
    assert documents[0] == documents[1]


def test_two_runs_differ_in_times_only(trt: Trt) -> None:
    trt.tests("""
        from pytest_trt.report.sections import attach
        def test_a(request, trt_check):
            trt_check(b"m")
            attach(request.node, {"title": "t", "plot": {"kind": "lines", "series": {"s": [1, 3, 2]}}})
    """)
    pages, documents = [], []
    for _ in range(2):
        trt.run("--trt-report=out", "--trt-precision=int8").assert_outcomes(passed=1)
        documents.append(without_times(read(trt)))
        page = (trt.pytester.path / "out/index.html").read_text(encoding="utf-8")
        pages.append(re.sub(r"<time>.*?</time>", "", page).splitlines())
    assert documents[0] == documents[1]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("args", [("-q",), ("-p", "no:terminal")])
def test_a_quiet_run_writes_all_the_same(trt: Trt, args: tuple[str, ...]) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    result = trt.run("--trt-report=out", "--trt-precision=int8", *args)
    assert result.ret == 0
    assert "report:" not in result.stdout.str()
    assert read(trt)["outcomes"]["passed"] == 1


def test_a_session_without_checks_is_told_too(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    result = trt.run("--trt-report=out")
    result.stdout.fnmatch_lines(["*= TensorRT conformance =*", "report: *index.html"])
    document = read(trt)
    assert document["sections"] == [] and document["checks"] == [] and document["outcomes"]["passed"] == 1


@pytest.mark.parametrize("ini", ["", "trt_report = out\n"])
def test_unused_writes_nothing(trt: Trt, ini: str) -> None:
    trt.ini(ini)
    trt.tests("def test_a(): pass")
    trt.run().assert_outcomes(passed=1)
    assert not (trt.pytester.path / "out").exists()


def test_the_ini_key_is_enough_where_a_test_uses_us(trt: Trt) -> None:
    trt.ini("trt_report = out\n")
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    trt.run()
    assert read(trt)["totals"]["checks"] == 3


@pytest.mark.parametrize("args", [("--collect-only",), ("--help",), ("--markers",), ("--fixtures",)])
def test_what_only_lists_writes_nothing(trt: Trt, args: tuple[str, ...]) -> None:
    trt.tests("def test_a(trt_check): pass")
    assert trt.run("--trt-report=out", *args).ret == 0
    assert not (trt.pytester.path / "out").exists()


@pytest.mark.parametrize("args", [(), ("-n2", "-p", "xdist.plugin")])
def test_a_folder_that_cannot_be_written_ends_the_run_before_it(trt: Trt, args: tuple[str, ...]) -> None:
    if args:
        pytest.importorskip("xdist")
    trt.tests("def test_a(trt_check): open('ran', 'w').close()")
    (trt.pytester.path / "out").touch()
    result = trt.run_apart("-p", "trt", "--trt-report=out", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --trt-report: '{trt.pytester.path}/out' cannot be written"])
    assert not (trt.pytester.path / "ran").exists()


def test_a_folder_that_goes_away_fails_the_run(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): open('out', 'w').close()")
    result = trt.run("--trt-report=out", "--trt-precision=int8")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["problem: the report cannot be written to '*out': *Error: *"])


def test_without_jinja2_the_run_does_not_start(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    (trt.pytester.path / "jinja2.py").write_text("raise ImportError('no jinja2 here')")
    trt.monkeypatch.setenv("PYTHONPATH", f"{trt.pytester.path}{os.pathsep}{os.environ['PYTHONPATH']}")
    result = trt.run_apart("-p", "trt", "--trt-report=out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --trt-report needs jinja2", '*mend*pip install "pytest-trt[[]report]"']
    )


def test_a_runtime_that_cannot_be_had_is_in_the_report(trt: Trt) -> None:
    trt.have("absent")
    trt.ini("trt_report = out\n")
    trt.tests("def test_a(trt_runtime): pass\ndef test_b(): pass")
    trt.run()
    document = read(trt) if (trt.pytester.path / "out").exists() else None
    assert document is None or document["session"]["executor"] is None


def test_files_that_cannot_be_collected_are_told(trt: Trt) -> None:
    trt.tests("import nowhere_at_all")
    assert trt.run("--trt-report=out").ret == pytest.ExitCode.INTERRUPTED
    document = read(trt)
    assert [(one["where"], one["words"]) for one in document["collection"]] == [
        ("test_it.py", "E   ModuleNotFoundError: No module named 'nowhere_at_all'")
    ]
    page = (trt.pytester.path / "out/index.html").read_text(encoding="utf-8")
    assert "Not run: 1 file could not be collected" in page


def test_an_old_report_is_replaced(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    for expected in (1, 2):
        trt.run("--trt-report=out")
        assert read(trt)["outcomes"]["passed"] == expected
        trt.tests("def test_a(): pass\ndef test_b(): pass")


@pytest.mark.parametrize(
    ("args", "environ", "seed", "words"),
    [
        ((), {}, None, ""),
        (("-x", "test_a.py", "--trt-report=out"), {"TRT_REPORT": "out"}, None, ""),
        (("--trt-seed", "random"), {}, 7, "--trt-seed=7"),
        (
            ("--gpu", "a100", "--trt-fault=a:b", "--trt-fault=c:d"),
            {},
            None,
            "--gpu=a100 --trt-fault=a:b --trt-fault=c:d",
        ),
        (
            ("--trt-precision=int8",),
            {"TRT_PRECISION": "fp16", "TRT_GPU": "t4"},
            None,
            "--gpu=t4 --trt-precision=int8",
        ),
        (("--trt-case=a b",), {"TRT_INT8": " "}, None, "'--trt-case=a b'"),
    ],
)
def test_a_test_is_repeated_with_the_options_of_its_run(
    args: tuple[str, ...], environ: dict[str, str], seed: int | None, words: str
) -> None:
    assert replay_options(args, environ, seed) == words


def test_paths_start_where_pytest_was_started(trt: Trt) -> None:
    below = trt.pytester.mkdir("below")
    (below / "test_b.py").write_text("def test_b(): pass")
    trt.monkeypatch.chdir(below)
    trt.run("--trt-report=out", "--rootdir=..")
    assert (Path(below) / "out/report.json").is_file()


def test_an_interrupted_session_tells_how_far_it_came(trt: Trt) -> None:
    trt.tests("def test_a(): pass\ndef test_b(): raise KeyboardInterrupt\ndef test_c(): pass")
    assert trt.run_apart("-p", "trt", "--trt-report=out").ret == pytest.ExitCode.INTERRUPTED
    document = read(trt)
    assert [(test["test"], test["outcome"]) for test in document["tests"]] == [
        ("test_it.py::test_a", "passed"),
        ("test_it.py::test_b", "unfinished"),
    ]
    assert "Ended early: INTERRUPTED; 1 test ran" in (trt.pytester.path / "out/report.md").read_text()
