"""`apply_budgets`: the property tests of a suite draw what the options say; other tests stay."""

from __future__ import annotations

from tests.plugin.conftest import Trt

CONFTEST = """
from pathlib import Path
from pytest_trt.collecting import apply_budgets

def pytest_collection_modifyitems(config, items):
    apply_budgets(config, items, Path(__file__).parent)
"""
PROPERTY = """
from hypothesis import given, settings, strategies as st
SEEN = []
@given(n=st.integers(0, 10**9))
def test_a(trt_precision, n):
    SEEN.append(n)
    assert n < LIMIT
def teardown_module():
    with open("seen.txt", "a") as file: file.write(f"{len(SEEN)} {SEEN[-1]} {hash(tuple(SEEN))}\\n")
"""


def suite(trt: Trt, limit: str = "10**10") -> None:
    for name in ("suite", "other"):
        folder = trt.pytester.mkdir(name)
        (folder / f"test_{name}.py").write_text(PROPERTY.replace("LIMIT", limit))
    (trt.pytester.path / "suite" / "conftest.py").write_text(CONFTEST)


def seen(trt: Trt) -> list[list[str]]:
    path = trt.pytester.path / "seen.txt"
    lines = [line.split() for line in path.read_text().splitlines()]
    path.unlink()
    return lines


def test_examples_and_seed(trt: Trt) -> None:
    suite(trt)
    runs = []
    for seed in ("1", "1", "2"):
        trt.run("suite", "--trt-precision=int8,fp16", f"--trt-seed={seed}").assert_outcomes(passed=2)
        runs.append(seen(trt)[0])
    assert runs[0][0] == "40", "20 examples at each precision"
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    trt.run("suite", "--trt-precision=int8", "--trt-budget=standard").assert_outcomes(passed=1)
    assert seen(trt)[0][0] == "100"
    assert not (trt.pytester.path / ".hypothesis" / "examples").exists(), "no database"


def test_other_tests_keep_their_settings(trt: Trt) -> None:
    suite(trt)
    trt.run("other", "suite", "--trt-precision=int8").assert_outcomes(passed=2)
    assert sorted(line[0] for line in seen(trt)) == ["100", "20"]


def test_faults_are_not_shrunk(trt: Trt) -> None:
    suite(trt, limit="10**3")
    trt.run("suite", "--trt-precision=int8").assert_outcomes(failed=1)
    shrunk = seen(trt)[0][1]
    trt.run("suite", "--trt-precision=int8", "--trt-fault=a:b").assert_outcomes(failed=1)
    raw = seen(trt)[0][1]
    assert int(shrunk) == 1000
    assert int(raw) > 1000
