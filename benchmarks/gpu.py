"""What the session, the clocks, the threads and the oracle cost and find on one GPU, in one run.

    python benchmarks/gpu.py [--device cuda:0] [--only session,clock,threads,oracle] [--json FILE] [--quick]

No TensorRT takes part: the emulator computes over ONNX Runtime's CUDA provider, and each line says so. What is timed is what is
around it: our session and our threads against loops of raw calls of TensorRT's API and PyCUDA, written by hand in
`_gpu_loops.py`, on the same engine and measured alternately; ONNX Runtime alone stands beside them. Ratios are medians of pairs
with an interval, see `pytest_trt.bench.stability`; one hand-written loop against another shows what the method tells apart.

The last table holds wanted, measured, met or not. Exit status 1: something that is wanted is not met, or a part failed. With
`--device cpu` the same is done without a GPU, to try this file: times are not judged there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import _gpu_clock
import _gpu_session
import _gpu_threads
import cuda_oracle
from _gpu_measure import Report
from _gpu_setup import ON_CPU, ON_CUDA, Bench, emulator_on, find_cuda

DEEP_SIZE, QUICK_SIZE = 224, 32
ORACLE_SECONDS = 150.0


def judge_oracle(bench: Bench) -> None:
    """Hold the oracle against the kernels of ONNX Runtime's provider."""
    report, on_cpu = bench.report, bench.ordinal is None
    where = f"ONNX Runtime's {'CPU' if on_cpu else 'CUDA'} provider, no TensorRT and no emulator"
    outputs = 100 if bench.quick else 2 * cuda_oracle.ENOUGH + cuda_oracle.ENOUGH // 2
    workers = min(2 if bench.quick else 16, os.cpu_count() or 1)
    began = time.monotonic()
    tally = cuda_oracle.measure(
        outputs=outputs,
        seed=3000,
        seconds=ORACLE_SECONDS,
        provider="cpu" if on_cpu else "cuda",
        sm=bench.rt.gpu.sm,
        workers=workers,
        ordinal=bench.ordinal or 0,
    )
    seconds = time.monotonic() - began
    for line in cuda_oracle.describe(tally):
        report.say(line, where)
    report.say(f"{workers} processes, {seconds:.0f} s", where)
    least = min(outputs, cuda_oracle.ENOUGH)
    report.want(
        "outputs of the provider that the oracle judged, fp32, TF32 and fp16",
        f">= {least:,}",
        f"{tally.outputs:,}",
        tally.outputs >= least,
        is_time=False,
    )
    report.want("of them unexplained", "0", f"{len(tally.refused)}", not tally.refused, is_time=False)
    report.data["oracle"] = {
        "outputs": tally.outputs,
        "data": tally.data,
        "distinct": tally.distinct,
        "admitted": {" ".join(key): count for key, count in sorted(tally.admitted.items())},
        "defects": {" ".join(key): count for key, count in sorted(tally.defects.items())},
        "refused": tally.refused,
        "failed": tally.failed,
        "seconds": seconds,
    }


PARTS: dict[str, Callable[[Bench], None]] = {
    "session": _gpu_session.run,
    "clock": _gpu_clock.run,
    "threads": _gpu_threads.run,
    "oracle": judge_oracle,
}


def run_parts(bench: Bench, names: list[str], path: Path | None = None) -> None:
    """Run parts one after the other, and write what there is to a file after each.

    A part that fails is told, and does not keep the others from running.
    """
    for name in names:
        began = time.monotonic()
        bench.report.say(f"== {name}")
        try:
            PARTS[name](bench)
        except Exception as error:
            traceback.print_exc(file=sys.stdout)
            told = f"{type(error).__name__}: {error}".splitlines()[0]
            bench.report.want(f"part {name!r} runs", "to its end", told, False, is_time=False)
        bench.report.say(f"== {name}: {time.monotonic() - began:.0f} s")
        if path is not None:
            text = json.dumps(bench.report.to_plain(), indent=1)
            path.write_text(text + "\n", encoding="utf-8")


def read_parts(text: str) -> list[str]:
    """Return the names of parts that a list with commas holds."""
    names = [name for name in text.split(",") if name]
    bad = [name for name in names if name not in PARTS]
    if bad or not names:
        raise argparse.ArgumentTypeError(f"bad part {text!r}; good: {','.join(PARTS)}")
    return names


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or cpu to try this file")
    parser.add_argument("--only", type=read_parts, default=list(PARTS), help="parts, with commas between")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    parser.add_argument("--quick", action="store_true", help="small networks, few repetitions")
    given = parser.parse_args()
    on_cpu = given.device == "cpu"
    report = Report(ON_CPU if on_cpu else ON_CUDA, judges_times=not on_cpu)
    with emulator_on(given.device) as rt:
        report.data["runtime"] = rt.title
        report.data["gpu"] = rt.gpu.title
        report.say(f"{rt.title}, {rt.gpu.title}, Python {sys.version.split()[0]}")
        bench = Bench(
            rt=rt,
            cuda=find_cuda(rt),
            ordinal=None if on_cpu else int(given.device.partition(":")[2] or 0),
            report=report,
            quick=given.quick,
            batches=(1, 2, 4) if on_cpu and given.quick else (1, 8, 64),
            size=QUICK_SIZE if given.quick else DEEP_SIZE,
        )
        run_parts(bench, given.only, given.json)
    print(f"\n{report.where}")
    print("\n".join(report.table()))
    return int(not report.is_met)


if __name__ == "__main__":
    sys.exit(main())
