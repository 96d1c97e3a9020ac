"""How often the check refuses what ONNX Runtime's CUDA provider gives on this GPU, and which rung of the ladder it needs.

    python benchmarks/cuda_oracle.py [--outputs 25000] [--seed 3000] [--seconds 150] [--provider cuda]

The configurations and the fourteen kinds of data of `python -m pytest_trt bite`, in FP32, TF32 and FP16, each with two ways to
choose cuDNN's algorithm (`cudnn_conv_algo_search`), one configuration in eight with the exhaustive one too. No TensorRT and no
emulator takes part: the typed graph goes to ONNX Runtime, and a node that the GPU would not compute is an error
(`session.disable_cpu_ep_fallback`). An output is one output array of one configuration and one kind of data by one way; equal
bits are judged once and counted as often as they came. Weights are inputs, so that one session serves all kinds. An output that
no rung admits, and that comes from a kernel of `_cudnn_defects.py` and has nothing wrong besides, is explained, and counted
apart; PyTorch's profiler names the kernels.

Each process computes and judges whole configurations. With `--provider cpu` it runs without a GPU, which tests this file.
Exit status 1: an output that is not explained, or fewer outputs than asked for, where 10,000 are enough.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from _cudnn_defects import DEFECTS, explain
from numpy.typing import NDArray
from onnx import numpy_helper

from pytest_trt import hardware
from pytest_trt.bite.data import draw
from pytest_trt.bite.problems import make_problem, number_problems
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.numerics.battery import STRUCTURED
from pytest_trt.records import BATTERIES, CONFORMS, RUNGS

Array = NDArray[Any]

PRECISIONS = ("fp32", "tf32", "fp16")
SEARCHES = ("HEURISTIC", "DEFAULT")
# The exhaustive search times every algorithm that there is, which takes a second at times.
EXHAUSTIVE, EXHAUSTIVE_EVERY = "EXHAUSTIVE", 8
CPU = "CPU"  # the one way to compute of a provider that searches for nothing
KINDS = BATTERIES["full"]
ENOUGH = 10_000
MOST_FAILED = 200
# What one process computes and judges between two looks at the clock.
AT_ONCE = 2


@dataclass
class Tally:
    """What came of some configurations.

    Attributes
    ----------
    admitted : Counter of (str, str, str)
        Precision, way to choose the algorithm and rung, to how many outputs.
    data : int
        Pairs of a configuration and a kind of data.
    distinct : int
        Outputs that differ in a bit from those of the other ways on the same data, or are the first.
    defects : Counter of (str, str, str)
        Precision, way to choose the algorithm and explanation, to how many outputs that no rung admits.
    refused : list of str
        Other outputs that no rung admits, in words.
    failed : list of str
        What the provider did not compute, in words.
    """

    admitted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    data: int = 0
    distinct: int = 0
    defects: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> int:
        """How many were judged."""
        return sum(self.admitted.values()) + sum(self.defects.values()) + len(self.refused)

    def add(self, other: Tally) -> None:
        """Take in what came of others."""
        self.admitted.update(other.admitted)
        self.data += other.data
        self.distinct += other.distinct
        self.defects.update(other.defects)
        self.refused += other.refused
        self.failed += other.failed


def with_free_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose weights are inputs."""
    free = onnx.ModelProto()
    free.CopyFrom(model)
    for tensor in model.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        free.graph.input.append(value)
    del free.graph.initializer[:]
    return free


