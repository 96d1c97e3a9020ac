"""Builds for goldens in processes of their own: a crash is an outcome, and a refusal does not reach the next build.

After TensorRT-RTX 1.7.1 has refused a model for SM75, the same process builds the next one by the rules of Turing. So a process
that has seen a refusal builds nothing more; what is left goes to a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from pytest_trt import hardware
from pytest_trt.errors import ExecutionError, GoldenError, GoldenMissing, RuntimeMissingError
from pytest_trt.golden.book import Book
from pytest_trt.golden.builds import (
    CRASHED,
    Feed,
    asked_name,
    clean_words,
    describe_origin,
    digest_model,
    golden_of_build,
    golden_of_parser,
)
from pytest_trt.golden.builds import HUNG as OUTCOME_HUNG
from pytest_trt.golden.built import BUILT
from pytest_trt.golden.key import Key
from pytest_trt.golden.outputs import product_of
from pytest_trt.golden.record import BUILD, Golden
from pytest_trt.records import Settings
from pytest_trt.runtime.contained import DONE, HUNG, RAISED, Ended, run_contained
from pytest_trt.runtime.load import Runtime, discover, find_builder
from pytest_trt.runtime.profiles import Profile

TIMEOUT = 120.0
_TARGET = "pytest_trt.golden.apart:make_worker"
_BATCH = 24


@dataclass(frozen=True)
class Asked:
    """One build that is asked for.

    Attributes
    ----------
    case, gpu, precision, hybrid : str
        The key of its golden.
    model : bytes
        ONNX; empty: which operators the parser supports.
    profile, feed, implicit
        As for `golden_of_build`.
    """

    case: str
    gpu: str
    precision: str
    hybrid: str = "off"
    model: bytes = b""
    profile: Profile | None = None
    feed: Feed | None = None
    implicit: bool = False

    @property
    def name(self) -> str:
        """Its key as text, without the product."""
        return f"{self.case}/{asked_name(self.precision, self.hybrid)}/{self.gpu}"

    def is_kept(self, rt: Runtime, book: Book) -> bool:
        """Tell whether a book has a golden that the build can be held against; a damaged one is one."""
        key = Key(self.case, asked_name(self.precision, self.hybrid), self.gpu, product_of(rt))
        try:
            book.find(key)
        except GoldenMissing:
            return False
        except GoldenError:
            pass
        return True


def build_apart(
    rt: Runtime,
    settings: Settings,
    asked: Sequence[Asked],
    *,
    workers: int | None = None,
    timeout: float = TIMEOUT,
) -> Iterator[Golden]:
    """Yield the golden of each build, in the order in which they end.

    Parameters
    ----------
    rt : Runtime
        Who builds; the processes find it as this one did, each for the GPU class that is asked for.
    settings : Settings
        For the processes.
    asked : sequence of Asked
        No two with one key.
    workers : int, optional
        Processes at a time; default: as many as there are processors.
    timeout : float
        Seconds for one build.

    Raises
    ------
    ValueError
        Two builds have one key.
    ExecutionError
        A process ended before it began anything, or a build ended in an error that is not TensorRT's.
    """
    left = {one.name: one for one in asked}
    if len(left) != len(asked):
        raise ValueError("two builds have one key")
    while left:
        for gpu in sorted({one.gpu for one in left.values()}):
            chosen = {name: one for name, one in left.items() if one.gpu == gpu}
            size = max(1, min(_BATCH, -(-len(chosen) // (workers or 2))))
            arguments = {"settings": replace(settings, gpu=gpu), "product": rt.product}
            for ended in run_contained(
                _TARGET, chosen, arguments=arguments, workers=workers, batch=size, timeout=timeout
            ):
                if ended.how == DONE and ended.value is None:
                    continue  # the process had seen a refusal
                yield _golden(rt, left.pop(ended.key), ended)


def make_worker(settings: Settings, product: str) -> Callable[[Asked], dict[str, Any] | None]:
    """Return what builds one thing after the other until one is refused, and nothing after it."""
    rt = find_builder(settings) if product == "tensorrt_rtx" else discover(settings).executor
    if rt is None:
        raise RuntimeMissingError(f"{product} is not usable in a process of its own")
    builder, refused = rt, False

    def work(one: Asked) -> dict[str, Any] | None:
        nonlocal refused
        if refused:
            return None
        golden = _make(builder, one)
        refused = golden.facts["outcome"] != BUILT
        return {"facts": dict(golden.facts), "provenance": dict(golden.provenance)}

    return work


def _make(rt: Runtime, one: Asked) -> Golden:
    if not one.model:
        return golden_of_parser(rt, one.case)
    return golden_of_build(
        rt,
        one.case,
        onnx.load_model_from_string(one.model),
        one.precision,
        hybrid=one.hybrid,
        profile=one.profile,
        feed=one.feed,
        implicit=one.implicit,
    )


def _golden(rt: Runtime, one: Asked, ended: Ended) -> Golden:
    key = Key(one.case, asked_name(one.precision, one.hybrid), one.gpu, product_of(rt))
    if ended.how == DONE:
        return Golden(key, BUILD, facts=ended.value["facts"], provenance=ended.value["provenance"])
    if ended.how == RAISED:
        raise ExecutionError(f"the build of {one.name} ended in an error of its own: {ended.words}")
    facts: Mapping[str, Any] = {
        "outcome": OUTCOME_HUNG if ended.how == HUNG else CRASHED,
        "words": clean_words((ended.words,)),
    }
    if one.model:
        facts = {**facts, "model": digest_model(onnx.load_model_from_string(one.model))}
    place = {"gpu_class": one.gpu, "sm": hardware.get(one.gpu).sm}
    return Golden(key, BUILD, facts=facts, provenance=describe_origin(rt) | place)
