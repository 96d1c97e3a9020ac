"""The report of an upgrade: goldens of one version recorded, those of another one held against them, told once."""

from __future__ import annotations

import json

import pytest

from pytest_trt.golden.builds import golden_of_build
from pytest_trt.golden.store import open_store
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from pytest_trt.strategies import Case
from tests.plugin.conftest import Trt

pytest.importorskip("jinja2", reason='needs jinja2: pip install "pytest-trt[report]"')

CASES = {
    "gemm": "gemm-n4-k16-o8-ta0-tb0-al4-be4-b1-w_int-s0",
    "matmul": "matmul-n3-m8-k64-o31-i1-w_int-s0",
}
TESTS = """
    import pytest
    from pytest_trt.errors import GoldenError
    from pytest_trt.golden.builds import golden_of_build
    from pytest_trt.strategies import Case
    from pytest_trt.upgrades import note_change

    CASES = @CASES@

    @pytest.mark.parametrize("name", CASES)
    def test_build(name, trt_runtime, trt_golden, trt_precision, request):
        case = Case.parse(CASES[name])
        today = golden_of_build(trt_runtime, name, case.model(), trt_precision)
        try:
            then = trt_golden.book.find(today.key)
        except GoldenError:
            then = None
        entry = trt_golden.book.enter(today, test=request.node.nodeid)
        note_change(request.node, entry, then, today)
        assert entry.passed, entry.comparison.why

    def test_known_by_its_comparison(trt_runtime, trt_golden, trt_precision):
        case = Case.parse(CASES["gemm"])
        trt_golden.hold(golden_of_build(trt_runtime, "held", case.model(), trt_precision))
"""
PLUGINS = ("-p", "pytest_trt.plugin")
COMMON = (*PLUGINS, "--trt-runtime=emulator", "--trt-precision=fp16", "--gpu=t4")
CHECK = ("--trt-golden-from=emulator+tensorrt-10.13.3.9", "--trt-emulate=tensorrt-10.16", "--trt-report=out")


@pytest.fixture
def recorded(bare_trt: Trt) -> Trt:
    """A folder with goldens of one version; made here, since another session would take seconds."""
    bare_trt.tests(TESTS.replace("@CASES@", repr(CASES)))
    settings = Settings(runtime="emulator", gpu="t4", emulate="tensorrt-10.13")
    runtime = discover(settings).executor
    assert runtime is not None
    store = open_store(bare_trt.pytester.path / "golden")
    for name, text in {**CASES, "held": CASES["gemm"]}.items():
        store.save(golden_of_build(runtime, name, Case.parse(text).model(), "fp16"))
    return bare_trt


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "workers"])
def test_two_commands_give_one_report(recorded: Trt, workers: tuple[str, ...]) -> None:
    if workers:
        pytest.importorskip("xdist", reason="needs pytest-xdist: pip install pytest-xdist")
    result = recorded.run_apart(*COMMON, *CHECK, *workers)
    result.assert_outcomes(passed=3)
    text = result.stdout.str()
    assert text.count("Upgrade: emulator+tensorrt-10.13.3.9+ort-") == 1
    folder = recorded.pytester.path / "out"
    report = json.loads((folder / "upgrade.json").read_text(encoding="utf-8"))
    assert [case["case"] for case in report["cases"]] == ["gemm", "held", "matmul"]
    assert sum(report["counts"].values()) == 3 and not set(report["counts"]) - {"identical", "benign"}
    assert len(report["timing_caches"]) == 2
    assert ["TensorRT", "tensorrt-10.13.3.9", "tensorrt-10.16.1.11"] in report["place"]
    page = (folder / "upgrade.md").read_text(encoding="utf-8")
    assert page.startswith("# Upgrade: emulator+tensorrt-10.13.3.9") and "3 cases" in page
    assert "Upgrade: emulator+tensorrt-10.13.3.9" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_worse_version_is_told_and_fails(recorded: Trt) -> None:
    fault = "--trt-fault=pytest_trt.emulator.faults:engine_stays_fp32"
    result = recorded.run_apart(*COMMON, *CHECK, fault)
    result.assert_outcomes(failed=3)
    page = (recorded.pytester.path / "out" / "upgrade.md").read_text(encoding="utf-8")
    assert "**3 cases: 3 drift**" in page
    assert "| drift | layers by type: fp16 1 to 0, fp32 0 to 1 |" in page


def test_nothing_is_told_without_another_version(recorded: Trt) -> None:
    result = recorded.run_apart(*COMMON, "--trt-emulate=tensorrt-10.13", "--trt-report=out")
    result.assert_outcomes(passed=3)
    assert "Upgrade:" not in result.stdout.str()
    assert {path.name for path in (recorded.pytester.path / "out").iterdir()} == {
        "index.html",
        "report.json",
        "report.md",
    }


def test_what_is_known_by_its_comparison_alone_is_told_with_where_they_come_from(recorded: Trt) -> None:
    result = recorded.run_apart(*COMMON, *CHECK, "-k", "known_by")
    result.assert_outcomes(passed=1, deselected=2)
    report = json.loads((recorded.pytester.path / "out" / "upgrade.json").read_text(encoding="utf-8"))
    assert ["TensorRT", "tensorrt-10.13.3.9", "tensorrt-10.16.1.11"] in report["place"]
    assert [case["case"] for case in report["cases"]] == ["held"]


def test_a_page_that_cannot_be_written_fails_the_session(recorded: Trt) -> None:
    (recorded.pytester.path / "out" / "upgrade.md").mkdir(parents=True)
    result = recorded.run_apart(*COMMON, *CHECK, "-k", "known_by")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["problem: the report of the upgrade cannot be written to '*/out': IsADirectoryError*"]
    )
