"""Shapes and profiles that TensorRT has to refuse: in its own calls, with an answer of its own and a logged error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import ModelProto

from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in
from pytest_trt.runtime.session import load_engine

from ._compatible import plain_network
from ._named import Checked
from ._plans import build

OUTSIDE = "shape-outside-profile-refused"
INSIDE = "shape-inside-profile-taken"
NO_PROFILE = "dynamic-input-needs-profile"
ORDER = "profile-needs-order"


def check_shapes(rt: Runtime) -> Iterator[Checked]:
    """Yield whether a context takes the batches of its profile, 2 to 4, and no others."""
    engine = load_engine(rt, build(rt, profiles=((2, 4),)))
    with rt.active():
        context = engine.create_execution_context()
        for batch, good in ((2, True), (3, True), (4, True), (1, False), (5, False), (0, False)):
            with rt.logger.collect() as lines:
                taken = bool(context.set_input_shape("x", (batch, 8)))
            words = f"set_input_shape of batch {batch} answers {taken}, and the profile goes from 2 to 4"
            yield INSIDE if good else OUTSIDE, None if taken == good else words
            if not good and not taken:
                yield OUTSIDE, None if errors_in(lines) else f"batch {batch} was refused without a word"
        del context
    del engine


def check_profiles(rt: Runtime) -> Iterator[Checked]:
    """Yield whether a builder refuses a dynamic input without a profile, and a profile whose least is above its best."""
    for batch, good in ((2, True), ("N", False)):
        with rt.logger.collect() as lines, rt.active():
            built = _build_bare(rt, plain_network(batch))
        what = f"a network with batch {batch!r} and without a profile"
        yield NO_PROFILE, None if built == good else f"{what} was {'built' if built else 'refused'}"
        silent = not built and not errors_in(lines)
        yield NO_PROFILE, f"{what} was refused without a word" if silent else None
    with rt.logger.collect() as lines, rt.active():
        answer = _add_disordered(rt)
    refused = answer == -1 or answer is None
    yield ORDER, None if refused else f"a profile with min > opt was added as number {answer}"
    yield (
        ORDER,
        None if not refused or errors_in(lines) else "a profile with min > opt was refused without a word",
    )


def _build_bare(rt: Runtime, model: ModelProto) -> bool:
    """Return whether TensorRT builds a model without a profile; our own build would not ask it to."""
    trt = rt.trt
    builder = trt.Builder(rt.logger.raw)
    made = builder.create_network(rt.features.network_flags(strong=rt.features.strong_typing))
    parser = trt.OnnxParser(made, rt.logger.raw)
    assert parser.parse(model.SerializeToString())
    config = builder.create_builder_config()
    if rt.features.rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{rt.gpu.sm}"), 0)
    return builder.build_serialized_network(made, config) is not None


def _add_disordered(rt: Runtime) -> Any:
    """Return what adding a profile with min > opt answers; None where TensorRT refuses its shapes with an exception."""
    trt = rt.trt
    builder = trt.Builder(rt.logger.raw)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    try:
        profile.set_shape("x", (4, 8), (2, 8), (8, 8))
    except ValueError as error:  # the bindings of some versions check the shapes themselves
        rt.logger.raw.log(trt.ILogger.ERROR, str(error))
        return None
    return config.add_optimization_profile(profile)
