"""The emulator on a GPU keeps a session for each stream, and not for ever (found on an H200: 70 MB a context)."""

from __future__ import annotations

import threading
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

from pytest_trt.emulator.cuda import STREAMS_KEPT, CudaDevice, Either


class Session:
    """Knows that it is there."""


class Model:
    """A program, as far as its sessions are concerned."""

    def whole_model(self):
        return b""


def device():
    made = CudaDevice.__new__(CudaDevice)
    made.made, made.drained = [], 0
    made._lock = threading.Lock()
    made._sessions = weakref.WeakKeyDictionary()
    made.current = nullcontext

    def make(model, stream):
        session = Session()
        made.made.append((stream, weakref.ref(session)))
        return session

    def synchronize():
        made.drained += 1

    made._make = make
    made._driver = SimpleNamespace(Context=SimpleNamespace(synchronize=synchronize))
    return made


def alive(made):
    return [stream for stream, session in made.made if session() is not None]


def test_a_stream_keeps_its_session():
    made, program = device(), Model()
    first, _ = made._session_on(program, 7)
    assert made._session_on(program, 7)[0] is first and made._session_on(Model(), 7)[0] is not first


def test_streams_that_were_used_long_ago_lose_theirs_when_their_work_is_done():
    made, program = device(), Model()
    for stream in range(1, 3 * STREAMS_KEPT + 1):
        made._session_on(program, stream)
        made._session_on(program, 1)
    assert alive(made) == [1, *range(2 * STREAMS_KEPT + 2, 3 * STREAMS_KEPT + 1)]
    assert made.drained == 2 * STREAMS_KEPT


def test_sessions_end_with_their_program():
    made, program = device(), Model()
    made._session_on(program, 7)
    del program
    assert alive(made) == []


class Failing:
    """A session that cuDNN has no kernel for."""

    def __init__(self):
        self.runs = 0

    def get_inputs(self):
        return ["x"]

    def run(self, names, feeds):
        self.runs += 1
        raise RuntimeError("CUDNN_STATUS_NOT_SUPPORTED")


def relu():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_the_gpu_cannot_run_is_run_on_the_cpu_from_then_on():
    gpu = Failing()
    either = Either(gpu, relu())
    for _ in range(2):
        (y,) = either.run(["y"], {"x": np.array([-1, 2], np.float32)})
        assert y.tolist() == [0, 2]
    assert gpu.runs == 1 and either.get_inputs() == ["x"]


def test_what_neither_can_run_is_an_error():
    with pytest.raises(Exception, match="x"):
        Either(Failing(), relu()).run(["y"], {})
