"""`bench`: a benchmark runs where it was asked for, and is counted where it was not."""

from __future__ import annotations

import pytest

from tests.plugin.benches import PLUGIN, prepare
from tests.plugin.conftest import Trt

LINE = "  benchmarks, run with -m bench: 2 tests deselected"
OTHER = """
    import pytest
    def test_plain(trt_settings): pass
    @pytest.mark.bench
    def test_not_ours(): pass
"""


def test_they_are_deselected_and_counted(trt: Trt) -> None:
    prepare(trt, test_other=OTHER)
    result = trt.run(*PLUGIN)
    result.assert_outcomes(passed=2, deselected=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["benchmarks [[]of this session[]]:", LINE])


def test_without_pytest_benchmark_too(trt: Trt) -> None:
    prepare(trt, test_other=OTHER)
    result = trt.run()
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.fnmatch_lines([LINE])


@pytest.mark.parametrize(
    "args",
    [
        ("-m", "bench"),
        ("-m", "bench or faq"),
        ("--benchmark-only",),
        ("test_speed.py",),
        ("test_other.py", "test_speed.py"),
        ("test_speed.py::test_a", "test_speed.py::test_b"),
        ("./test_speed.py::test_a", "test_speed.py"),
    ],
    ids=" ".join,
)
def test_who_asks_gets_them(trt: Trt, args: tuple[str, ...]) -> None:
    prepare(trt, test_other=OTHER)
    result = trt.run(*PLUGIN, "-v", *args)
    assert [f"test_speed.py::test_{name} PASSED" in result.stdout.str() for name in "ab"] == [True, True]
    assert "run with -m bench" not in result.stdout.str()


@pytest.mark.parametrize("args", [(".",), ("-k", "test_a or test_b"), ("-m", "not workbench")])
def test_nobody_else_gets_them(trt: Trt, args: tuple[str, ...]) -> None:
    prepare(trt, test_other=OTHER)
    result = trt.run(*PLUGIN, *args)
    result.stdout.fnmatch_lines([LINE])
    assert "test_speed.py" not in "".join(line for line in result.outlines if line.endswith("%]"))


def test_m_not_bench_is_pytest_s_own(trt: Trt) -> None:
    prepare(trt, test_other=OTHER)
    result = trt.run(*PLUGIN, "-m", "not bench")
    result.assert_outcomes(passed=1, deselected=3)
    assert "run with -m bench" not in result.stdout.str()


def test_nothing_is_said_under_q(trt: Trt) -> None:
    prepare(trt, test_other=OTHER)
    assert "run with -m bench" not in trt.run(*PLUGIN, "-q").stdout.str()


@pytest.mark.parametrize("args", [(), ("-m", "bench"), ("test_speed.py",)], ids=["plain", "marker", "file"])
def test_under_two_workers(trt: Trt, args: tuple[str, ...]) -> None:
    pytest.importorskip("xdist")
    prepare(trt, test_other=OTHER)
    result = trt.run_apart(*PLUGIN, "-p", "trt", "-p", "xdist.plugin", "-n2", *args)
    assert result.ret == 0, result.stdout.str()
    assert (LINE in result.outlines) == (not args)
    assert result.parseoutcomes()["passed"] == {0: 2, 1: 2, 2: 3}[len(args)] if len(args) != 2 else True


def test_the_marker_is_registered_and_documented(trt: Trt) -> None:
    prepare(trt)
    assert trt.run(*PLUGIN, "--strict-markers", "-m", "bench").ret == 0
    result = trt.run(*PLUGIN, "--markers")
    assert result.stdout.str().count("@pytest.mark.bench: a benchmark; ") == 1


def test_a_bench_marker_of_somebody_else_is_left_alone(trt: Trt) -> None:
    prepare(trt)
    trt.pytester.makepyfile(
        test_theirs="import pytest\n@pytest.mark.bench('x', y=1)\ndef test_theirs(): pass"
    )
    trt.run(*PLUGIN).assert_outcomes(passed=1, deselected=2)
