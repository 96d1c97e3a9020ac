"""Faults of contexts in threads: each breaks one relation of `check_threads` and no other."""

from __future__ import annotations

import threading

import numpy as np

from pytest_trt.emulator.faults.registry import FAULTS


def _turn_over(site):
    for name, values in site.outputs.items():
        site.outputs[name] = -values - 1


def _in_main_thread(site):
    return site.thread_id == threading.main_thread().ident


def later_enqueue_wins_in_the_main_thread(site):
    """A run is wrong where the same thread enqueued another one before it was waited for."""
    if site.kind in ("enqueue", "execute") and not _in_main_thread(site):
        return
    FAULTS["enqueue_overwrites_the_one_before"].call(site)


def wrong_after_many_runs_in_a_thread(site):
    """A context is wrong in its sixth run in the thread that it ran in first, if that is not the main one."""
    if site.kind != "execute" or _in_main_thread(site):
        return
    counts = site.memory.setdefault(("runs", site.engine_id, site.context_id), {})
    counts[site.thread_id] = counts.get(site.thread_id, 0) + 1
    if len(counts) == 1 and counts[site.thread_id] == 6:
        _turn_over(site)


def wrong_with_the_inputs_of_another_thread(site):
    """A context is wrong from its eighth run on in a thread; one that is short-lived does not get there."""
    if site.kind == "execute" and not _in_main_thread(site) and site.run_index >= 7:
        _turn_over(site)


def twentieth_context_wrong(site):
    """From the twentieth context of an engine on, answers are wrong."""
    if site.kind == "execute" and site.context_id >= 20:
        _turn_over(site)


def poisoned_tail(site):
    """A context other than the first leaves the last eighth of its outputs unwritten."""
    if site.kind == "execute" and site.context_id > 1:
        for name, values in site.outputs.items():
            hidden = np.zeros(values.shape, bool)
            hidden.reshape(-1)[-(values.size // 8) :] = True
            site.outputs[name] = np.ma.masked_array(values, hidden)
