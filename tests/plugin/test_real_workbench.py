"""A user's test file, end to end on the emulator: raw objects, sessions, checks, a fault that is caught."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

MODEL = """
    import numpy as np
    import pytest
    from onnx import TensorProto, helper, numpy_helper

    def model():
        rng = np.random.default_rng(3)
        weights = numpy_helper.from_array(rng.integers(-3, 4, (8, 4, 3, 3)).astype(np.float32), "w")
        bias = numpy_helper.from_array(rng.integers(1, 5, 8).astype(np.float32), "b")
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
                 helper.make_node("Relu", ["c"], ["y"])]
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 6])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8, 6, 6])
        graph = helper.make_graph(nodes, "g", [x], [y], [weights, bias])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    PROFILE = {"x": ((1, 4, 6, 6), (2, 4, 6, 6), (4, 4, 6, 6))}
"""
TESTS = (
    MODEL
    + """
    X = np.ones((2, 4, 6, 6), np.float32)

    @pytest.mark.trt_model(source=model, profile=PROFILE)
    def test_raw_objects(engine, context, stream):
        assert engine.num_io_tensors == 2
        assert context.set_input_shape("x", X.shape)
        assert tuple(context.get_tensor_shape("y")) == (2, 8, 6, 6)
        y = np.full((2, 8, 6, 6), np.nan, np.float32)
        context.set_tensor_address("x", X.ctypes.data)
        context.set_tensor_address("y", y.ctypes.data)
        assert context.execute_async_v3(stream.handle)
        stream.synchronize()
        assert np.isfinite(y).all()

    def test_session(trt_session, trt_precision):
        with trt_session(model(), profile=PROFILE) as session:
            want = session.run({"x": X})["y"]
            assert np.array_equal(want, session.run({"x": X})["y"])

    def test_check(trt_check):
        verdict = trt_check(model(), profile=PROFILE)
        assert verdict.status == "conforms" and verdict.compared > 0

    def test_check_given(trt_check):
        assert trt_check(model(), {"x": X}).passed

    def test_compare(trt_compare):
        assert trt_compare(X, X + 0.5, limit=1.0).passed
        with pytest.raises(AssertionError):
            trt_compare(X, X + 2, limit=1.0)
"""
)
MACHINE = ("--gpu=t4", "--trt-runtime=emulator")


def test_a_users_file(bare_trt: Trt) -> None:
    bare_trt.tests(TESTS)
    result = bare_trt.run_apart("-p", "trt", *MACHINE)
    result.assert_outcomes(passed=13)
    result.stdout.fnmatch_lines(
        [
            "trt: emulator (tensorrt-10.13*) on cpu as t4 (sm_75); fp32 fp16 int8; budget quick; seed 0*",
            "test_it.py::test_check * fp32 * 1  conforms *",
            "checked on: emulator (tensorrt-10.13*); GPU class t4",
        ]
    )


@pytest.mark.parametrize("version", ["tensorrt-8.6.1", "tensorrt-11.4", "tensorrt_rtx-1.7"])
def test_on_other_versions(bare_trt: Trt, version: str) -> None:
    bare_trt.tests(TESTS)
    result = bare_trt.run_apart("-p", "trt", *MACHINE, f"--trt-emulate={version}", "--trt-precision=fp16")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines([f"trt: emulator ({version}*"])


def test_a_fault_fails_the_check(bare_trt: Trt) -> None:
    bare_trt.tests(MODEL + "\n    def test_check(trt_check): trt_check(model(), profile=PROFILE)\n")
    fault = "pytest_trt.emulator.faults:last_input_channel_dropped"
    result = bare_trt.run_apart("-p", "trt", "--gpu=t4", "--trt-precision=int8", f"--trt-fault={fault}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"trt: *; fault {fault}*", "*ConformanceError: output 'y': *"])
    result.stdout.fnmatch_lines(["test_it.py::test_check  int8 * 1  violates *"])


def test_an_unknown_fault_is_a_usage_error(bare_trt: Trt) -> None:
    words = bare_trt.refusal("--trt-fault=nowhere:nothing", "--gpu=t4")
    assert "fault 'nowhere:nothing' cannot be loaded: ModuleNotFoundError" in words


def test_an_unknown_version_is_a_usage_error(bare_trt: Trt) -> None:
    words = bare_trt.refusal("--trt-emulate=tensorrt-9.9", "--trt-runtime=emulator")
    assert "9.9" in words
    assert "10.13" in words, "the good ones"
