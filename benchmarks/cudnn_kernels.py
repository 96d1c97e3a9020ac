"""How often the check refuses what cuDNN and cuBLAS give on this GPU, and which rung of the ladder they need.

    python benchmarks/cudnn_kernels.py [--configurations 400] [--seed 2000]      (needs PyTorch with CUDA)

The configurations and the fourteen kinds of data of `python -m pytest_trt bite`, FP32, TF32, FP16 and BF16, each with and without
cuDNN's search for the fastest algorithm. PyTorch computes the product with its bias, the residual addition and the ReLU one after
the other. These kernels share nothing with the emulator. Exit status 1: an output that no rung admits.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from onnx import numpy_helper

from pytest_trt.bite.data import draw
from pytest_trt.bite.problems import Problem, make_problem, number_problems
from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.numerics.battery import STRUCTURED
from pytest_trt.records import BATTERIES, CONFORMS, RUNGS

TYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def compute(problem: Problem, feeds: dict[str, Any], constants: dict[str, Any], *, search: bool) -> Any:
    """Return the output on the GPU as float32 numbers."""
    kind = TYPES[problem.contract]
    torch.backends.cudnn.benchmark = search
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = problem.contract == "tf32"

    def put(values: Any) -> Any:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to("cuda", kind)

    x, w = put(feeds["x"]), put(constants["w"])
    bias = put(constants["b"]) if "b" in constants else None
    if problem.is_gemm:
        y = torch.nn.functional.linear(x, w if problem.transposed else w.T, bias)
    else:
        top, left, bottom, right = problem.pads
        padded = torch.nn.functional.pad(x, (left, right, top, bottom))
        y = torch.nn.functional.conv2d(padded, w, bias, problem.strides, 0, problem.dilations, problem.groups)
    if "r" in feeds:
        y = y + put(feeds["r"])
    if problem.relu:
        y = torch.relu(y)
    return y.float().cpu().numpy()


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--configurations", type=int, default=400)
    parser.add_argument("--seed", type=int, default=2000)
    given = parser.parse_args()
    major, minor = torch.cuda.get_device_capability()
    rungs: Counter[tuple[str, str]] = Counter()
    refused: list[str] = []
    for contract, seed in number_problems(tuple(TYPES), given.configurations, given.seed):
        problem = make_problem(contract, seed)
        promise = replace(problem.promise, sm=10 * major + minor)
        for kind in BATTERIES["full"]:
            drawn = draw(problem, kind)
            constants = {
                t.name: _numbers(t, contract) for t in drawn.model.graph.initializer if t.name in ("w", "b")
            }
            admissible = Admissible(Graph(drawn.model), drawn.values, promise, RUNGS)
            for search in (False, True):
                got = compute(problem, drawn.values, constants, search=search)
                judged = admissible.judge("y", got, statistics=kind not in STRUCTURED)
                if judged.status == CONFORMS:
                    rungs[contract, judged.rung] += 1
                else:
                    seen = judged.measure
                    refused.append(
                        f"{kind}: {problem.text}: {judged.status}, {seen.cause}, {seen.bad} of {seen.total}, at "
                        f"{seen.index} got {seen.got!r}, allowed [{seen.low!r}, {seen.high!r}]"
                    )
    print(
        f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    )
    for contract in TYPES:
        told = ", ".join(f"{rung} {rungs[contract, rung]}" for rung in RUNGS if rungs[contract, rung])
        print(f"{contract}: {told}")
    print(f"refused {len(refused)} of {len(refused) + sum(rungs.values())} outputs")
    for line in refused[:20]:
        print(f"  {line}")
    return int(bool(refused))


def _numbers(tensor: Any, contract: str) -> Any:
    values = numpy_helper.to_array(tensor)
    if contract == "bf16" and values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
