"""Tensors between layers are shown while an engine runs, without another output."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from pytest_trt.check.workbench import Workbench
from pytest_trt.errors import ExecutionError, ModelError, UnsupportedError
from pytest_trt.records import Settings
from pytest_trt.runtime import Session
from pytest_trt.runtime.debug import DebugTensors, _number, listen, show_marked, show_tensors
from pytest_trt.runtime.load import discover
from tests.unit.check.deep_models import SHAPE, deep_model

X = {"x": np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)}


def runtime(emulate="tensorrt-10.13"):
    made = Settings(runtime="emulator", gpu="a100", emulate=emulate)
    return Workbench(made, discover(made))


def marked_session(bench, precision="fp16"):
    """An engine with its unfused tensors marked, made through TensorRT's own calls."""
    subject, rt = bench.subject(deep_model(), precision, {"x": (SHAPE,) * 3}), bench.executor
    builder = rt.trt.Builder(rt.logger.raw)
    network = builder.create_network(rt.features.network_flags(True))
    assert rt.trt.OnnxParser(network, rt.logger.raw).parse(subject.prepared.model.SerializeToString())
    assert network.mark_unfused_tensors_as_debug_tensors()
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("x", *(SHAPE,) * 3)
    config.add_optimization_profile(profile)
    return subject, Session(rt, bytes(builder.build_serialized_network(network, config)))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_tensors_are_those_of_an_engine_with_outputs(precision):
    subject, session = marked_session(runtime(), precision)
    with session, subject.with_outputs(("r1", "a2")) as other:
        with show_tensors(session) as seen:
            got = session.run(X)
        want = other.run(X)
        assert {"r1", "a2", "pooled"} <= seen.keys() and list(got) == ["y"]
        for name in ("r1", "a2"):
            np.testing.assert_array_equal(seen[name], want[name])
            assert seen[name].dtype == want[name].dtype
        seen.clear()
        session.run(X)
        assert not seen


def test_a_tensorrt_without_debug_tensors_shows_none():
    bench = runtime("tensorrt-8.6")
    with (
        bench.subject(deep_model(), "fp32", {"x": (SHAPE,) * 3}) as subject,
        show_tensors(subject.session) as seen,
    ):
        subject.run(X)
    assert not seen


def test_an_address_may_be_a_number_or_a_capsule():
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    assert _number(4096) == _number(make(4096, None, None)) == 4096


def test_what_goes_wrong_in_a_callback_is_raised_behind_the_run():
    _, session = marked_session(runtime())
    with session:
        listener = DebugTensors(session.rt.trt, session.memory, session.stream)
        listener.take("nowhere", None, session.rt.trt.DataType.FLOAT, (2,), "t")
        with pytest.raises(ExecutionError, match="could not be copied"):
            listener.check()
        assert not listener.seen


def debug_session(bench, *names):
    return bench.session(deep_model(), "fp32", {"x": (SHAPE,) * 3}, debug=names)


def test_tensors_marked_by_name_are_shown_once_a_run_while_they_are_on():
    bench = runtime()
    with debug_session(bench, "r1", "a2") as session:
        with show_marked(session, ("r1",)) as listener:
            session.run(X)
            session.run(X)
        assert listener.calls == {"r1": 2} and set(listener.seen) == {"r1"}
        with listen(session) as silent:
            session.run(X)
        assert not silent.calls
        with pytest.raises(ExecutionError, match="'r3' is not a debug tensor"), show_marked(session, ("r3",)):
            pass


def test_marks_for_debugging_need_a_tensor_and_a_tensorrt_that_has_them():
    with pytest.raises(ModelError, match="no tensor 'nope' to mark as a debug tensor"):
        debug_session(runtime(), "nope")
    with pytest.raises(UnsupportedError, match="has no debug tensors"):
        debug_session(runtime("tensorrt-8.6"), "r1")