def make_session(
    model: onnx.ModelProto, provider: str, search: str, *, tf32: bool, ordinal: int = 0
) -> ort.InferenceSession:
    """Return a session of which every node runs on the provider; `search` counts for CUDA alone."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if provider == "cpu":
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    settings = {
        "device_id": str(ordinal),
        "use_tf32": str(int(tf32)),
        "cudnn_conv_algo_search": search,
        "arena_extend_strategy": "kSameAsRequested",
    }
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=[("CUDAExecutionProvider", settings)]
    )
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime did not load its CUDA provider")
    return session


def judge_configuration(
    precision: str, seed: tuple[int, ...], provider: str, sm: int | None, ordinal: int = 0
) -> Tally:
    """Return what comes of one configuration on all kinds of data."""
    tally = Tally()
    problem = make_problem(precision, seed)
    promise = replace(problem.promise, sm=sm)
    if provider == "cpu":
        searches: tuple[str, ...] = (CPU,)
    else:
        searches = SEARCHES + (EXHAUSTIVE,) * (seed[-1] // len(PRECISIONS) % EXHAUSTIVE_EVERY == 0)
    sessions: dict[tuple[str, bytes], ort.InferenceSession] = {}
    for kind in KINDS:
        drawn = draw(problem, kind)
        free = with_free_weights(drawn.model)
        weights = {t.name: numpy_helper.to_array(t) for t in drawn.model.graph.initializer}
        feeds = {**drawn.feeds, **weights}
        admissible = Admissible(Graph(drawn.model), drawn.values, promise, RUNGS)
        known: dict[bytes, str] = {}  # the bits of an output to its rung, or to why it is refused
        tally.data += 1
        for search in searches:
            try:
                key = (search, free.SerializeToString())
                if key not in sessions:
                    sessions[key] = make_session(
                        free, provider, search, tf32=precision == "tf32", ordinal=ordinal
                    )
                (got,) = sessions[key].run(["y"], feeds)
            except Exception as error:  # ONNX Runtime's errors have no common class
                tally.failed.append(f"{search}, {kind}: {problem.text}: {type(error).__name__}: {error}")
                continue
            bits = got.tobytes()
            if bits not in known:
                known[bits] = _judge(admissible, got, kind)
                if known[bits] not in RUNGS and provider == "cuda":
                    kernels = name_kernels(partial(sessions[key].run, ["y"], feeds))
                    found = explain(problem, drawn, got, partial(_conforms, admissible, kind), kernels)
                    known[bits] = found or f"{known[bits]}; kernels {', '.join(kernels) or 'not known'}"
            if known[bits] in RUNGS:
                tally.admitted[precision, search, known[bits]] += 1
            elif known[bits] in DEFECTS:
                tally.defects[precision, search, known[bits]] += 1
            else:
                tally.refused.append(f"{search}, {kind}: {problem.text}: {known[bits]}")
        tally.distinct += len(known)
    return tally


def name_kernels(run: Callable[[], Any]) -> list[str]:
    """Return the names of the kernels that a run starts on the GPU, as CUPTI tells them; empty without PyTorch to ask it."""
    try:
        from torch.profiler import ProfilerActivity, profile
    except ImportError:
        return []
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
    return [event.key for event in seen.key_averages() if "(" in event.key or "_kernel" in event.key]


def _judge(admissible: Admissible, got: Array, kind: str) -> str:
    """Return the rung that admits an output, or why none does."""
    judged = admissible.judge("y", got.astype(np.float32), statistics=kind not in STRUCTURED)
    if judged.status == CONFORMS:
        return judged.rung
    seen = judged.measure
    return (
        f"{judged.status}, {seen.cause}, {seen.bad} of {seen.total}, at {seen.index} got {seen.got!r}, "
        f"allowed [{seen.low!r}, {seen.high!r}]"
    )


def _conforms(admissible: Admissible, kind: str, got: Array) -> bool:
    return _judge(admissible, got, kind) in RUNGS


def judge_many(
    batch: list[tuple[str, tuple[int, ...]]], provider: str, sm: int | None, ordinal: int
) -> Tally:
    """Return what comes of some configurations, in a process of the pool."""
    ort.set_default_logger_severity(4)  # what does not work is raised and counted
    tally = Tally()
    for precision, seed in batch:
        tally.add(judge_configuration(precision, seed, provider, sm, ordinal))
    return tally


def measure(
    *, outputs: int, seed: int, seconds: float, provider: str, sm: int | None, workers: int, ordinal: int = 0
) -> Tally:
    """Return what comes of configurations until there are as many outputs as asked for, or the time is over."""
    # One process a core: none of them shall spread its sums over the others' cores. Spawned processes read this first.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    tally = Tally()
    end = time.monotonic() + seconds
    batches = _batches(seed)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: set[Future[Tally]] = set()
        while True:
            waiting = len(running) * AT_ONCE * len(KINDS) * (1 if provider == "cpu" else len(SEARCHES))
            is_over = time.monotonic() > end or tally.outputs + waiting >= outputs
            while not is_over and len(running) < 2 * workers:
                running.add(pool.submit(judge_many, next(batches), provider, sm, ordinal))
            if not running:
                if time.monotonic() > end or tally.outputs >= outputs:
                    return tally
                continue
            if not tally.outputs and len(tally.failed) >= MOST_FAILED:
                end = time.monotonic()  # nothing works here: the rest would not either
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                tally.add(future.result())


def _batches(seed: int) -> Iterator[list[tuple[str, tuple[int, ...]]]]:
    numbered = number_problems(PRECISIONS, 10**9, seed)
    while True:
        yield [next(numbered) for _ in range(AT_ONCE)]


def describe(tally: Tally) -> list[str]:
    """Return what was found, in lines."""
    lines = []
    for precision in PRECISIONS:
        for search in (*SEARCHES, EXHAUSTIVE, CPU):
            found = {rung: tally.admitted[precision, search, rung] for rung in RUNGS}
            if any(found.values()):
                told = ", ".join(f"{rung} {count}" for rung, count in found.items() if count)
                lines.append(f"{precision} {search.lower():<10} {told}")
    lines.append(
        f"{tally.outputs} outputs of {tally.data} pairs of a configuration and a kind of data, {tally.distinct} with bits of "
        "their own"
    )
    for (precision, search, defect), count in sorted(tally.defects.items()):
        lines.append(f"explained by a kernel of cuDNN, {precision} {search.lower()}: {defect}: {count}")
    lines.append(f"unexplained {len(tally.refused)} of {tally.outputs} outputs")
    lines += [f"  {line}" for line in tally.refused[:20]]
    if tally.failed:
        lines.append(f"not computed by the provider {len(tally.failed)}")
        lines += [f"  {line}" for line in tally.failed[:5]]
    return lines


def find_sm(ordinal: int) -> int | None:
    """Return the compute capability of a GPU as TensorRT writes it, 90 for 9.0; None where there is no GPU."""
    found = hardware.detect()
    gpu = found[ordinal].gpu_class if ordinal < len(found) else None
    return None if gpu is None else gpu.sm


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--outputs", type=int, default=25_000)
    parser.add_argument("--seed", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=150.0, help="no configuration is begun later")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--workers", type=int, default=min(16, os.cpu_count() or 1))
    given = parser.parse_args()
    sm = find_sm(0) if given.provider == "cuda" else None
    start = time.monotonic()
    tally = measure(
        outputs=given.outputs,
        seed=given.seed,
        seconds=given.seconds,
        provider=given.provider,
        sm=sm,
        workers=given.workers,
    )
    took = time.monotonic() - start
    print(
        f"ONNX Runtime {ort.__version__}, {given.provider} provider, limits of "
        f"{'any GPU' if sm is None else f'SM{sm}'}; {given.workers} processes, {took:.0f} s"
    )
    print("\n".join(describe(tally)))
    return int(bool(tally.refused) or tally.outputs < min(given.outputs, ENOUGH))


if __name__ == "__main__":
    sys.exit(main())
