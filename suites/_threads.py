"""Contexts in threads: how much is asked for at which budget, and what the report shows of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from pytest_trt.check.concurrent import open_session, trials_for
from pytest_trt.check.crosstalk import Hammered, answer_alone, deal, describe_power, hammer
from pytest_trt.check.subject import Subject
from pytest_trt.numerics.formats import Array
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.session import Session, load_engine
from pytest_trt.strategies import Case

from ._named import Checked

SHAPES = "threads-with-shapes-of-their-own"
DEVICES = "devices-of-one-process"

# What is seen but for one time in a thousand, by budget: 6,905 runs in threads, and 69,075.
PROBABILITIES = {"quick": 1 / 1000, "standard": 1 / 1000, "thorough": 1 / 10_000}
# Budgets whose runs are shared out among the precisions: who talks to whom does not depend on them.
SHARED = ("quick",)


def section(title: str, hammered: Hammered) -> dict[str, Any]:
    """Return what the report shows of runs in threads."""
    lines = [str(hammered), describe_power(hammered.runs)]
    rows = [(place, runs, wrong) for place, (runs, wrong) in enumerate(hammered.by_thread)]
    return {"title": title, "text": lines, "head": ["thread", "runs", "wrong"], "rows": rows}


def small_integers(shapes: Iterable[Mapping[str, Sequence[int]]], seed: int) -> list[dict[str, Array]]:
    """Return inputs of small integers, whose sums are exact in any order, for each table of shapes."""
    rng = np.random.default_rng([7, abs(seed)])
    return [
        {name: rng.integers(-4, 5, tuple(shape)).astype(np.float32) for name, shape in table.items()}
        for table in shapes
    ]


def shapes_of(case: Case, batches: Iterable[int]) -> list[dict[str, tuple[int, ...]]]:
    """Return the input shapes of a configuration at other batches."""
    return [{name: (batch, *shape[1:]) for name, shape in case.input_shapes.items()} for batch in batches]


def check_shapes(
    subject: Subject, case: Case, threads: int, runs: int, seed: int, tell: Callable[[Hammered], None]
) -> Iterator[Checked]:
    """Yield whether threads get their own answers where each changes the shape of its context from run to run."""
    largest = next(iter(case.profile.values()))[2][0]
    batches = [1 + (place + place // threads) % largest for place in range(2 * threads)]
    cases = deal(
        answer_alone(subject.rt, subject.engine, small_integers(shapes_of(case, batches), seed)), threads
    )
    with ExitStack() as held:
        sessions = [held.enter_context(open_session(subject, place)) for place in range(threads)]
        yield SHAPES, _told(hammer(sessions, cases, runs), tell)


def check_devices(
    runtimes: Sequence[Runtime],
    subject: Subject,
    feeds: Sequence[Mapping[str, Array]],
    runs: int,
    tell: Callable[[Hammered], None],
) -> Iterator[Checked]:
    """Yield whether devices of one process give what the first one gave alone, two threads on each, all at once."""
    threads = 2 * len(runtimes)
    cases = deal(answer_alone(subject.rt, subject.engine, feeds), threads)
    with ExitStack() as held:
        loaded = [(rt, load_engine(rt, subject.plan)) for rt in runtimes]
        sessions = [held.enter_context(Session(*one)) for one in 2 * loaded]
        yield DEVICES, _told(hammer(sessions, cases, runs), tell)


def _told(hammered: Hammered, tell: Callable[[Hammered], None]) -> str | None:
    tell(hammered)
    return None if hammered.first is None else str(hammered)


def runs_for(settings: Settings) -> int:
    """Return how many runs in threads a session's budget buys at each precision."""
    runs = trials_for(PROBABILITIES[settings.budget])
    return math.ceil(runs / len(settings.precisions)) if settings.budget in SHARED else runs
