"""The script of the GPU measurements, on a CPU: its statistics, its loops by hand, its parts and what they refuse."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pytest_trt.emulator.program import session_options
from pytest_trt.records import RUNGS
from pytest_trt.runtime.session import Session

ROOT = Path(__file__).parents[3]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a file of the benchmarks by its name, as the script itself does."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def bench(load: Any) -> Any:
    setup, measure = load("_gpu_setup"), load("_gpu_measure")
    with setup.emulator_on("cpu") as rt:
        report = measure.Report("here", judges_times=False)
        yield setup.Bench(rt, setup.find_cuda(rt), None, report, quick=True, batches=(1, 2), size=32)


def test_the_middle_of_some_numbers_comes_with_an_interval(load: Any) -> None:
    found = load("_gpu_measure").summarize([float(n) for n in range(40, -1, -1)])
    assert (found.middle, found.pairs) == (20, 41)
    assert found.low == 40 - found.high  # order statistics, as many below as above
    assert 5 < found.low < 20
    assert found.told(10, 1) == f"200.0 [{10 * found.low:.1f}, {10 * found.high:.1f}] of 41 pairs"


def test_few_numbers_have_an_interval_that_holds_all_but_none_has_none(load: Any) -> None:
    summarize = load("_gpu_measure").summarize
    assert (summarize([3.0]).low, summarize([3.0]).high) == (3, 3)
    assert (summarize([1.0, 3.0]).low, summarize([1.0, 3.0]).high) == (1, 3)
    with pytest.raises(ValueError, match="no numbers"):
        summarize([])


def test_two_loops_are_measured_in_the_order_that_favours_neither(load: Any) -> None:
    order: list[str] = []

    def take(name: str) -> float:
        order.append(name)
        return float(len(order))

    ones, others = load("_gpu_measure").alternate(lambda: take("A"), lambda: take("B"), 4)
    assert "".join(order) == "ABBAABBA"
    assert (ones, others) == ([1, 4, 5, 8], [2, 3, 6, 7])


def test_a_clock_that_drifts_evenly_changes_no_ratio_by_much(load: Any) -> None:
    measure = load("_gpu_measure")
    now = iter(range(1000, 2000))
    ones, others = measure.alternate(lambda: next(now) * 1.0, lambda: next(now) * 1.0, 40)
    assert measure.throughput_ratio(ones, others).middle == pytest.approx(1.0, abs=1e-3)


def test_a_loop_that_takes_longer_has_less_throughput_and_costs_the_difference(load: Any) -> None:
    measure = load("_gpu_measure")
    assert measure.throughput_ratio([2.0] * 20, [1.0] * 20).middle == 0.5
    assert measure.difference([2.0] * 20, [1.5] * 20).middle == 0.5


@pytest.mark.parametrize(("seconds", "one", "runs"), [(1.0, 0.3, 4), (1.0, 5.0, 1), (1.0, 0.0, 100_000)])
def test_a_block_has_as_many_runs_as_fill_a_time(load: Any, seconds: float, one: float, runs: int) -> None:
    assert load("_gpu_measure").runs_for(seconds, one) == runs


def test_what_is_wanted_and_not_met_is_told_and_ends_badly(
    load: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = load("_gpu_measure").Report("here", judges_times=True)
    assert not report.is_met  # nothing was measured
    report.say("a line")
    assert capsys.readouterr().out == "here | a line\n"
    report.want("ratio", ">= 0.97", "0.98", True, is_time=True)
    assert report.is_met
    report.want("ratio", ">= 0.97", "0.96", False, is_time=True)
    assert not report.is_met
    assert report.table() == [
        "what   wanted   measured",
        "ratio  >= 0.97  0.98      met",
        "ratio  >= 0.97  0.96      NOT MET",
    ]


def test_times_are_not_judged_without_a_gpu_but_answers_are(load: Any) -> None:
    report = load("_gpu_measure").Report("here", judges_times=False)
    report.want("ratio", ">= 0.97", "0.5", False, is_time=True)
    assert (report.rows[0].state, report.is_met) == ("not judged", True)
    report.want("wrong answers", "0", "1", False, is_time=False)
    assert not report.is_met


def test_the_deep_network_is_that_of_resnet_18(load: Any) -> None:
    model = load("_gpu_networks").make_deep(64)
    onnx.checker.check_model(model, full_check=True)
    counts = {op: sum(node.op_type == op for node in model.graph.node) for op in ("Conv", "Add", "Gemm")}
    assert counts == {"Conv": 20, "Add": 8, "Gemm": 1}
    weights = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    assert 11e6 < weights < 12e6


def test_loops_by_hand_and_onnx_runtime_alone_give_the_bits_of_the_session(load: Any, bench: Any) -> None:
    loops, networks, setup = load("_gpu_loops"), load("_gpu_networks"), load("_gpu_setup")
    engine = setup.make_subject(bench.rt, networks.make_shallow(32), bench.batches).engine
    x = networks.draw_input(2, 32)
    with Session(bench.rt, engine) as session:
        want = session.run({"x": x})["y"]
    assert np.isfinite(want).all()
    assert want.std() > 0.1
    hand = loops.HandLoop(bench.cuda, engine, x.shape)
    model = setup.lowered_model(engine)
    bare = loops.BareLoop(bench.cuda, model, x.shape, want.shape, None, session_options())
    for loop in (hand, bare):
        loop.run(np.zeros_like(x))
        assert loop.run(x).tobytes() == want.tobytes()
        loop.enqueue(3)
        loop.close()


def test_a_loop_that_computes_something_else_is_not_timed(load: Any) -> None:
    demand = load("_gpu_session")._demand_same
    want = np.linspace(-1, 1, 8, dtype=np.float32)
    demand("hand", want + np.float32(1e-3), want)  # another order of summation
    for got in (want + 1, np.full_like(want, np.nan)):
        with pytest.raises(RuntimeError, match="hand gives other outputs"):
            demand("hand", got, want)


def test_a_thread_by_hand_that_is_refused_ends_the_measurement(load: Any) -> None:
    """A refused enqueue is no run; the other threads do not wait for it for ever."""
    loops = load("_gpu_loops")
    refused = SimpleNamespace(
        context=SimpleNamespace(execute_async_v3=lambda handle: False),
        stream=SimpleNamespace(handle=0, synchronize=lambda: None),
    )
    with pytest.raises(RuntimeError, match="threads failed"):
        loops.run_hand_threads([refused] * 3, 5, 1, nullcontext)


def test_the_oracle_counts_what_onnx_runtime_gives_by_precision_and_rung(load: Any) -> None:
    oracle = load("cuda_oracle")
    tally = oracle.Tally()
    for number, precision in enumerate(oracle.PRECISIONS):
        tally.add(oracle.judge_configuration(precision, (5, number), "cpu", 90))
    assert tally.refused == tally.failed == []
    assert tally.outputs == tally.data == 3 * len(oracle.KINDS)
    told = oracle.describe(tally)
    assert [line.split()[0] for line in told[:3]] == ["fp32", "tf32", "fp16"]
    assert told[-1] == f"unexplained 0 of {tally.outputs} outputs"
    assert {rung for _, _, rung in tally.admitted} <= set(RUNGS)


def test_the_oracle_refuses_a_provider_that_is_wrong_and_tells_one_that_fails(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = load("cuda_oracle")
    honest = oracle.make_session

    def wrong(*args: Any, **kwargs: Any) -> Any:
        session = honest(*args, **kwargs)
        return SimpleNamespace(run=lambda names, feeds: [session.run(names, feeds)[0] + np.float32(1)])

    monkeypatch.setattr(oracle, "make_session", wrong)
    tally = oracle.judge_configuration("fp32", (5, 0), "cpu", 90)
    assert len(tally.refused) > len(oracle.KINDS) / 2
    assert "violates" in tally.refused[0]

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(oracle, "make_session", broken)
    tally = oracle.judge_configuration("fp32", (5, 0), "cpu", 90)
    assert (tally.outputs, len(tally.failed)) == (0, len(oracle.KINDS))
    assert "not computed by the provider 14" in oracle.describe(tally)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="CUDA is here")
def test_the_oracle_gives_up_where_the_provider_computes_nothing(load: Any) -> None:
    oracle = load("cuda_oracle")
    tally = oracle.measure(outputs=10_000, seed=5, seconds=1e6, provider="cuda", sm=None, workers=1)
    assert tally.outputs == 0
    assert oracle.MOST_FAILED <= len(tally.failed) < 10 * oracle.MOST_FAILED


def test_a_part_that_fails_is_told_and_the_next_one_runs(
    load: Any, bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = load("gpu")
    ran: list[str] = []

    def fail(bench: Any) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(script, "PARTS", {"clock": fail, "oracle": lambda bench: ran.append("oracle")})
    script.run_parts(bench, ["clock", "oracle"], tmp_path / "found.json")
    assert ran == ["oracle"]
    assert not bench.report.is_met
    (row,) = json.loads((tmp_path / "found.json").read_text())["wanted"]
    assert (row["what"], row["measured"]) == ("part 'clock' runs", "RuntimeError: no such kernel")


def test_the_whole_script_runs_without_a_gpu_and_says_so_in_each_line(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device=cpu", "--quick", f"--json={path}"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines, table = done.stdout.split("\n\n")
    assert all("no TensorRT" in line.partition(" | ")[0] for line in lines.splitlines())
    assert "NOT MET" not in table
    assert "not judged" in table  # times
    found = json.loads(path.read_text())
    assert {"session", "clock", "threads", "oracle"} < set(found)
    assert [row["state"] for row in found["wanted"]].count("met") >= 10
    assert found["threads"]["planted"]["wrong"] > 0
    assert found["threads"]["checked"]["wrong"] == 0


def test_a_part_of_another_name_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--only=sessions"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert "bad part 'sessions'; good: session,clock,threads,oracle" in done.stderr
