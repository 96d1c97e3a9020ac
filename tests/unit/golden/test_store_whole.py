"""Small versions of the benchmarks of stores: damage, kills, crowds, cost."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pytest_trt.golden import folder
from pytest_trt.golden.store import open_store

from . import dying

ROOT = Path(__file__).parents[3]


def load_benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(*words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": paths},
    )


def test_damaged_goldens_give_an_error_of_ours_or_the_golden() -> None:
    counts, wrong = load_benchmark("golden_fuzz").fuzz(200, 7)
    assert wrong == []
    assert counts["(equal)"] > 0
    assert len(counts) > 10


def test_a_record_that_dies_at_any_call_leaves_the_old_golden_or_the_new_one(tmp_path: Path) -> None:
    done = run_script(dying.__file__, str(tmp_path))
    found = done.stdout.split("\n")[:-1]
    assert set(found) == {"old", "new"}, done.stdout + done.stderr
    assert found == sorted(found, reverse=True)  # old until the manifest is replaced, new from then on
    assert found.count("old") > 8


def test_kills_and_crowds_lose_nothing() -> None:
    """Random moments; the benchmark has 200 of them."""
    script = str(ROOT / "benchmarks" / "golden_kill.py")
    done = run_script(script, "--kills=5", "--workers=8", "--count=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 processes recorded 18 goldens: 0 wrong" in done.stdout


def test_the_benchmark_of_kills_sees_a_store_that_writes_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader between two writes finds a manifest that is cut, or arrays that are another golden's."""
    benchmark = load_benchmark("golden_kill")
    store = open_store(tmp_path)
    store.save(benchmark.make_golden("case-0", 1))

    def write_half(path: str, data: bytes) -> None:
        Path(path).write_bytes(data[: len(data) // 2])

    monkeypatch.setattr(folder, "replace_file", write_half)
    store.save(benchmark.make_golden("case-0", 4))
    with pytest.raises(Exception, match="truncated"):
        benchmark.read_number(store, "case-0")


def test_both_sides_of_the_cost_read_every_golden(capsys: pytest.CaptureFixture[str]) -> None:
    """The ratio itself is the benchmark's: a loaded machine measures nothing."""
    benchmark = load_benchmark("golden_cost")
    assert benchmark.main(["--count=5", "--rounds=1", "--limit=1e9"]) == 0
    assert "5 goldens: checked in" in capsys.readouterr().out
    assert benchmark.main(["--count=5", "--rounds=1", "--limit=0"]) == 1
