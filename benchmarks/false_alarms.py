"""How often the check refuses an output that a correct kernel gave: it must be never.

    python benchmarks/false_alarms.py [--outputs 100000] [--ort 4000] [--seed 1000] [--jobs N]

Two sources of correct outputs, on the configurations and the fourteen kinds of data of `python -m pytest_trt bite`:

- the emulator and every honest variant that it plays (summation orders, tensor cores, FP16 accumulators, requantisation orders,
  and the algorithms of the ladder's rungs), on all contracts; an output counts where a variant moved a bit of it;
- ONNX Runtime's own CPU kernels, which share nothing with the emulator's lowering: graph optimisations on, several threads,
  FP32, FP16 and INT8 Q/DQ graphs, so that it runs fused convolutions and QLinearConv. It rounds an INT8 bias to an INT32 of
  scale s_x s_w (onnxruntime's WeightBiasQuantization): the configurations have their bias on that grid.

The seed is one that nothing was tuned on. Exit status 1: an output was refused, or fewer were made than asked for.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import onnxruntime as ort

from pytest_trt.bite.data import carried
from pytest_trt.bite.intervals import Share
from pytest_trt.bite.pairs import Bench, Task, measure_problem
from pytest_trt.bite.parallel import count_cores, run_all
from pytest_trt.bite.problems import available_contracts, make_problem, number_problems
from pytest_trt.bite.records import OURS
from pytest_trt.numerics.battery import kinds_for
from pytest_trt.records import BATTERIES, RUNGS

KINDS = BATTERIES["full"]
ORT_CONTRACTS = ("fp32", "fp16", "int8")
ROUND = 28  # configurations a round, so that a run ends soon after it has enough


@dataclass
class Tally:
    """Outputs and refusals."""

    outputs: int = 0
    refused: list[str] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)


def honest_outputs(task: Task) -> tuple[int, str, list[str]]:
    """Return how many emulated outputs were judged, of which contract, and those that were refused."""
    row = measure_problem(task)
    return row.honest, row.contract, row.named + row.broken


def ort_outputs(task: Task) -> tuple[int, str, list[str]]:
    """Return how many outputs of ONNX Runtime were judged, of which contract, and those that were refused."""
    problem = make_problem(task.contract, task.seed)
    count, refused = 0, []
    for kind in kinds_for(task.contract, task.kinds):
        bench = Bench(problem, kind, task.rungs, peers=False)
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = 4
        options.log_severity_level = 3
        session = ort.InferenceSession(
            bench.drawn.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        got = np.asarray(carried(problem, session.run(["y"], bench.drawn.feeds)[0]))
        count += 1
        if OURS in bench.refusals(got):
            refused.append(bench.explain("ONNX Runtime", got))
    return count, task.contract, refused


def gather(name: str, need: int, seed: int, jobs: int) -> Tally:
    """Return the tally of enough outputs of one source."""
    emulated = name == "emulator"
    contracts = available_contracts() if emulated else ORT_CONTRACTS
    work = honest_outputs if emulated else ort_outputs
    tally, first = Tally(), 0
    while tally.outputs < need:
        # Enough of a round for what is missing, as far as the first round tells.
        size = (
            ROUND
            if not tally.outputs
            else max(ROUND, round((need - tally.outputs) * first / tally.outputs) + 1)
        )
        drawn = list(number_problems(contracts, first + size, seed))[first:]
        first += size
        tasks = [
            Task(
                contract,
                numbers,
                KINDS,
                (),
                -1,
                RUNGS if emulated else ("direct", "unfused"),
                peers=False,
            )
            for contract, numbers in drawn
        ]
        for count, contract, refused in run_all(work, tasks, jobs, name):
            tally.outputs += count
            tally.by[contract] += count
            tally.refused += refused
    return tally


def main() -> int:
    """Run both sources and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--outputs", type=int, default=100_000, help="emulated outputs; default: 100000")
    parser.add_argument("--ort", type=int, default=4_000, help="outputs of ONNX Runtime; default: 4000")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=count_cores())
    given = parser.parse_args()
    failed = False
    for name, need in (("emulator", given.outputs), ("ONNX Runtime", given.ort)):
        started = time.perf_counter()
        tally = gather(name, need, given.seed, given.jobs)
        share = Share(len(tally.refused), tally.outputs)
        print(
            f"{name}: {share.count} of {share.total} outputs refused (95 % upper limit {share.upper:.1e}),"
            f" {time.perf_counter() - started:.0f} s"
        )
        print("  " + ", ".join(f"{contract} {count}" for contract, count in sorted(tally.by.items())))
        for line in tally.refused[:20]:
            print(f"  {line}")
        failed |= bool(tally.refused) or tally.outputs < need
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
