"""Faults of contexts and engines for the tests of single relations: each breaks one relation and no other."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from pytest_trt.emulator.plan import Plan


def _turn_over(site):
    for values in site.outputs.values():
        values[...] = -values


def wrong_after_another_context_of_the_main_thread(site):
    """A context that had run before is wrong after another one ran, both in the main thread."""
    if site.kind != "execute" or site.thread_id != threading.main_thread().ident:
        return
    last = site.memory.get(site.engine_id, site.context_id)
    site.memory[site.engine_id] = site.context_id
    if site.run_index and last != site.context_id:
        _turn_over(site)


def fifth_context_wrong_after_another_thread(site):
    """The fifth context is wrong when another thread ran just before; it is gone before contexts are made under load."""
    if site.kind != "execute":
        return
    threads = site.memory.setdefault(site.engine_id, set())
    threads.add(site.thread_id)
    if site.context_id == 5 and len(threads) > 1:
        _turn_over(site)


def nothing_written_where_nan(site):
    """Elements whose value is NaN are not written: the poison of the buffer looks just like them."""
    if site.kind == "execute":
        for name, values in site.outputs.items():
            site.outputs[name] = np.ma.masked_array(values, np.isnan(values))


def loaded_again_differs(site):
    """A plan that was not built just before it is loaded comes with other weights."""
    if site.kind == "build":
        site.memory["fresh"] = site.memory.get("fresh", 0) + 1
    if site.kind != "load":
        return
    if site.memory.get("fresh", 0):
        site.memory["fresh"] -= 1
        return
    plan = Plan.unpack(site.plan)
    model = onnx.ModelProto.FromString(plan.model)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(values + 1, tensor.name))
    site.plan = replace(plan, model=model.SerializeToString(), compiled=b"").pack()


def first_refit_scrambles(site):
    """The first refit of an engine puts other numbers in, the second one is right."""
    if site.kind == "refit":
        site.memory["refits"] = site.memory.get("refits", 0) + 1
        if site.memory["refits"] == 1:
            site.weights = {name: values + 1 for name, values in site.weights.items()}


def large_inputs_saturate(site):
    """Inputs beyond 8 are taken for 8."""
    if site.kind == "execute" and any(np.abs(x).max() > 8 for x in site.inputs.values()):
        for values in site.outputs.values():
            values *= 0.5
