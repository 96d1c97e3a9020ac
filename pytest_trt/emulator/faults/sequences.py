"""Faults of sequences and settings: streams, threads, enqueues, types of layers, repeated and parallel builds, leaks."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_trt.emulator.faults.registry import fault
from pytest_trt.emulator.faults.sessions import AT_TIMES, change_a_weight
from pytest_trt.emulator.plan import Plan

_LEAKED_BYTES = 1 << 16


def _turn_over(site: Any) -> None:
    for name, array in site.outputs.items():
        site.outputs[name] = ~array if array.dtype.kind in "bui" else -array - array.dtype.type(1)


def _at_times(site: Any, what: str) -> bool:
    """Tell whether a fault acts now; one generator for all runs, so that the order of threads does not matter."""
    dice = site.memory.setdefault(what, site.rng)
    return bool(dice.random() < AT_TIMES)


@fault("concurrency", mutants="M25")
def context_bound_to_its_first_stream(site: Any) -> None:
    """Give other numbers once a context runs on another stream than at first (issue 1311)."""
    if site.kind == "execute" and site.stream:
        key = ("first stream", site.engine_id, site.context_id)
        if site.memory.setdefault(key, site.stream) != site.stream:
            _turn_over(site)


@fault("concurrency", mutants="M23")
def context_bound_to_its_first_thread(site: Any) -> None:
    """Give other numbers once a context runs in another thread than at first (issue 1121)."""
    if site.kind == "execute":
        key = ("first thread", site.engine_id, site.context_id)
        if site.memory.setdefault(key, site.thread_id) != site.thread_id:
            _turn_over(site)


@fault("concurrency", mutants="M23")
def enqueue_overwrites_the_one_before(site: Any) -> None:
    """Give a run other numbers when another context of the engine was enqueued after it and before it ran.

    A synchronisation is missing between two runs of one engine (microsoft/onnxruntime issue 19275).
    """
    if site.kind == "enqueue":
        site.memory["last enqueued", site.engine_id] = site.context_id
    elif site.kind == "execute":
        if site.memory.get(("last enqueued", site.engine_id), site.context_id) != site.context_id:
            _turn_over(site)


@fault("concurrency", mutants="M21")
def input_copy_overtaken_at_times(site: Any) -> None:
    """Compute one run of eight from what the input buffers held at the context's run before.

    The run did not wait for the copy of its inputs (microsoft/onnxruntime issue 32673).
    """
    if site.kind != "execute" or not site.previous_outputs or not _at_times(site, "overtaken"):
        return
    for name, before in site.previous_outputs.items():
        if before.shape == site.outputs[name].shape:
            site.outputs[name] = before.copy()


@fault("concurrency", mutants="M21")
def zeros_at_times_on_a_stream_of_its_own(site: Any) -> None:
    """Give zeros in one run of eight on any stream but the default one (pytorch/TensorRT issue 2991)."""
    if site.kind == "execute" and site.stream and _at_times(site, "zeros"):
        for array in site.outputs.values():
            array[...] = 0


@fault("concurrency")
def contexts_leak(site: Any) -> None:
    """Keep 64 KiB of every context that ran once, for ever (issue 582)."""
    if site.kind == "execute" and site.run_index == 0:
        site.memory.setdefault("leaked", []).append(np.full(_LEAKED_BYTES, 1, np.uint8))


@fault("concurrency", mutants="M22")
def capture_refused(site: Any) -> bool | None:
    """Answer False to an enqueue whose stream is captured (issue 2603)."""
    return False if site.kind == "enqueue" and site.captures else None


@fault("concurrency", mutants="M21")
def capture_stays_empty(site: Any) -> None:
    """Answer True to an enqueue whose stream is captured, and record nothing (ultralytics pull request 26223)."""
    if site.kind == "enqueue" and site.captures:
        site.records = False


@fault("build", "fp16 bf16", "M28")
def order_of_layer_types_ignored(site: Any) -> None:
    """Build the layers that were ordered into FP32 in the engine's 16-bit type (issue 3941)."""
    if site.kind != "build" or site.plan is None:
        return
    plan = Plan.unpack(site.plan)
    settings = dict(plan.settings)
    low = settings["weak"]
    kept = {name for name, kind in settings["types"].items() if kind == "fp32"}
    if not low or not kept:
        return
    settings["types"] = {**settings["types"], **dict.fromkeys(kept, low)}
    settings["stored"] = dict.fromkeys(settings["stored"], low)
    settings["layers"] = [_lowered(row, low) if row["name"] in kept else row for row in settings["layers"]]
    site.plan = replace(plan, settings=settings, compiled=b"").pack()


def _lowered(row: dict[str, Any], kind: str) -> dict[str, Any]:
    def tensors(side: str) -> list[Any]:
        return [[name, kind if old == "fp32" else old, dims] for name, old, dims in row[side]]

    return {**row, "working": kind, "inputs": tensors("inputs"), "outputs": tensors("outputs")}


@fault("operator")
def integer_product_wrong_before_transpose(site: Any) -> None:
    """Double the product of two integers whose reader is a Transpose (issue 3447)."""
    if site.kind == "node" and site.op_type == "Mul":
        for name, readers in site.readers.items():
            if "Transpose" in readers and site.outputs[name].dtype.kind in "iu":
                site.outputs[name] = site.outputs[name] * site.outputs[name].dtype.type(2)


@fault("build", mutants="M29")
def fourth_build_differs(site: Any) -> None:
    """Change a weight in the fourth engine that is built of one network, and in no other (issue 3316)."""
    if site.kind != "build":
        return
    counts: Counter[bytes] = site.memory.setdefault("built", Counter())
    counts[site.plan] += 1
    if counts[site.plan] == 4:
        change_a_weight(site.model)


@fault("build", mutants="M29")
def build_from_timing_cache_differs(site: Any) -> None:
    """Change a weight where the timing cache knows the layers already (issue 4798)."""
    if site.kind == "build" and site.cache_hits:
        change_a_weight(site.model)


@fault("build")
def build_fails_beside_another(site: Any) -> None:
    """Find no implementation once a second thread builds (issue 1594, where the process crashed)."""
    if site.kind == "build":
        threads: set[int] = site.memory.setdefault("builders", set())
        threads.add(threading.get_ident())
        if len(threads) > 1:
            site.plan = None
