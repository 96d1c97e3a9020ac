"""What `doctor` says of machines of several kinds."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_trt import hardware
from pytest_trt.cli import doctor, main
from pytest_trt.cli.facts import Fact, ModuleProbe
from pytest_trt.errors import SettingsError
from pytest_trt.hardware import DetectedGpu
from pytest_trt.hardware.jetson import Jetson
from pytest_trt.hardware.pci import PciGpu
from pytest_trt.records import Missing


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleProbe]]:
    """Answers of `probe_module` by module name; any other module is missing."""
    answers: dict[str, ModuleProbe] = {}

    def probe(name: str, before: tuple[str, ...] = ()) -> ModuleProbe:
        return answers.get(name, ModuleProbe(missing=f"ModuleNotFoundError: No module named {name!r}"))

    monkeypatch.setattr(doctor, "probe_module", probe)
    monkeypatch.setattr(doctor.versions, "list_roots", lambda: ())
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    yield answers


def find(facts: list[Fact], name: str) -> Fact:
    return next(fact for fact in facts if fact.name == name)


def test_missing_tensorrt_says_what_it_enables_and_how_to_get_it(probes: dict[str, ModuleProbe]) -> None:
    fact = find(doctor.examine_tensorrt(), "module")
    assert fact.state == "missing"
    assert "No module named 'tensorrt'" in fact.detail
    assert "pytest-trt[tensorrt]" in fact.mend and "executes" in fact.enables


def test_broken_tensorrt_names_the_import_error(probes: dict[str, ModuleProbe]) -> None:
    probes["tensorrt"] = ModuleProbe(error="ImportError: libnvinfer.so.10: cannot open shared object file")
    fact = find(doctor.examine_tensorrt(), "module")
    assert fact.state == "broken"
    assert fact.detail == "tensorrt: ImportError: libnvinfer.so.10: cannot open shared object file"


def test_tensorrt_tells_symbol_and_header(
    probes: dict[str, ModuleProbe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libnvinfer.so.10"
    library.write_bytes(b"\0tensorrt_version_10_13_3_9\0")
    header = tmp_path / "include/NvInferVersion.h"
    header.parent.mkdir()
    header.write_text("\n".join(f"#define NV_TENSORRT_{part} 10" for part in ("MAJOR", "MINOR", "PATCH")))
    monkeypatch.setattr(doctor.versions, "list_roots", lambda: (tmp_path,))
    probes["tensorrt"] = ModuleProbe("10.13.3.9", (str(library), "/lib/libc.so.6"))
    facts = doctor.examine_tensorrt()
    assert find(facts, "module").detail == "tensorrt 10.13.3.9"
    assert find(facts, "symbol").detail == f"10.13.3.9 ({library})"
    assert find(facts, "header").detail == f"10.10.10 ({header})"
    assert {fact.state for fact in facts} == {"here"}


def test_library_of_another_version_than_its_module_is_broken(
    probes: dict[str, ModuleProbe], tmp_path: Path
) -> None:
    library = tmp_path / "libtensorrt_rtx.so.1"
    library.write_bytes(b"\0tensorrt_version_1_6_0_1\0")
    probes["tensorrt_rtx_bindings"] = ModuleProbe("1.7.1.116", (str(library),))
    facts = doctor.examine_rtx()
    assert find(facts, "module").detail == "tensorrt_rtx_bindings 1.7.1.116"
    symbol = find(facts, "symbol")
    assert symbol.state == "broken"
    assert "1.6.0.1" in symbol.detail and "the module that loads it is 1.7.1.116" in symbol.detail
    assert "pytest-trt[rtx]" in symbol.mend


def test_either_wheel_layout_of_rtx_is_found(probes: dict[str, ModuleProbe]) -> None:
    probes["tensorrt_rtx"] = ModuleProbe("1.5.0.114")
    assert find(doctor.examine_rtx(), "module").detail == "tensorrt_rtx 1.5.0.114"


def test_gpu_tells_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = (
        DetectedGpu(0, "Tesla T4", 75, hardware.get("t4"), "535.1"),
        DetectedGpu(1, "NVIDIA Z9000", None, None, ""),
    )
    monkeypatch.setattr(doctor, "detect", lambda: gpus)
    facts = doctor.examine_gpu()
    assert find(facts, "cuda:0").detail == "Tesla T4, SM75, driver 535.1, --gpu=t4"
    assert find(facts, "cuda:1").detail == "NVIDIA Z9000, SM unknown, driver unknown, class unknown"
    figures = "40 SMs, 16 GB, 320 GB/s, fp32 8.1 TFLOP/s, fp16 65 TFLOP/s, int8 130 TOP/s"
    assert find(facts, "figures").detail == figures
    assert find(facts, "supported").detail == "TensorRT 8.6 on, TensorRT-RTX 1.0 on"


@pytest.mark.parametrize(
    ("name", "supported"),
    [("v100", "TensorRT 8.6 to 10.4, TensorRT-RTX none"), ("b200", "TensorRT 10.8 on, TensorRT-RTX none")],
)
def test_versions_that_support_a_class_are_told(
    monkeypatch: pytest.MonkeyPatch, name: str, supported: str
) -> None:
    kind = hardware.get(name)
    monkeypatch.setattr(doctor, "detect", lambda: (DetectedGpu(0, "one", kind.sm, kind, ""),))
    assert find(doctor.examine_gpu(), "supported").detail == supported


def test_who_would_tell_of_clocks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "detect", lambda: (DetectedGpu(0, "Tesla T4", 75, hardware.get("t4"), ""),))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    assert find(doctor.examine_gpu(), "telemetry").detail == "NVML by pynvml"
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: None)
    missing = find(doctor.examine_gpu(), "telemetry")
    assert missing.state == "missing" and "nvidia-ml-py" in missing.mend
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    assert find(doctor.examine_gpu(), "telemetry").detail == "nvidia-smi"


def test_gpus_that_no_driver_offers_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor, "detect", lambda: ())
    there = PciGpu("0000:3b:00.0", "1eb8", "Tesla T4", hardware.get("t4"))
    monkeypatch.setattr(doctor, "find_pci", lambda: (there,))
    orin = Jetson("NVIDIA Jetson AGX Orin Developer Kit", 87, hardware.get("orin"), "R36.4.0", False)
    monkeypatch.setattr(doctor, "find_jetson", lambda: orin)
    t4, jetson = doctor.examine_gpu()
    assert (t4.name, t4.state) == ("0000:3b:00.0", "missing")
    assert t4.detail == "Tesla T4 is on the PCI bus, and no driver offers it" and "--gpus=all" in t4.mend
    assert "AGX Orin Developer Kit, and its GPU is out of reach" in jetson.detail
    assert "--runtime=nvidia" in jetson.mend


def test_hidden_gpus_are_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "detect", lambda: ())
    monkeypatch.setattr(doctor, "find_pci", lambda: ())
    monkeypatch.setattr(doctor, "find_jetson", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert doctor.examine_gpu()[0].detail == "none visible"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES is empty" in doctor.examine_gpu()[0].detail


def test_cuda_parts_are_examined(probes: dict[str, ModuleProbe], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> object:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(doctor.ctypes, "CDLL", load)
    monkeypatch.setattr(doctor, "find_nvcc", lambda: None)
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    probes["pycuda.driver"] = ModuleProbe(error="ImportError: libcuda.so.1: cannot open shared object file")
    facts = doctor.examine_cuda()
    assert [(fact.name, fact.state) for fact in facts] == [
        ("driver", "missing"),
        ("toolkit", "missing"),
        ("pycuda", "broken"),
    ]
    assert "libcuda.so.1" in facts[0].detail and "libcuda.so.1" in facts[2].detail
    assert all(fact.mend for fact in facts)


def test_cuda_that_is_here_tells_versions(
    probes: dict[str, ModuleProbe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def driver_version(pointer: object) -> int:
        pointer._obj.value = 13000  # type: ignore[attr-defined]
        return 0

    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.4, V12.4.131'\n")
    nvcc.chmod(0o755)
    monkeypatch.setattr(
        doctor.ctypes, "CDLL", lambda name: SimpleNamespace(cuDriverGetVersion=driver_version)
    )
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("PATH", str(tmp_path))
    probes["pycuda.driver"] = ModuleProbe()
    facts = doctor.examine_cuda()
    assert [fact.state for fact in facts] == ["here"] * 3
    assert facts[0].detail == "supports CUDA 13.0"
    assert facts[1].detail == f"12.4 ({nvcc})"
    assert doctor.read_nvcc(str(tmp_path / "none")) == "version unknown"


def test_absent_networks_name_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    (fact,) = doctor.examine_models()
    assert fact.state == "missing" and "rapidocr-onnxruntime==1.4.4" in fact.mend


def test_text_groups_facts_and_ends_in_the_summary() -> None:
    facts = (
        Fact("A", "one", "here", "1.0"),
        Fact("A", "second", "missing", "not installed", "speed", "pip install second"),
    )
    assert doctor.render(facts, ["it runs"]).splitlines() == [
        "A",
        "  one     here     1.0",
        "  second  missing  not installed",
        "            enables  speed",
        "            get it   pip install second",
        "so",
        "  it runs",
    ]


def test_summary_does_not_import_what_crashes() -> None:
    broken = (Fact("TensorRT", "module", "broken", "tensorrt: the import ended in signal 11"),)
    assert doctor.summarise(broken) == [
        "--trt-runtime=auto cannot be tried here: an import above crashes or hangs"
    ]


def test_summary_says_who_executes_and_who_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = SimpleNamespace(emulated=False, title="TensorRT-RTX 1.7.1.116")
    missing = (Missing("gpu", "no NVIDIA GPU", "get one"),)
    found = SimpleNamespace(label="emulator (tensorrt-10.13.3.9)", builder=builder, missing=missing)
    monkeypatch.setattr("pytest_trt.runtime.load.discover", lambda settings: found)
    assert doctor.summarise(()) == [
        "--trt-runtime=auto executes with: emulator (tensorrt-10.13.3.9)",
        "builds with: TensorRT-RTX 1.7.1.116",
        "without gpu: no NVIDIA GPU",
    ]


def test_summary_tells_why_discovery_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def discover(settings: object) -> None:
        raise SettingsError("the class of the GPU 'Z' is unknown", why="its name is not in the table")

    monkeypatch.setattr("pytest_trt.runtime.load.discover", discover)
    assert doctor.summarise(()) == [
        "--trt-runtime=auto fails: the class of the GPU 'Z' is unknown",
        "its name is not in the table",
    ]


def test_cuda_provider_is_told(probes: dict[str, ModuleProbe], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fact.state for fact in doctor.examine_emulator()] == ["missing"]
    probes["onnxruntime"] = ModuleProbe("1.32.0")
    for providers, state in ((["CPUExecutionProvider"], "missing"), (["CUDAExecutionProvider"], "here")):
        fake = SimpleNamespace(get_available_providers=lambda names=providers: names)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake)
        assert find(doctor.examine_emulator(), "CUDA provider").state == state


@pytest.mark.parametrize(("state", "status"), [("here", 0), ("missing", 0), ("broken", 1)])
def test_exit_status_tells_of_broken_things(
    state: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: (Fact("A", "one", state, "detail"),))
    monkeypatch.setattr(doctor, "summarise", lambda facts: ["so be it"])
    assert main(["doctor"]) == status
    assert "so be it" in capsys.readouterr().out
    assert main(["doctor", "--json"]) == status
    (fact,) = json.loads(capsys.readouterr().out)
    assert (fact["name"], fact["state"]) == ("one", state)


@pytest.mark.parametrize("arguments", [[], ["docter"], ["doctor", "--jsn"]])
def test_wrong_use_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m pytest_trt" in capsys.readouterr().err


def test_this_machine_can_be_examined(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    out = capsys.readouterr().out
    for heading in ("TensorRT", "TensorRT-RTX", "CUDA", "GPU", "emulator", "networks", "so"):
        assert f"\n{heading}\n" in out
    assert "--trt-runtime=auto" in out
