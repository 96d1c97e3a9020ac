"""One line after collection, only when a collected test uses us or an option of ours was given."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Trt

LINE = "trt: emulator (tensorrt-10.13.3.9) on cpu as t4 (sm_75); fp32 fp16 int8; budget quick; seed 0"


def lines_of(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("trt: ")]


def test_when_a_test_uses_us(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): pass")
    assert lines_of(trt.run()) == [LINE]
    assert lines_of(trt.run("-q")) == [LINE]


def test_through_a_fixture_of_the_project(trt: Trt) -> None:
    trt.tests("import pytest\n@pytest.fixture\ndef mine(trt_settings): pass\ndef test_a(mine): pass")
    assert lines_of(trt.run()) == [LINE]


def test_when_all_of_ours_are_not_applicable(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): pass")
    assert len(lines_of(trt.run("--trt-precision=bf16"))) == 1


def test_when_an_option_is_given(trt: Trt) -> None:
    trt.tests("def test_a(): pass")
    assert lines_of(trt.run("--trt-budget=quick")) == [LINE]
    trt.monkeypatch.setenv("TRT_SEED", "5")
    assert lines_of(trt.run()) == [LINE.replace("seed 0", "seed 5")]


def test_not_for_an_ini_key_alone(trt: Trt) -> None:
    trt.ini("trt_budget = standard")
    trt.tests("def test_a(): pass")
    assert lines_of(trt.run()) == []


def test_not_in_a_list_for_programs(trt: Trt) -> None:
    trt.tests("def test_a(trt_check): pass")
    assert lines_of(trt.run("--collect-only", "-q")) == []
    assert len(lines_of(trt.run("--collect-only"))) == 1


def test_who_builds(trt: Trt) -> None:
    trt.have("builder")
    trt.tests("def test_a(trt_check): pass")
    assert lines_of(trt.run()) == [f"{LINE}; TensorRT-RTX 1.7.1.116 builds"]


def test_a_real_one(trt: Trt) -> None:
    trt.have("real")
    trt.tests("def test_a(trt_check): pass")
    (line,) = lines_of(trt.run())
    assert line.startswith("trt: TensorRT 10.13.3.9 on cuda:0 on t4 (sm_75); fp32")
    assert "builds" not in line


def test_a_broken_library_is_named_with_its_import_error(trt: Trt) -> None:
    trt.have("broken")
    trt.tests("def test_a(trt_check): pass")
    (line,) = lines_of(trt.run())
    assert line.endswith("; tensorrt does not load: ImportError: libnvinfer.so.10: cannot open")


def test_nothing_executes(trt: Trt) -> None:
    trt.have("nothing", "builder")
    trt.tests("def test_a(trt_check): pass")
    (line,) = lines_of(trt.run())
    assert line.startswith("trt: nothing executes on t4 (sm_75); ")


def test_every_fixture_of_the_plugin_counts_as_use_of_us() -> None:
    from pytest_trt import collecting, plugin

    fixtures = {name for name in plugin.__all__ if name.startswith("trt_")}
    assert {"trt_check", "trt_telemetry", "trt_timer"} <= fixtures <= collecting.OURS
