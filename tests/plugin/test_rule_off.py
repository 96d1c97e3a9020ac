"""`--trt-runtime=off` and `-p no:trt`."""

from __future__ import annotations

from pytest_trt.options import OPTIONS
from tests.plugin.conftest import Trt

INI = "trt_runtime = off\ntrt_precision = int8\ntrt_gpu = a10\ntrt_require = golden\ntrt_fault = a:b\n"


def test_off_skips_what_needs_a_runtime(trt: Trt) -> None:
    trt.tests("""
        import pytest
        def test_a(): pass
        def test_b(trt_check): pass
        def test_c(trt_builder): pass
        @pytest.mark.trt_model("nowhere.onnx")
        def test_d(context): pass
        def test_e(trt_settings, trt_precision): pass
    """)
    result = trt.run("--trt-runtime=off", "--trt-precision=int8")
    result.assert_outcomes(passed=2, skipped=3)
    result.stdout.fnmatch_lines(["trt: off (--trt-runtime=off)"])


def test_off_from_the_ini_file_under_strict_configuration(bare_trt: Trt) -> None:
    bare_trt.ini(INI)
    bare_trt.tests("def test_a(): pass\ndef test_b(trt_check): pass")
    result = bare_trt.run("--strict-config", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=1)
    assert "WARNING" not in result.stdout.str()


def test_off_leaves_markers_alone(trt: Trt) -> None:
    trt.tests("import pytest\n@pytest.mark.gpu('mine', ram=3)\ndef test_a(): pass")
    trt.run("--trt-runtime=off").assert_outcomes(passed=1)


def test_every_ini_key_is_known(trt: Trt) -> None:
    trt.ini("".join(f"{option.key} =\n" for option in OPTIONS))
    trt.tests("def test_a(): pass")
    trt.run("--strict-config").assert_outcomes(passed=1)


def test_not_loaded(bare_trt: Trt) -> None:
    bare_trt.tests("""
        import sys
        def test_a(): assert "pytest_trt" not in sys.modules
        def test_b(trt_check): pass
    """)
    bare_trt.monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    result = bare_trt.run_apart("-p", "no:trt")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'trt_check' not found"])


def test_loaded_by_its_entry_point(trt: Trt) -> None:
    trt.tests("def test_a(trt_settings): pass")
    trt.monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    trt.run_apart().assert_outcomes(passed=1)


def test_without_a_terminal(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): trt_check(b'm')")
    assert trt.run("-p", "no:terminal").ret == 0
