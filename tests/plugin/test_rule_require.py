"""A thing that is missing is a skip with the way to get it; `--trt-require` makes it a failure."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

EXECUTES = "def test_a(trt_check): pass"
BUILDS = "def test_a(trt_builder): pass"


def test_no_builder_is_a_skip_with_the_command(trt: Trt) -> None:
    trt.tests(BUILDS)
    result = trt.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            'skipped for lack of build, 1 test: *; to get it: pip install "pytest-trt[[]rtx]"',
            'SKIPPED*trt: TensorRT-RTX is not installed; to get it: pip install "pytest-trt[[]rtx]"',
        ]
    )


def test_required_builder(trt: Trt) -> None:
    trt.tests(BUILDS)
    result = trt.run("--trt-require=build")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["trt: --trt-require=build is not met: TensorRT-RTX is not installed", "*mend*pip install*"]
    )
    trt.have("builder")
    trt.run("--trt-require=build").assert_outcomes(passed=1)


def test_the_emulator_executes_but_does_not_count(trt: Trt) -> None:
    trt.tests(EXECUTES)
    trt.run("--trt-precision=int8").assert_outcomes(passed=1)
    result = trt.run("--trt-precision=int8", "--trt-require=execute")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["trt: --trt-require=execute is not met: no real TensorRT executes here*"])
    trt.have("real")
    trt.run("--trt-precision=int8", "--trt-require=execute").assert_outcomes(passed=1)


def test_required_gpu(trt: Trt) -> None:
    trt.tests(EXECUTES)
    result = trt.run("--trt-precision=int8", "--trt-require=gpu")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["trt: --trt-require=gpu is not met: no NVIDIA GPU*", "*mend*machine with an NVIDIA GPU"]
    )


def test_required_build_holds_for_the_emulators_users_too(trt: Trt) -> None:
    """A run that has to build with a real TensorRT and has none does not pass on the emulator alone."""
    trt.tests(EXECUTES)
    trt.run("--trt-precision=int8", "--trt-require=build").assert_outcomes(errors=1)
    trt.have("builder")
    trt.run("--trt-precision=int8", "--trt-require=build").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "fixture", ["trt_runtime", "stream", "trt_build", "trt_session", "trt_check", "engine", "context"]
)
def test_nothing_executes(trt: Trt, fixture: str) -> None:
    trt.have("nothing", "builder")
    trt.tests(f"import pytest\n@pytest.mark.trt_model(b'm')\ndef test_a({fixture}): pass")
    result = trt.run("--trt-precision=int8", "--trt-runtime=tensorrt_rtx")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        ["skipped for lack of execute, 1 test: *no NVIDIA GPU*; or --trt-runtime=auto"]
    )
    trt.run("--trt-precision=int8", "--trt-require=execute").assert_outcomes(errors=1)


def test_tests_that_need_nothing_run(trt: Trt) -> None:
    trt.have("nothing")
    trt.tests("def test_a(trt_settings, trt_gpu, trt_precision): pass\ndef test_b(): pass")
    result = trt.run("--trt-precision=int8", "--trt-require=gpu,build,execute")
    result.assert_outcomes(passed=2)


BF16 = ("--trt-precision=fp32,bf16", "--gpu=a100")


@pytest.mark.parametrize(
    ("name", "version", "command"),
    [
        ("onnx.defs.onnx_opset_version", lambda: 20, 'pip install "onnx>=1.17"'),
        ("onnxruntime.__version__", "1.20.1", 'pip install "onnxruntime>=1.21"'),
    ],
)
def test_packages_too_old_for_bf16(
    trt: Trt, monkeypatch: pytest.MonkeyPatch, name: str, version: object, command: str
) -> None:
    monkeypatch.setattr("onnx.defs.onnx_opset_version", lambda: 22)
    monkeypatch.setattr("onnxruntime.__version__", "1.21.0")
    trt.tests(EXECUTES)
    trt.run(*BF16).assert_outcomes(passed=2)
    monkeypatch.setattr(name, version)
    result = trt.run(*BF16, "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        [f"SKIPPED*trt: bf16 needs ONNX operator set 22, which onnx*; to get it: {command}"]
    )
    trt.tests("def test_a(trt_precision): pass")
    trt.run(*BF16).assert_outcomes(passed=2)  # it rewrites nothing
    trt.tests(EXECUTES)
    trt.have("real")
    result = trt.run(*BF16, "--trt-require=execute")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["trt: --trt-require=execute is not met: bf16 needs ONNX operator set 22*"])
