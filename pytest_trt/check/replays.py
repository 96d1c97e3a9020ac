"""Relations of captured CUDA graphs: each replay takes the inputs of the moment, and writes every output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pytest_trt.check.concurrent import OTHER_POISON
from pytest_trt.check.relations import Base, Broken, compare_rows
from pytest_trt.check.subject import Subject
from pytest_trt.runtime.graphs import CapturedRun
from pytest_trt.runtime.session import POISON

REPLAYED = "a replayed CUDA graph takes new inputs and writes every output"
TURNS = 4


def check_replays(
    subject: Subject, bases: Sequence[Base], driver: Any = None
) -> Iterator[tuple[str, Broken | None]]:
    """Yield whether replays on changing inputs and poisons give what plain runs give.

    Parameters
    ----------
    subject : Subject
        Of a TensorRT on a GPU.
    bases : sequence of Base
        Two or more runs with inputs of the same shapes.
    driver : library, optional
        As for `CapturedRun`.

    Raises
    ------
    ExecutionError
        The enqueue was not captured, or the graph is empty.
    """
    found: Broken | None = None
    with CapturedRun(subject.session, bases[0].feeds, driver) as captured:
        for turn in range(TURNS * len(bases)):
            base = bases[turn % len(bases)]
            poison = OTHER_POISON if turn // len(bases) % 2 else POISON
            found = found or compare_rows(REPLAYED, captured.run(base.feeds, poison=poison), base)
    yield REPLAYED, found
