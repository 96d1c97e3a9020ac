"""`--gpu`: the GPU class expected."""

from __future__ import annotations

from tests.plugin.conftest import Trt
from tests.plugin.precedence import check_precedence, check_refusal


def test_precedence(trt: Trt) -> None:
    check_precedence(trt, "--gpu", "auto", (("a10", "a10"), ("A100", "a100"), ("l4", "l4")))


def test_unknown(trt: Trt) -> None:
    check_refusal(trt, "--gpu", "a1000", "p4", "rtx5090", "did you mean 'a100'?")


def test_an_alias_and_a_compute_capability(trt: Trt) -> None:
    assert trt.settings("--gpu=sm86")["gpu"] == "sm86"


def test_auto_without_a_gpu_is_a_t4(trt: Trt) -> None:
    trt.tests("def test_a(trt_gpu): assert (trt_gpu.name, trt_gpu.sm) == ('t4', 75)")
    trt.run().assert_outcomes(passed=1)


def test_auto_with_a_gpu_is_its_class(trt: Trt) -> None:
    from pytest_trt import hardware

    seen = hardware.DetectedGpu(0, "NVIDIA A10", 86, hardware.get("a10"), "550.1")
    trt.monkeypatch.setattr(hardware, "detect", lambda: (seen,))
    trt.tests("def test_a(trt_gpu): assert trt_gpu.name == 'a10'")
    trt.run().assert_outcomes(passed=1)


def test_a_gpu_of_another_class_is_refused_by_name(bare_trt: Trt) -> None:
    """The words are the adapter's; that they become a usage error is ours."""
    bare_trt.pytester.makeconftest("""
        from pytest_trt.errors import SettingsError
        def pytest_trt_make_discovery(config, settings):
            raise SettingsError("--gpu=t4 was asked for, but GPU 0 is h200 (NVIDIA H200)")
    """)
    words = bare_trt.refusal("--gpu=t4")
    assert "--gpu=t4" in words
    assert "h200" in words
