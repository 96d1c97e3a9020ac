"""How a builder picks implementations: repeatably with a timing cache, and from the types that it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pytest_trt.errors import UnsupportedError
from pytest_trt.precision.kinds import is_reformat
from pytest_trt.records import LayerInfo, Settings
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.session import Session, load_engine
from pytest_trt.runtime.timing_cache import MISS_IS_ERROR, TimingCache

from ._named import Checked

REPEATS = "tuning-repeats-with-cache"
MISS = "tuning-cache-miss-refused"
COMBINED = "tuning-caches-combine"
FOREIGN = "tuning-foreign-cache-refused"
NO_OP = "tuning-cache-without-effect"
POOL = "tuning-types-within-pool"
REFORMATS = "tuning-types-are-converted"
STEERED = "tuning-steered-same-answer"

_FLOATS = frozenset({"fp32", "fp16", "bf16", "fp8", "int8"})
_SHAPE = (1, 16, 16, 16)
# What is set, by name of the property; only what a surface has is tried.
STEPS: Mapping[str, tuple[int, ...]] = {
    "builder_optimization_level": (0, 5),
    "avg_timing_iterations": (4,),
    "min_timing_iterations": (2,),
    "max_num_tactics": (1,),
    "max_aux_streams": (0,),
}
POOLS: tuple[tuple[str, ...], ...] = ((), ("FP16",), ("INT8",), ("FP16", "INT8"), ("BF16",))
_TYPE_OF = {"FP16": "fp16", "BF16": "bf16", "INT8": "int8"}


def network(kernel: int = 3) -> ModelProto:
    """Return two convolutions around a ReLU; weights are small integers."""
    rng = np.random.default_rng(kernel)
    weights = [rng.integers(-2, 3, (16, 16, kernel, kernel)).astype(np.float32) for _ in range(2)]
    pads = [kernel // 2] * 4
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a"], ["h"], name="one", pads=pads),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "b"], ["y"], name="two", pads=pads),
        ],
        "tuned",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, _SHAPE)],
        [numpy_helper.from_array(weights[0], "a"), numpy_helper.from_array(weights[1], "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FEED = np.random.default_rng(5).integers(-1, 2, _SHAPE).astype(np.float32)


def _convolve(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    edge = weights.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weights, optimize=True).astype(np.float32)


def exact_output() -> np.ndarray:
    """Return what the network gives for `FEED`: integers below 2^24, so that no sum is rounded in float32."""
    weights = [numpy_helper.to_array(tensor) for tensor in network().graph.initializer]
    return _convolve(np.maximum(_convolve(FEED, weights[0]), 0), weights[1])


def _request(rt: Runtime, flags: Iterable[str] = (), *, kernel: int = 3, weak: bool = False) -> BuildRequest:
    return BuildRequest(
        network(kernel).SerializeToString(),
        strongly_typed=rt.features.strong_typing and not weak,
        flags=frozenset(flags),
        dummy_range=8.0 if "INT8" in flags else None,
    )


def picked(plan: Plan) -> list[tuple[Any, ...]]:
    """Return what was picked for each layer."""
    return [(x.name, x.kind, x.tactic, x.inputs, x.outputs, x.formats) for x in plan.layers]


def check_cache(rt: Runtime, build: Callable[..., Plan] = build_plan) -> list[Checked]:
    """Return what is wrong with timing caches: kept, combined, of another version."""
    if rt.features.rtx:
        return check_no_op(rt)
    rows: list[Checked] = []
    caches, first = [], []
    for kernel in (3, 5):
        cache = TimingCache(rt)
        first.append(build(rt, _request(rt, kernel=kernel), configure=cache.attach))
        caches.append(cache)
    strict = (MISS_IS_ERROR,) if MISS_IS_ERROR in rt.features.builder_flags else ()
    again = TimingCache(rt, caches[0].data)
    for _ in range(2):  # with the bytes of the cache, then with the same object
        rows.append((REPEATS, _same(rt, _request(rt, strict), again, first[0], build)))
    if strict:
        rows.append(
            (MISS, _refused(lambda: build(rt, _request(rt, strict), configure=TimingCache(rt).attach)))
        )
    both = TimingCache(rt, caches[0].data)
    build(rt, _request(rt), configure=both.attach)
    if not both.combine(caches[1]):
        rows.append((COMBINED, "two caches of one builder do not combine"))
    else:
        rows.append((COMBINED, _same(rt, _request(rt, strict, kernel=5), both, first[1], build)))
    if rt.emulated:
        other = "tensorrt-10.0" if not rt.plays.startswith("tensorrt-10.0") else "tensorrt-10.13"
        stranger = discover(Settings(runtime="emulator", emulate=other, gpu=rt.gpu.name)).executor
        assert stranger is not None
        foreign = TimingCache(stranger)
        build_plan(stranger, _request(stranger), configure=foreign.attach)
        taken = TimingCache(rt, foreign.data)
        rows.append((FOREIGN, _refused(lambda: build(rt, _request(rt), configure=taken.attach))))
    return rows


def _same(
    rt: Runtime, request: BuildRequest, cache: TimingCache, first: Plan, build: Callable[..., Plan]
) -> str | None:
    try:
        plan = build(rt, request, configure=cache.attach)
    except UnsupportedError as error:
        return f"not built with the cache of the first build: {error}"
    if not first.layers:
        return "the engine tells of no layers"
    changed = [(one, two) for one, two in zip(picked(first), picked(plan), strict=False) if one != two]
    if len(first.layers) != len(plan.layers):
        return f"{len(first.layers)} layers, then {len(plan.layers)}"
    return f"picked {changed[0][0]}, then {changed[0][1]}" if changed else None


def _refused(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except UnsupportedError as error:
        return None if "cache" in str(error) else f"refused, and not for the cache: {error}"
    return "built"


def check_no_op(rt: Runtime) -> list[Checked]:
    """Return what is wrong with timing caches of TensorRT-RTX: they change nothing, and say that they are deprecated."""
    cache = TimingCache(rt)
    one = build_plan(rt, _request(rt), configure=cache.attach)
    before = cache.data
    two = build_plan(rt, _request(rt), configure=cache.attach)
    bare = build_plan(rt, _request(rt))
    rows: list[Checked] = [
        (
            REPEATS,
            None if one.data == two.data == bare.data else "plans with and without a timing cache differ",
        ),
        (NO_OP, None if cache.data == before else "a build changed the timing cache"),
        (NO_OP, None if cache.warned else "no DeprecationWarning"),
    ]
    return rows


def check_pools(rt: Runtime) -> list[Checked]:
    """Return what is wrong with the types of layers under weak typing: only float32 and those whose flags are set."""
    rows: list[Checked] = []
    for flags in POOLS:
        if (
            not set(flags) <= set(rt.features.builder_flags)
            or not set(map(_TYPE_OF.get, flags)) <= rt.gpu.precisions
        ):
            continue
        plan = build_plan(rt, _request(rt, flags, weak=True))
        rows.append((POOL, outside_pool(plan.layers, flags)))
        rows.append((REFORMATS, unconverted(plan.layers, {"x": "fp32"})))
    return rows


def outside_pool(layers: Sequence[LayerInfo], flags: Iterable[str]) -> str | None:
    """Return which layer has a type that no flag allows, None where none has."""
    allowed = {"fp32", *(_TYPE_OF[flag] for flag in flags)}
    if not layers:
        return "the engine tells of no layers"
    for layer in layers:
        strange = (_FLOATS & {*layer.inputs, *layer.outputs, *layer.constants}) - allowed
        if strange:
            return f"flags {sorted(flags)}: layer {layer.name!r} has {sorted(strange)}"
    return None


def unconverted(layers: Sequence[LayerInfo], inputs: Mapping[str, str]) -> str | None:
    """Return which tensor is read in another type than it was written, and no layer converts it; None where none is.

    Parameters
    ----------
    layers : sequence of LayerInfo
    inputs : mapping of str to str
        Types of the network's inputs.
    """
    written = dict(inputs)
    for layer in layers:
        if not is_reformat(layer):
            written.update(zip(layer.writes, layer.outputs, strict=False))
    converted = {(x.reads[:1], x.inputs[:1], x.outputs[:1]) for x in layers if is_reformat(x)}
    for layer in layers:
        for name, kind in zip(layer.reads, layer.inputs, strict=False):
            was = written.get(name, kind)
            if is_reformat(layer) or was == kind or not {was, kind} <= _FLOATS:
                continue
            if ((name,), (was,), (kind,)) not in converted:
                return f"{name!r} is {was}, layer {layer.name!r} reads {kind}, and no layer converts it"
    return None


def check_steering(rt: Runtime) -> list[Checked]:
    """Return what is wrong with engines whose tuning was steered: each gives the exact answer."""
    rows: list[Checked] = []
    want = exact_output()
    for name, value in steps_for(rt):
        plan = build_plan(rt, _request(rt), configure=_setter(rt, name, value))
        if not rt.can_execute:
            rows.append((STEERED, None if plan.data else "no plan"))
            continue
        with Session(rt, load_engine(rt, plan)) as session:
            got = session.run({"x": FEED})["y"]
        bad = int(np.count_nonzero(got != want))
        rows.append((STEERED, f"{name} = {value}: {bad} of {want.size} values differ" if bad else None))
    return rows


def steps_for(rt: Runtime) -> list[tuple[str, int]]:
    """Return what can be set at this TensorRT, one at a time; no tactic sources at all is one of them."""
    known = [name for name in STEPS if hasattr(rt.trt.IBuilderConfig, name)]
    return [(name, value) for name in known for value in STEPS[name]] + [("tactic_sources", 0)]


def _setter(rt: Runtime, name: str, value: int) -> Callable[[Any], None]:
    def configure(config: Any) -> None:
        if name == "tactic_sources":
            config.set_tactic_sources(value)
        else:
            setattr(config, name, value)

    return configure
