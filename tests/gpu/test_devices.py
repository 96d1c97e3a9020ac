"""One process on all GPUs that it sees."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from pytest_trt.runtime import Session
from pytest_trt.runtime.devices import executors
from pytest_trt.runtime.driver import count_devices, load_library

from .conftest import frames

_DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
RUNS = 20


def ordinal_of(address):
    """Return the GPU that an address lies on."""
    found = ctypes.c_int(-1)
    answer = load_library().cuPointerGetAttribute(
        ctypes.byref(found), _DEVICE_ORDINAL, ctypes.c_uint64(address)
    )
    assert answer == 0
    return found.value


def test_there_is_a_runtime_for_each_gpu(rt):
    family = executors(rt)
    assert family[0] is rt and executors(rt) is family
    assert sorted(one.device for one in family) == [f"cuda:{n}" for n in range(count_devices())]
    assert [one.memory.ordinal for one in family] == [int(one.device[5:]) for one in family]


def test_sessions_lie_on_their_own_gpu_and_give_the_same(rt, cpu, plan):
    family = executors(rt)
    with Session(cpu, plan) as reference:
        want = [reference.run({"x": frames(2, turn)})["y"] for turn in range(RUNS)]
    sessions = [Session(one, plan) for one in family]
    try:
        for turn in range(RUNS):
            takes = [one.enqueue({"x": frames(2, turn)}) for one in sessions]
            for take in takes:
                np.testing.assert_array_equal(take()["y"], want[turn])
        for one, session in zip(family, sessions, strict=True):
            with one.memory.active():
                assert {ordinal_of(held.address) for held in session._buffers.values()} == {
                    one.memory.ordinal
                }
    finally:
        for session in sessions:
            session.close()


def test_memory_of_one_gpu_is_not_taken_from_another(rt):
    family = executors(rt)
    if len(family) < 2:
        pytest.skip("needs two GPUs; this machine shows one to CUDA")
    first, second = family[:2]
    before = first.memory.used_bytes()
    with first.memory.active():
        held = second.memory.alloc(1 << 30)  # the other context is entered for it
        assert first.memory.used_bytes() - before < 1 << 26
        second.memory.free(held)
