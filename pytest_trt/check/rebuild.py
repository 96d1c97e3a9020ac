"""Relations between engines for one network: built again, loaded again, refitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from pytest_trt.check.admissible import Admissible
from pytest_trt.check.graph import Graph
from pytest_trt.check.relations import Base, Broken, compare_bits, compare_engine, first_broken
from pytest_trt.check.subject import Subject
from pytest_trt.errors import ExecutionError
from pytest_trt.numerics.formats import Array
from pytest_trt.records import RUNGS
from pytest_trt.runtime.build import build_plan
from pytest_trt.runtime.features import probe
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.session import Session, load_engine
from pytest_trt.runtime.timing_cache import TimingCache

REBUILT = "an engine that is built again gives the same answer"
REBUILT_FROM_CACHE = "engines built from one timing cache give the same answer"
RELOADED = "an engine that is serialised and loaded again gives the same bits"
REFIT_SAME = "a refit with the same weights changes nothing"
REFIT_OTHER = "a refit with other weights equals an engine built with them"

# Issue 4798: rebuilds from one timing cache that differed now and then.
REBUILDS = 2
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def check_rebuild(
    subject: Subject, bases: Sequence[Base], rebuilds: int = REBUILDS
) -> Iterator[tuple[str, Broken | None]]:
    """Yield how engines that are built and loaded again answer.

    Parameters
    ----------
    subject : Subject
    bases : sequence of Base
        Runs of the subject, best one of them on data without rounding.
    rebuilds : int
        How often the engine is built again, never from a plan cache.
    """
    broken: Broken | None = None
    for _ in range(rebuilds):
        with subject.again() as other:
            broken = broken or _answers(REBUILT, other, bases)
    yield REBUILT, broken
    with subject.rt.logger.collect() as lines, subject.rt.active():
        memory = subject.engine.serialize()
        data = None if memory is None else bytes(memory)
        del memory
    if data is None:
        raise ExecutionError(
            "the engine did not serialise",
            why=errors_in(lines) or (f"{subject.rt.title} logged no error",),
        )
    with Session(subject.rt, load_engine(subject.rt, data)) as session:
        found = (compare_bits(RELOADED, session.run(base.feeds), base.got) for base in bases)
        yield RELOADED, first_broken(found)


def why_no_cached_rebuild(subject: Subject) -> str:
    """Return why engines from one timing cache cannot be compared here, in words; empty where they can."""
    if subject.prepared.implicit:
        return "implicit INT8 builds with a calibrator, whose table another build may not share"
    return ""


def check_rebuild_from_cache(
    subject: Subject, bases: Sequence[Base], rebuilds: int = REBUILDS
) -> Iterator[tuple[str, Broken | None]]:
    """Yield how engines answer that are built with one timing cache, the first to fill it and the others from its bytes.

    Notes
    -----
    NVIDIA/TensorRT issue 4798: scores of an engine that was rebuilt from the cache of the first one differed by up to 0.57. With
    TensorRT-RTX a timing cache does nothing; the builds are repeated nevertheless.

    Raises
    ------
    UnsupportedError
        TensorRT did not take the cache, or did not build.
    """
    cache = TimingCache(subject.rt)
    build_plan(subject.rt, subject.request, configure=cache.attach)
    broken: Broken | None = None
    for _ in range(rebuilds):
        again = TimingCache(subject.rt, cache.data)
        plan = build_plan(subject.rt, subject.request, configure=again.attach)
        with Session(subject.rt, plan) as session:
            found = (compare_engine(REBUILT_FROM_CACHE, session.run(base.feeds), base) for base in bases)
            broken = broken or first_broken(found)
    yield REBUILT_FROM_CACHE, broken


def _answers(relation: str, other: Subject, bases: Sequence[Base]) -> Broken | None:
    return first_broken(compare_engine(relation, other.run(base.feeds), base) for base in bases)


def why_no_refit(subject: Subject) -> str:
    """Return why the weights of a subject cannot be changed here, in words; empty where they can."""
    rt = subject.rt
    if "REFIT" not in rt.features.builder_flags or not probe(rt.trt, "Refitter"):
        return f"{rt.title} has no BuilderFlag.REFIT or no Refitter"
    if subject.prepared.implicit:
        return "an engine of implicit INT8 keeps the scales of the weights that it was built with"
    if subject.prepared.model is not subject.prepared.matched:
        return "a weakly typed engine rounds weights where it likes: none was built with the new ones to compare with"
    if not _weights(subject.prepared.model):
        return "the network has no weights in fp32 or fp16"
    return ""


def check_refit(subject: Subject, bases: Sequence[Base]) -> Iterator[tuple[str, Broken | None]]:
    """Yield how an engine with `BuilderFlag.REFIT` answers when it got its own weights again, and other ones.

    Raises
    ------
    ExecutionError
        TensorRT did not take a weight, or did not refit.
    """
    own = _weights(subject.prepared.model)
    with subject.again(flags={"REFIT"}) as engine:
        refit(engine, own)
        yield REFIT_SAME, _answers(REFIT_SAME, engine, bases)
        other = {name: _turned(values) for name, values in own.items()}
        model = _with_weights(subject.prepared.model, other)
        graph = Graph(model)
        refit(engine, other)
        with subject.again(model, graph=graph) as built:
            wanted = []
            for base in bases:
                rungs = RUNGS if base.admissible is None else base.admissible.rungs
                admissible = Admissible(graph, base.feeds, subject.contract, rungs)
                got = built.run(base.feeds)
                limits = {name: b for name, b in admissible.on("direct").tensors.items() if name in got}
                wanted.append(Base(base.feeds, got, limits, admissible))
            yield REFIT_OTHER, _answers(REFIT_OTHER, engine, wanted)


def refit(subject: Subject, weights: Mapping[str, Array]) -> None:
    """Put weights into the engine of a subject, by name.

    Raises
    ------
    ExecutionError
        The engine has none of these weights, lacks others, or does not take them.
    """
    rt = subject.rt
    with rt.logger.collect() as lines, rt.active():
        refitter = rt.trt.Refitter(subject.engine, rt.logger.raw)
        names = set(refitter.get_all_weights()) & weights.keys()
        what = "" if names else "the engine has none of the weights of its model"
        held = {
            name: np.ascontiguousarray(weights[name]) for name in sorted(names)
        }  # until the refit is done
        for name, values in held.items():
            if not what and not refitter.set_named_weights(name, rt.trt.Weights(values)):
                what = f"the refitter did not take weights {name!r}"
        lacking = list(refitter.get_missing_weights())
        if not what and lacking:
            what = f"the refitter misses weights {', '.join(map(repr, lacking))}"
        if not what and not refitter.refit_cuda_engine():
            what = "TensorRT did not refit the engine (refit_cuda_engine returned False)"
        del refitter
    if what:
        raise ExecutionError(what, why=errors_in(lines) or (f"{rt.title} logged no error",))


def _weights(model: ModelProto) -> dict[str, Array]:
    """Return the float weights that products and sums read; scales of quantisation are none."""
    scales = {
        name
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[1:]
    }
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type in _FLOATS and tensor.name not in scales and len(tensor.dims)
    }


def _turned(values: Array) -> Array:
    """Return other weights of the same size: half of each, the other way round; signs stay, for a variance has one."""
    turned: Array = np.ascontiguousarray(
        values.reshape(-1)[::-1].reshape(values.shape) * values.dtype.type(0.5)
    )
    return turned


def _with_weights(model: ModelProto, weights: Mapping[str, Any]) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return changed
