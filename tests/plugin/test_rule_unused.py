"""A loaded and unused plugin prints nothing, creates nothing and imports nothing heavy."""

from __future__ import annotations

from tests.plugin.conftest import Trt

HEAVY = (
    "numpy",
    "onnx",
    "onnxruntime",
    "hypothesis",
    "tensorrt",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
    "pycuda",
)


def test_imports_nothing_heavy(bare_trt: Trt) -> None:
    bare_trt.ini("trt_emulate = tensorrt-8.6.1\ntrt_budget = standard\n")
    bare_trt.tests(f"""
        import sys
        def test_a():
            assert "pytest_trt.plugin" in sys.modules
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
            assert "pytest_trt.runtime" not in sys.modules and "pytest_trt.hardware" not in sys.modules
    """)
    bare_trt.run_apart("-p", "trt", "test_it.py").assert_outcomes(passed=1)


def test_prints_and_creates_nothing(bare_trt: Trt) -> None:
    bare_trt.tests("def test_a(): pass")
    before = sorted(path.name for path in bare_trt.pytester.path.iterdir())
    result = bare_trt.run()
    result.assert_outcomes(passed=1)
    assert "trt" not in "\n".join(
        line for line in result.outlines if "rootdir" not in line and "plugins" not in line
    )
    after = sorted(path.name for path in bare_trt.pytester.path.iterdir() if path.name != "__pycache__")
    assert after == [name for name in before if name != "__pycache__"]


def test_markers_of_others_are_left_alone(bare_trt: Trt) -> None:
    """A bare `gpu` marker is common; without arguments it asks for nothing."""
    bare_trt.tests("import pytest\n@pytest.mark.gpu\ndef test_a(): pass")
    bare_trt.run().assert_outcomes(passed=1)
