"""One runtime for each device: nothing of one touches another."""

from __future__ import annotations

import dataclasses
import warnings
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pytest_trt.errors import ExecutionError, LeakWarning, RuntimeMissingError, UsageError
from pytest_trt.records import Settings
from pytest_trt.runtime import Session
from pytest_trt.runtime.build import BuildRequest, build_plan
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.devices import executors
from pytest_trt.runtime.load import Runtime, discover
from tests.unit.emulator.models import conv

from .fake_engine import Engine, engine_runtime
from .fake_pycuda import Driver
from .fake_trt import FakeTrt, fake_runtime

PROFILE = ((1, 5, 6, 6), (2, 5, 6, 6), (4, 5, 6, 6))
X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def rt() -> Runtime:
    found = discover(Settings(runtime="emulator", gpu="t4")).executor
    assert found is not None
    return found


def test_the_emulator_plays_two_devices_on_a_cpu(rt: Runtime) -> None:
    family = executors(rt)
    assert len(family) == 2 and family[0] is rt
    assert family[1].trt is not rt.trt and family[1].plays == rt.plays and family[1].device == "cpu"
    assert executors(rt) is family and executors(family[1]) is family


def test_what_runs_on_one_device_never_enqueues_on_another(rt: Runtime) -> None:
    first, second = executors(rt)
    enqueued: list[str] = []
    for name, one in (("first", first), ("second", second)):
        streams = one.trt.emulated_streams
        submit = streams.submit
        streams.submit = lambda handle, work, n=name, s=submit: (enqueued.append(n), s(handle, work))[1]
    plan = build_plan(rt, BuildRequest(conv().SerializeToString(), profile={"x": PROFILE}))
    x = np.random.default_rng(5).standard_normal((2, 5, 6, 6), np.float32)
    with Session(first, plan) as here, Session(second, plan) as there:
        want = here.run({"x": x})
        assert set(enqueued) == {"first"}
        enqueued.clear()
        got = there.run({"x": x})
        assert set(enqueued) == {"second"}
    for name, values in want.items():
        np.testing.assert_array_equal(got[name], values)
    assert (first.memory.live().buffers, second.memory.live().buffers) == (0, 0)  # type: ignore[union-attr]


def test_a_stream_of_one_device_is_none_of_the_other(rt: Runtime) -> None:
    first, second = executors(rt)
    assert first.memory is not None and second.memory is not None
    for _ in range(3):
        first.memory.create_stream()
    stray = first.memory.create_stream()
    with pytest.raises(UsageError, match="is not a stream"):
        second.trt.emulated_streams.synchronize(stray.handle)
    plan = build_plan(rt, BuildRequest(conv().SerializeToString(), profile={"x": PROFILE}))
    with Session(second, plan) as made, pytest.raises(ExecutionError) as caught:
        made.run({"x": np.zeros((1, 5, 6, 6), np.float32)}, stream=stray)
    assert "is not a stream of this device" in caught.value.why[0]


def test_the_others_end_with_the_first(rt: Runtime) -> None:
    family = executors(rt)
    first, second = family
    assert first.memory is not None and second.memory is not None
    stream = second.memory.create_stream()
    with pytest.warns(LeakWarning, match="1 stream"):
        first.memory.close()
    assert executors(first) is not family and first not in executors(second)
    second.memory.destroy_stream(stream)


def test_who_only_builds_has_no_device_and_who_cannot_move_has_one() -> None:
    with pytest.raises(RuntimeMissingError, match="only builds here"):
        executors(fake_runtime(FakeTrt()))
    alone = engine_runtime()
    assert executors(alone) == (alone,)


def on_gpus(driver: Driver, allowed: set[int]) -> Runtime:
    """Return a real TensorRT that is played, on the first of two GPUs that are played."""
    rt = engine_runtime()
    rt.trt.emulated_streams = SimpleNamespace(submit=lambda handle, work: driver.streams[handle].append(work))

    def elsewhere(number: int) -> Runtime | None:
        if number not in allowed:
            return None
        return dataclasses.replace(rt, memory=CudaMemory(number), device=f"cuda:{number}", emulated=False)

    return dataclasses.replace(rt, memory=CudaMemory(0), device="cuda:0", emulated=False, elsewhere=elsewhere)


def test_sessions_on_two_gpus_each_have_their_own_context(driver: Driver) -> None:
    family = executors(on_gpus(driver, {1}))
    assert [one.device for one in family] == ["cuda:0", "cuda:1"]
    made = [Session(one, Engine(one.trt)) for one in family]
    driver.contexts.clear()
    for number in (0, 1, 1, 0):
        np.testing.assert_array_equal(made[number].run({"x": X})["y"], X * 2)
    assert driver.contexts == [0, 0, 1, 1]  # two buffers of each, made at its first run
    for session in reversed(made):
        session.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cast(Any, family[0].memory).close()
    assert driver.calls.count("detach") == 2 and driver.leaks == []


def test_a_gpu_that_is_not_executed_on_is_left_out(driver: Driver) -> None:
    assert len(executors(on_gpus(driver, set()))) == 1


def test_a_gpu_that_cannot_be_used_is_told_and_the_others_are_given_back(driver: Driver) -> None:
    rt = on_gpus(driver, {1})
    driver.fails["retain_primary_context"] = driver.LogicError(
        "cuDevicePrimaryCtxRetain failed: out of memory"
    )
    with pytest.raises(RuntimeMissingError, match="CUDA device 1 cannot be used"):
        executors(rt)
    driver.fails.clear()
    assert len(executors(rt)) == 2
