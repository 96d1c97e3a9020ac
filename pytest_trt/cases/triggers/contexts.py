"""Bugs of contexts: profiles that take turns, several streams, threads that share an engine, contexts made without end."""

from __future__ import annotations

from functools import partial

import numpy as np

from pytest_trt.cases.triggers.registry import trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.concurrent import check_contexts
from pytest_trt.check.memory_guard import check_memory, why_no_reading
from pytest_trt.check.sequences import (
    HANDED,
    SIDE_BY_SIDE,
    STREAMS,
    check_profiles_in_turn,
    check_sequences,
    fresh_bases,
)
from pytest_trt.check.subject import wider
from pytest_trt.strategies import Case

# Two runs on integers, where bits are compared, and two on real numbers; no two contexts get the same.
DATA = ("int_small", "uniform11", "int_small", "uniform11")
FIXED = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
DYNAMIC = Case.parse("conv2d-n3-c5-o9-i6x5-k3x3-t1x1-p1x1x1x1-d1x1-g1-b1-q1x3x4-w_int-s2")


@trigger("B23", precisions="fp32 fp16 int8", faults="context_wrong_after_another_ran")
def one_context_for_each_profile(trial: Trial) -> None:
    """The context of the first profile, that of the second and the first again give what a lone context gives."""
    assert DYNAMIC.profile is not None
    trial.relate(
        DYNAMIC.model(),
        check_profiles_in_turn,
        DATA[:2],
        profile=DYNAMIC.profile,
        shapes=DYNAMIC.input_shapes,
        label=DYNAMIC.text,
        more_profiles=(wider(DYNAMIC.profile),),
    )


@trigger("B24", faults="context_bound_to_its_first_stream tail_read_early_on_another_stream")
def one_context_on_several_streams(trial: Trial) -> None:
    """One context gives the same answers on several streams, each run waited for before the next."""
    relations = partial(check_sequences, only=(STREAMS,))
    trial.relate(FIXED.model(), relations, DATA[:2], shapes=FIXED.input_shapes, label=FIXED.text)


@trigger("B25", precisions="fp32 int8", faults="contexts_exchange_rows tail_read_early_in_another_thread")
def threads_with_a_context_each(trial: Trial) -> None:
    """Python threads with a context, buffers and a stream each get their own answers."""
    trial.relate(FIXED.model(), check_contexts, DATA, shapes=FIXED.input_shapes, label=FIXED.text)


@trigger("B25", faults="context_bound_to_its_first_thread")
def one_context_from_thread_to_thread(trial: Trial) -> None:
    """A context that is handed from one Python thread to the next gives the same answers."""
    relations = partial(check_sequences, only=(HANDED,))
    trial.relate(FIXED.model(), relations, DATA[:2], shapes=FIXED.input_shapes, label=FIXED.text)


@trigger("B26", precisions="fp32 fp16", faults="enqueue_overwrites_the_one_before")
def runs_enqueued_side_by_side(trial: Trial) -> None:
    """Runs of several contexts, all enqueued before any is waited for, give their own answers."""
    relations = partial(check_sequences, only=(SIDE_BY_SIDE,))
    trial.relate(FIXED.model(), relations, DATA, shapes=FIXED.input_shapes, label=FIXED.text)


@trigger("B26", faults="contexts_exchange_rows_at_times")
def concurrent_runs_of_one_engine(trial: Trial) -> None:
    """Concurrent runs of one engine never give rows of each other."""
    trial.relate(DYNAMIC.model(), check_contexts, DATA, profile=DYNAMIC.profile, shapes=DYNAMIC.input_shapes)


@trigger("B56", faults="contexts_leak")
def contexts_made_and_destroyed(trial: Trial) -> None:
    """Making, running and destroying contexts keeps no memory, of the process or of the device."""
    lacking = why_no_reading()
    if lacking:
        trial.skip(lacking)
    if trial.rt.emulated and trial.rt.device != "cpu":
        trial.skip(
            f"{trial.rt.title} makes a session of ONNX Runtime for each stream, which keeps host memory of its own"
        )
    with trial.subject(FIXED.model()) as subject:
        feeds = {name: np.ones(shape, np.float32) for name, shape in FIXED.input_shapes.items()}
        trial.demand(check_memory(subject, fresh_bases(subject, [feeds])[0]))
