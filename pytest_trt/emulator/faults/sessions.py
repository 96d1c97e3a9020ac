"""Faults that take more than one run to show: stale buffers, contexts and streams, refit, rebuild.

`site.memory` tells the runs of one emulated TensorRT from each other, by engine and context.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pytest_trt.emulator.faults.registry import fault

# The probability of the faults that act at times.
AT_TIMES = 1 / 8


def _mask(array: NDArray[Any], place: slice) -> NDArray[Any]:
    """Return an output of which a part is not written."""
    hidden = np.zeros(array.shape, bool)
    hidden.reshape(-1)[place] = True
    masked: NDArray[Any] = np.ma.masked_array(array, hidden)
    return masked


def _tail(array: NDArray[Any]) -> slice:
    return slice(array.size - -(-array.size // 8), None)


@fault("concurrency", mutants="M21")
def previous_output_returned(site: Any) -> None:
    """Report success, and give the outputs of the context's run before (ultralytics pull request 26223)."""
    if site.kind != "execute":
        return
    for name, array in site.outputs.items():
        before = site.previous_outputs.get(name)
        if before is not None and before.shape == array.shape:
            site.outputs[name] = before.copy()


@fault("concurrency", mutants="M21")
def zeros_returned(site: Any) -> None:
    """Report success, and give zeros (pytorch/TensorRT issue 2991)."""
    if site.kind == "execute":
        for array in site.outputs.values():
            array[...] = 0


@fault("concurrency", mutants="M21")
def nothing_written(site: Any) -> None:
    """Report success, and leave the output buffers as they were."""
    if site.kind == "execute":
        for name, array in site.outputs.items():
            site.outputs[name] = _mask(array, slice(None))


@fault("concurrency", mutants="M21")
def output_tail_not_written(site: Any) -> None:
    """Report success, and leave the last eighth of each output buffer as it was."""
    if site.kind == "execute":
        for name, array in site.outputs.items():
            site.outputs[name] = _mask(array, _tail(array))


@fault("concurrency", mutants="M22")
def every_enqueue_fails(site: Any) -> bool | None:
    """Answer False to every enqueue (pytorch/TensorRT issues 4427 and 4481)."""
    return False if site.kind in ("enqueue", "execute") else None


@fault("concurrency", mutants="M22")
def third_enqueue_fails(site: Any) -> bool | None:
    """Answer False to the third run of a context, and to no other."""
    return False if site.kind in ("enqueue", "execute") and site.run_index == 2 else None


def exchange_rows(site: Any, chance: float) -> None:
    """Put a row of the last run of another context of the engine into the outputs, as often as the chance has it.

    The dice are thrown once a run whoever runs, so that how often it happens does not depend on the order of threads.
    """
    if site.kind != "execute":
        return
    hit, place = site.memory.setdefault("exchange dice", site.rng).random(2)
    answers = site.memory.setdefault(("exchange", site.engine_id), {})
    others = [outputs for context, outputs in list(answers.items()) if context != site.context_id]
    answers[site.context_id] = {name: np.array(array) for name, array in site.outputs.items()}
    if hit >= chance or not others:
        return
    other = others[int(place * len(others))]
    for name, array in site.outputs.items():
        if array.ndim and array.size and other[name].shape[1:] == array.shape[1:]:
            array[-1] = other[name][-1]


@fault("concurrency", mutants="M23")
def contexts_exchange_rows(site: Any) -> None:
    """Give the last row of another context's last run (issues 1121, 2040 and 2353)."""
    exchange_rows(site, 1.0)


@fault("concurrency", mutants="M23")
def contexts_exchange_rows_at_times(site: Any) -> None:
    """Give the last row of another context's last run in one run of eight (microsoft/onnxruntime issue 19275)."""
    exchange_rows(site, AT_TIMES)


def _ran_since(site: Any, what: str, value: int) -> bool:
    """Tell whether the engine's last run was of another context, stream or thread; remember this one."""
    last = site.memory.get((what, site.engine_id))
    site.memory[what, site.engine_id] = value
    return last is not None and last != value


