"""One adapter drives every TensorRT that the emulator plays: build, inspect, run, refuse."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from pytest_trt import emulator
from pytest_trt.errors import ExecutionError, ModelError, ProfileError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime import BuildRequest, Runtime, Session, build_plan, discover, load_engine
from pytest_trt.runtime import load as load_module
from pytest_trt.runtime.build import inspect_plan

from . import models

VERSIONS = [
    "tensorrt-8.6.1",
    "tensorrt-10.0.1",
    "tensorrt-10.13",
    "tensorrt-10.16",
    "tensorrt-11.0",
    "tensorrt-11.4",
    "tensorrt_rtx-1.4",
    "tensorrt_rtx-1.7",
]
PROFILE = {"x": ((1, 8, 6, 6), (4, 8, 6, 6), (8, 8, 6, 6))}
X = np.random.default_rng(1).integers(-4, 5, (3, 8, 6, 6)).astype(np.float32)


def want(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Return the model's output by ONNX's own reference."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    got: np.ndarray = ReferenceEvaluator(onnx.load_from_string(models.conv()))  # type: ignore[type-arg]
    return got.run(None, {"x": x})[0]  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(params=VERSIONS)
def rt(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    monkeypatch.setattr(
        load_module, "find", lambda product: load_module.Missing(product, "not looked for", "")
    )
    found = discover(Settings(runtime="emulator", emulate=request.param, gpu="t4", log="INFO"))
    assert found.executor is not None
    return found.executor


def request_for(rt: Runtime, **changes: object) -> BuildRequest:
    strong = rt.features.strong_typing
    facts = {"model": models.conv(), "profile": PROFILE, "strongly_typed": strong, **changes}
    return BuildRequest(**facts)  # type: ignore[arg-type]


def test_it_builds_and_runs(rt: Runtime) -> None:
    plan = build_plan(rt, request_for(rt))
    with Session(rt, plan) as session:
        np.testing.assert_array_equal(session.run({"x": X})["y"], want(X))
        np.testing.assert_array_equal(session.run({"x": X[:1]})["y"], want(X[:1]))
        assert session.inputs["x"].shape == (-1, 8, 6, 6)
        assert session.inputs["x"].profile == PROFILE["x"]
        assert session.outputs["y"].dtype == np.float32
        assert session.layers == plan.layers != ()
    assert plan.flags == frozenset()
    assert build_plan(rt, request_for(rt)).digest == plan.digest


def test_the_inspector_and_the_build_log_tell_the_same_layers(rt: Runtime) -> None:
    plan = build_plan(rt, request_for(rt))
    assert inspect_plan(rt, plan.data) == plan.layers
    assert {layer.outputs for layer in plan.layers} == {("fp32",)}
    assert inspect_plan(rt, b"garbage") == ()


def test_precision_flags_exist_with_weak_typing_only(rt: Runtime) -> None:
    fp16 = request_for(rt, strongly_typed=False, flags=frozenset({"FP16"}))
    if rt.features.weak_typing:
        plan = build_plan(rt, fp16)
        assert plan.flags == {"FP16"}
        assert any("fp16" in layer.outputs for layer in plan.layers)
    else:
        with pytest.raises(UnsupportedError, match="has no weakly typed networks"):
            build_plan(rt, fp16)
    if not rt.features.strong_typing:
        with pytest.raises(UnsupportedError, match="has no strongly typed networks"):
            build_plan(rt, request_for(rt, strongly_typed=True))


def test_tf32_is_read_back(rt: Runtime) -> None:
    assert build_plan(rt, request_for(rt, flags=frozenset({"TF32"}), clear=frozenset())).flags == {"TF32"}


def test_two_profiles_one_more_output_and_no_detail(rt: Runtime) -> None:
    wide = {"x": ((1, 8, 6, 6), (8, 8, 6, 6), (64, 8, 6, 6))}
    plan = build_plan(rt, request_for(rt, more_profiles=(wide,), outputs=("c",), detailed=False))
    assert plan.layers == ()
    with Session(rt, plan, profile_index=1) as session:
        outputs = session.run({"x": np.concatenate([X, X, X, X])})
        assert set(outputs) == {"y", "c"}
        np.testing.assert_array_equal(np.maximum(outputs["c"], 0), outputs["y"])
    with Session(rt, plan) as session, pytest.raises(ProfileError):
        session.run({"x": np.concatenate([X, X, X])})


def test_what_bad_input_gets(rt: Runtime) -> None:
    with pytest.raises(ModelError, match="not an ONNX model"):
        build_plan(rt, request_for(rt, model=b"garbage"))
    with pytest.raises(ProfileError, match="input 'x' has dynamic dimensions"):
        build_plan(rt, request_for(rt, profile=None))
    with pytest.raises(ModelError, match="no tensor 'z' to mark"):
        build_plan(rt, request_for(rt, outputs=("z",)))
    with pytest.raises(UnsupportedError, match="has no builder flag NO_SUCH"):
        build_plan(rt, request_for(rt, flags=frozenset({"NO_SUCH"})))


def test_ranges_are_taken_where_tensors_have_them(rt: Runtime) -> None:
    ranges = {"x": 4.0, "c": 100.0, "y": 100.0}
    weak = {"strongly_typed": not rt.features.weak_typing, "dynamic_ranges": ranges}
    if rt.features.dynamic_ranges:
        build_plan(rt, request_for(rt, flags=frozenset({"INT8"}), **weak))
    else:
        with pytest.raises(UnsupportedError, match="has no implicit INT8"):
            build_plan(rt, request_for(rt, **weak))


def test_plans_that_do_not_load(rt: Runtime) -> None:
    data = build_plan(rt, request_for(rt)).data
    for bad in (b"", b"garbage", data[:-10], data[: len(data) // 2]):
        with pytest.raises(ExecutionError, match="did not load the plan") as caught:
            load_engine(rt, bad)
        assert caught.value.why


def test_sessions_in_threads_share_an_engine(rt: Runtime) -> None:
    engine = load_engine(rt, build_plan(rt, request_for(rt)))
    outputs: dict[int, list[np.ndarray]] = {}  # type: ignore[type-arg]

    def work(number: int) -> None:
        with Session(rt, engine) as session:
            outputs[number] = [session.run({"x": X + number})["y"] for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        for got in outputs[number]:
            np.testing.assert_array_equal(got, want(X + number))


def test_an_output_whose_size_is_found_at_run_time(rt: Runtime) -> None:
    if not hasattr(rt.trt.DataType, "INT64"):
        pytest.skip("NonZero gives INT64, which this TensorRT does not have")
    with Session(rt, build_plan(rt, request_for(rt, model=models.nonzero(), profile=None))) as session:
        for values in ([0, 5, 0, 7], [1, 2, 3, 4], [0, 0, 0, 0]):
            got = session.run({"x": np.array(values, np.float32)})["y"]
            np.testing.assert_array_equal(got, np.nonzero(values))


def test_closing_a_session_frees_context_and_engine(rt: Runtime) -> None:
    plan = build_plan(rt, request_for(rt))
    session = Session(rt, plan)
    session.run({"x": X})
    context, engine = weakref.ref(session.context), weakref.ref(session.engine)
    session.close()
    gc.collect()
    assert context() is None and engine() is None


def test_a_plan_of_another_version_or_gpu_is_refused() -> None:
    def runtime(text: str, gpu: str) -> Runtime:
        found = discover(Settings(runtime="emulator", emulate=text, gpu=gpu)).executor
        assert found is not None
        return found

    plan = build_plan(runtime("tensorrt-10.13", "t4"), BuildRequest(models.conv(), profile=PROFILE))
    for other in (runtime("tensorrt-10.16", "t4"), runtime("tensorrt-10.13", "l4")):
        with pytest.raises(ExecutionError, match="did not load the plan"):
            load_engine(other, plan)
    assert emulator.resolve("tensorrt-10.13") == ("tensorrt", "10.13.3.9")
