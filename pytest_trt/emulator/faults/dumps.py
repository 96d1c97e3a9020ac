"""Faults of the ways to run an engine and to look into it: `execute_v2` beside `execute_async_v3`, events, debug tensors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from pytest_trt.emulator.faults.registry import fault


@fault("execution")
def synchronous_run_differs_in_the_last_bit(site: Any) -> None:
    """Let `execute_v2` give one element that is off by its last bit: another kernel ran."""
    if site.kind != "execute" or site.stream != 0:
        return
    for array in site.outputs.values():
        if array.size and array.dtype.kind == "f":
            last = (-1,) * array.ndim
            array[last] = np.nextafter(array[last], array.dtype.type(np.inf))


@fault("execution")
def enqueue_waits_until_done(site: Any) -> None:
    """Let `execute_async_v3` come back only when the stream has nothing left to do."""
    if site.kind == "enqueue" and not site.synchronous:
        site.waits = True


@fault("execution")
def enqueue_without_an_address_is_taken(site: Any) -> None:
    """Let `execute_async_v3` answer True when an address is missing."""
    if site.kind == "enqueue" and not site.synchronous:
        site.missing.clear()


@fault("execution")
def synchronous_run_without_an_address_is_taken(site: Any) -> None:
    """Let `execute_v2` answer True when a binding is null."""
    if site.kind == "enqueue" and site.synchronous:
        site.missing.clear()


@fault("execution")
def debug_sync_tells_nothing(site: Any) -> None:
    """Let `execute_v2` log no layer with `debug_sync` on."""
    if site.kind == "enqueue" and site.synchronous:
        site.logs_layers = False


@fault("execution")
def asynchronous_run_tells_its_layers(site: Any) -> None:
    """Let `execute_async_v3` log each layer with `debug_sync` on."""
    if site.kind == "enqueue" and not site.synchronous:
        site.logs_layers = site.debug_sync


@fault("execution")
def input_event_never_fires(site: Any) -> None:
    """Take the event of consumed inputs, and never record it."""
    if site.kind == "enqueue":
        site.event_fires = "never"


@fault("execution")
def input_event_fires_before_the_inputs_are_read(site: Any) -> None:
    """Record the event of consumed inputs when the run is enqueued."""
    if site.kind == "enqueue":
        site.event_fires = "enqueue"


@fault("execution")
def debug_listener_is_called_twice(site: Any) -> None:
    """Show each debug tensor twice in one run."""
    if site.kind == "debug":
        site.calls *= 2


@fault("execution")
def debug_listener_is_not_called(site: Any) -> None:
    """Show no debug tensor."""
    if site.kind == "debug":
        site.calls = 0


@fault("execution")
def debug_listener_is_called_while_off(site: Any) -> None:
    """Show debug tensors whose state is off."""
    if site.kind == "debug":
        site.calls = 1


@fault("execution")
def debug_tensor_is_of_another_layer(site: Any) -> None:
    """Show the values of another debug tensor of the same shape and type."""
    if site.kind != "debug":
        return
    for name, other in site.others.items():
        alike = other.shape == site.values.shape and other.dtype == site.values.dtype
        if name != site.name and alike and not np.array_equal(other, site.values):
            site.values = other
            return


@fault("execution")
def marked_output_is_of_another_layer(site: Any) -> None:
    """Exchange the values of marked outputs of one shape and type."""
    if site.kind != "execute":
        return
    marked = [name for name in site.outputs if name in site.marked_outputs]
    for one, other in pairwise(marked):
        first, second = site.outputs[one], site.outputs[other]
        if first.shape == second.shape and first.dtype == second.dtype:
            site.outputs[one], site.outputs[other] = second, first
            return


@fault("execution")
def marking_changes_the_output(site: Any) -> None:
    """Give twice the value of the last element where a tensor is marked besides (issue 305)."""
    if site.kind == "execute" and site.marked_outputs:
        for name, array in site.outputs.items():
            if name not in site.marked_outputs and array.size:
                site.outputs[name] = array.copy()
                flat = site.outputs[name].reshape(-1)
                flat[-1] = 2 * flat[-1] + 1