@fault("concurrency", mutants="M24")
def context_wrong_after_another_ran(site: Any) -> None:
    """Give a context that had run before the rows in reverse once another context ran in between (issue 2648)."""
    if site.kind == "execute" and _ran_since(site, "context", site.context_id) and site.run_index:
        for array in site.outputs.values():
            array[...] = array[::-1] if array.ndim and len(array) > 1 else -array


@fault("concurrency", mutants="M25")
def tail_read_early_on_another_stream(site: Any) -> None:
    """Leave the tail of the outputs unwritten when the engine's last run was on another stream (issue 32673 of ONNX Runtime)."""
    if site.kind == "execute" and _ran_since(site, "stream", site.stream):
        output_tail_not_written(site)


@fault("concurrency", mutants="M25")
def tail_read_early_in_another_thread(site: Any) -> None:
    """Give the context's old tail when the engine's last run was in another thread (issue 1367)."""
    if site.kind != "execute" or not _ran_since(site, "thread", site.thread_id):
        return
    for name, array in site.outputs.items():
        before = site.previous_outputs.get(name)
        if before is not None and before.shape == array.shape:
            array.reshape(-1)[_tail(array)] = before.reshape(-1)[_tail(array)]


@fault("concurrency", mutants="M24")
def many_contexts_corrupt_the_last(site: Any) -> None:
    """Give zeros from the eighth context of an engine on, however few are alive (issue 582)."""
    if site.kind == "execute" and site.context_id >= 8:
        zeros_returned(site)


@fault("concurrency", mutants="M21")
def synchronous_run_writes_nothing(site: Any) -> None:
    """Let execute_v2, which has no stream, report success and leave the outputs as they were."""
    if site.kind == "execute" and site.stream == 0:
        nothing_written(site)


@fault("refit", mutants="M26")
def refit_permutes_weights(site: Any) -> None:
    """Reverse every array of weights that is put in (issues 1468 and 1501)."""
    if site.kind == "refit":
        site.weights = {n: a.reshape(-1)[::-1].reshape(a.shape).copy() for n, a in site.weights.items()}


@fault("refit", mutants="M26")
def refit_ignored(site: Any) -> None:
    """Report success, and keep the old weights."""
    if site.kind == "refit":
        site.weights = {}


@fault("refit", "fp16 fp16acc", "M26")
def refit_gives_nan_in_fp16(site: Any) -> None:
    """Put NaN into the first array of weights of an FP16 engine (pytorch/TensorRT issue 3437)."""
    if site.kind == "refit" and site.precision == "fp16":
        for array in list(site.weights.values())[:1]:
            array.reshape(-1)[:1] = np.nan


@fault("refit", mutants="M26")
def refit_fails(site: Any) -> None:
    """Answer False to a refit."""
    if site.kind == "refit":
        site.weights = None


def change_a_weight(model: onnx.ModelProto) -> None:
    """Change one value of the weights that the first product reads: by a quarter, or one level of an integer."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            continue
        name = node.input[1]
        while name not in tensors and name in makers:
            name = makers[name].input[0]
        if name in tensors:
            tensor = tensors[name]
            values = np.array(numpy_helper.to_array(tensor))
            flat = values.reshape(-1)
            if tensor.data_type == TensorProto.BFLOAT16:  # numpy has no such type
                floats = values.astype(np.float32).reshape(-1)
                floats[0] = floats[0] * 1.25 + 0.125
                made = helper.make_tensor(tensor.name, tensor.data_type, values.shape, floats.tolist())
            else:
                flat[0] = -flat[0] - 1 if values.dtype.kind in "iu" else flat[0] * 1.25 + 0.125
                made = numpy_helper.from_array(values, tensor.name)
            tensor.CopyFrom(made)
            return


@fault("build", mutants="M29")
def every_second_build_differs(site: Any) -> None:
    """Change a weight in each second engine that is built (issue 4798)."""
    if site.kind == "build":
        site.memory["builds"] = site.memory.get("builds", 0) + 1
        if site.memory["builds"] % 2 == 0:
            change_a_weight(site.model)


@fault("build", mutants="M29")
def rebuilt_engine_differs(site: Any) -> None:
    """Change a weight when the same network is built again with the same settings (issue 4730)."""
    if site.kind == "build":
        seen: Counter[bytes] = site.memory.setdefault("plans", Counter())
        seen[site.plan] += 1
        if seen[site.plan] > 1:
            change_a_weight(site.model)
