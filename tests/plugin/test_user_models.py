"""Models as users bring them, and the mistakes that they make with them: one verdict, or one error of ours in words."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

HEAD = """
    import numpy as np
    import pytest
    from onnx import helper, numpy_helper, parser

    X = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    W = np.random.default_rng(1).standard_normal((8, 4)).astype(np.float32)

    def make(nodes, inputs, outputs, opset=17, **constants):
        def value(name, kind=1, shape=("N", 8)):
            return helper.make_tensor_value_info(name, kind, list(shape))
        tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
        graph = helper.make_graph(nodes, "g", [value(*v) for v in inputs], [value(*v) for v in outputs], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def matmul(kind=1, **constants):
        constants = constants or {"w": W}
        return make([helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", kind)], [("y", kind, ("N", 4))], **constants)

    PROFILE = {"x": ((1, 8), (4, 8), (8, 8))}
"""
MACHINE = ("--gpu=a100", "--trt-runtime=emulator")


def outcome(trt: Trt, tests: str, *args: str) -> pytest.RunResult:
    trt.tests(HEAD + tests)
    return trt.run_apart("-p", "trt", *MACHINE, *args)


def test_scalars_integers_constants_and_empty_tensors_are_checked(bare_trt: Trt) -> None:
    tests = """
    def test_scalar_input(trt_check):
        model = make([helper.make_node("Mul", ["x", "k"], ["y"])], [("x",), ("k", 1, ())], [("y",)])
        assert trt_check(model, {"x": X, "k": np.float32(2)}).status == "conforms"

    def test_integer_output(trt_check):
        model = make([helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0)], [("x",)], [("y", 7, ("N",))])
        assert trt_check(model, {"x": X}).unjudged == {"ArgMax": 1}

    def test_constant_output(trt_check):
        model = make([helper.make_node("Relu", ["x"], ["y"])], [("x",)], [("y",), ("k", 1, (3,))], k=X[0, :3])
        assert trt_check(model, {"x": X}).status == "conforms"

    def test_shape_input(trt_check):
        model = make([helper.make_node("Reshape", ["x", "s"], ["y"])], [("x",), ("s", 7, (2,))], [("y", 1, ("a", "b"))])
        assert trt_check(model, {"x": X, "s": np.array([4, 4])}).status == "conforms"

    def test_empty_input(trt_check):
        node = helper.make_node("Concat", ["a", "x"], ["y"], axis=1)
        model = make([node], [("a", 1, ("N", "A")), ("x",)], [("y", 1, ("N", "Y"))])
        assert trt_check(model, {"a": X[:, :0], "x": X}).status == "conforms"
    """
    outcome(bare_trt, tests, "--trt-precision=fp32,fp16,int8").assert_outcomes(passed=15)


def test_a_model_in_fp16_is_checked_in_fp16_and_says_so_elsewhere(bare_trt: Trt) -> None:
    tests = """
    def test_it(trt_check): trt_check(matmul(10, w=W.astype(np.float16)), profile=PROFILE)
    """
    result = outcome(bare_trt, tests, "--trt-precision=fp32,fp16,int8")
    result.assert_outcomes(passed=1, failed=2)
    for precision in ("fp32", "int8"):
        words = f"*PrecisionError: the model is in fp16 itself: it cannot run in {precision}"
        result.stdout.fnmatch_lines(
            [words, '*mark the test trt_precision("fp16"), or give the model in fp32*']
        )


@pytest.mark.parametrize("typing", ["weak", "strong"])
def test_a_quantised_model_is_checked_at_each_precision(bare_trt: Trt, typing: str) -> None:
    tests = """
    def test_it(trt_check):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("DequantizeLinear", ["v", "t", "z"], ["w"]),
            helper.make_node("MatMul", ["d", "w"], ["y"]),
        ]
        v = np.clip(np.rint(W / 0.03), -127, 127).astype(np.int8)
        scales = {"s": np.float32(0.02), "t": np.float32(0.03), "z": np.int8(0)}
        trt_check(make(nodes, [("x",)], [("y", 1, ("N", 4))], v=v, **scales), {"x": X})
    """
    result = outcome(bare_trt, tests, "--trt-precision=fp32,fp16,int8", f"--trt-typing={typing}")
    result.assert_outcomes(passed=3)


MISTAKES = [
    ("matmul(), X", "InputError: inputs of type ndarray cannot be used"),
    ("matmul(), profile={'x': PROFILE['x'][:2]}", "ProfileError: the profile of 'x' needs (min, opt, max)"),
    ("matmul(), profile={'z': PROFILE['x']}", "ProfileError: the profile names 'z', which is not an input"),
    ("matmul(), profile=PROFILE, shapes={'z': (1, 8)}", "InputError: shapes name 'z', which is no input*"),
    ("matmul(), profile=PROFILE, calibration={'x': X}", "InputError: calibration is one mapping*"),
    ("matmul(), {'x': X[:0]}", "ConformanceError: the engine: nothing was compared*"),
]


def test_mistakes_are_told_in_words_of_ours(bare_trt: Trt) -> None:
    tests = "".join(
        f"\n    def test_{number}(trt_check): trt_check({call})\n"
        for number, (call, _) in enumerate(MISTAKES)
    )
    result = outcome(bare_trt, tests, "--trt-precision=int8")
    result.assert_outcomes(failed=len(MISTAKES))
    result.stdout.fnmatch_lines([f"E  *{words.replace('[', '[[]')}*" for _, words in MISTAKES])


def test_a_build_option_that_there_is_not(bare_trt: Trt) -> None:
    tests = """
    def test_unknown(trt_build): trt_build(matmul(), profile=PROFILE, workspace=1)

    def test_taken(trt_session): trt_session(matmul(), profile=PROFILE, flags={"FP16"})

    def test_known(trt_build): assert trt_build(matmul(), profile=PROFILE, workspace_bytes=2**20) is not None
    """
    result = outcome(bare_trt, tests, "--trt-precision=fp16")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*UsageError: a build has no option 'workspace'",
            "*did you mean 'workspace_bytes'?",
            "*UsageError: a build has no option 'flags'",
            "*good ones: *workspace_bytes*",
        ]
    )


def test_implicit_int8_is_checked_where_it_is_and_refused_elsewhere(bare_trt: Trt) -> None:
    tests = "\n    def test_it(trt_check): trt_check(matmul(), profile=PROFILE)\n"
    options = ("--trt-precision=fp32,int8", "--trt-int8=implicit")
    outcome(bare_trt, tests, *options).assert_outcomes(passed=2)
    result = outcome(bare_trt, tests, *options, "--trt-emulate=tensorrt-11.4")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*UnsupportedError: *11.4* has no implicit INT8", "*--trt-int8=explicit*"])


def test_a_failure_is_repeated_by_its_own_test(bare_trt: Trt) -> None:
    tests = "\n    def test_it(trt_check): trt_check(matmul(), profile=PROFILE)\n"
    fault = "--trt-fault=pytest_trt.emulator.faults:output_truncated_not_rounded"
    result = outcome(bare_trt, tests, "--trt-precision=fp16", fault)
    result.assert_outcomes(failed=1)
    line = next(line for line in result.outlines if "repeat: " in line)
    assert "repeat: pytest 'test_it.py::test_it[fp16]' --trt-precision=fp16 --gpu=a100" in line
