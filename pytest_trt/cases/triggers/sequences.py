"""Bugs of sequences: copies that nobody waits for, streams of one's own, runs that fail, captured graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_trt.cases.triggers.nets import integers
from pytest_trt.cases.triggers.registry import STAND_IN, trigger
from pytest_trt.cases.triggers.trial import Trial
from pytest_trt.check.concurrent import describe_refusal
from pytest_trt.check.relations import Base, Broken, compare_bits
from pytest_trt.check.replays import check_replays
from pytest_trt.check.sequences import FOLLOWS, REFUSED, check_repeats, check_sequences, fresh_bases
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array
from pytest_trt.runtime.build import build_plan
from pytest_trt.runtime.graphs import why_no_graphs
from pytest_trt.runtime.session import Session
from pytest_trt.strategies import Case

CASE = Case.parse("conv_add_relu-n3-c8-o1-i6x5-k3-lo0-hi1-w_int-s1")
_AMPERE = 80


def _feeds(seed: int) -> dict[str, Array]:
    """Return small integers for the case: no sum of theirs is rounded."""
    return {name: integers(shape, 4, seed) for name, shape in CASE.input_shapes.items()}


@contextmanager
def started(trial: Trial) -> Iterator[tuple[Subject, list[Base]]]:
    """Give a built network and two runs of it, each by a context of its own."""
    with trial.subject(CASE.model()) as subject:
        yield subject, fresh_bases(subject, [_feeds(seed) for seed in (1, 2)])


@trigger("B27", precisions="fp32 fp16", faults="input_copy_overtaken_at_times previous_output_returned")
def a_run_waits_for_the_copy_of_its_inputs(trial: Trial) -> None:
    """A run takes the inputs that were copied before it on its stream, though nobody waited for the copy."""
    with started(trial) as (subject, bases):
        trial.report(check_sequences(subject, bases, only=(FOLLOWS,)))


@trigger("B28", precisions="fp32 fp16", faults="zeros_at_times_on_a_stream_of_its_own")
def a_stream_of_its_own_never_gives_zeros(trial: Trial) -> None:
    """Every run on a stream of its own gives the bits of the first one."""
    with started(trial) as (subject, bases):
        trial.report(check_repeats(subject, bases))


@trigger("B28", faults="nothing_written")
def a_stream_of_its_own_writes_its_outputs(trial: Trial) -> None:
    """A run on a stream of its own writes every element of its outputs: none of them is the poison that was there before."""
    trial.check(CASE.model(), _feeds(1))


@trigger("B29", fidelity=STAND_IN, faults="every_enqueue_fails third_enqueue_fails")
def a_failed_enqueue_is_an_error(trial: Trial) -> None:
    """A run that fails is an error and gives nothing: neither zeros nor the outputs of the run before."""
    with started(trial) as (subject, bases):
        trial.report(check_sequences(subject, bases, only=(FOLLOWS,), trials=8))


@trigger("B29", fidelity=STAND_IN, faults="enqueue_without_an_address_is_taken")
def an_enqueue_that_cannot_run_is_refused(trial: Trial) -> None:
    """A run that lacks an address is refused in words, and the next one is right."""
    with started(trial) as (subject, bases):
        refused = describe_refusal(subject.session, CASE.input_shapes)
        trial.demand([(REFUSED, refused or None)])
        trial.report(check_repeats(subject, bases, trials=1))


@trigger("B29")
def a_hardware_compatible_engine(trial: Trial) -> None:
    """An engine that is built for Ampere and newer GPUs gives on this one what an engine built for it alone gives."""
    rt = trial.rt
    levels = getattr(rt.trt, "HardwareCompatibilityLevel", None)
    if levels is None or rt.features.rtx or rt.gpu.sm < _AMPERE:
        trial.skip(f"{rt.title} builds no hardware-compatible engines for {rt.gpu.name}")

    def configure(config: Any) -> None:
        config.hardware_compatibility_level = levels.AMPERE_PLUS

    with started(trial) as (subject, bases):
        plan = build_plan(rt, subject.request, configure=configure)
        found: Broken | None = None
        with Session(rt, plan) as session:
            for _ in range(2):
                for base in bases:
                    found = found or compare_bits(FOLLOWS, session.run(base.feeds), base.got)
        trial.report([(FOLLOWS, found)])


@trigger("B30", fidelity=STAND_IN, faults="previous_output_returned")
def every_run_gives_new_outputs(trial: Trial) -> None:
    """Run after run of one context on changing inputs never gives the outputs of the run before."""
    with started(trial) as (subject, bases):
        trial.report(check_sequences(subject, bases, only=(FOLLOWS,)))


@trigger("B30", faults="capture_stays_empty previous_output_returned")
def a_replayed_graph_follows_its_inputs(trial: Trial) -> None:
    """A captured CUDA graph is not empty, and each replay takes new inputs and writes every output."""
    _replay(trial)


@trigger("B55", precisions="fp32 fp16", faults="capture_refused")
def an_enqueue_is_captured(trial: Trial) -> None:
    """execute_async_v3 lets itself be captured after a first run, and its replays give what it gives."""
    _replay(trial)


def _replay(trial: Trial) -> None:
    lacking = why_no_graphs(trial.rt)
    if lacking:
        trial.skip(lacking)
    with started(trial) as (subject, bases):
        trial.report(check_replays(subject, bases))
