"""Detection of GPUs, on recorded and faked answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_trt.hardware import detect as detect_cached
from pytest_trt.hardware.probe import (
    parse_smi,
    probe_nvml,
    probe_proc,
    probe_smi,
    select_visible,
)

SMI = """\
0, Tesla T4, 7.5, 535.104.05, GPU-aaaa
1, NVIDIA A10, 8.6, 535.104.05, GPU-bbbb
2, NVIDIA Z9000, [N/A], 535.104.05, GPU-cccc
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    detect_cached.cache_clear()
    yield
    detect_cached.cache_clear()


def test_smi_lines_become_gpus() -> None:
    t4, a10, other = parse_smi("junk\n" + SMI)
    assert (t4.index, t4.title, t4.sm, t4.driver, t4.uuid) == (0, "Tesla T4", 75, "535.104.05", "GPU-aaaa")
    assert t4.gpu_class is not None and t4.gpu_class.name == "t4"
    assert a10.gpu_class is not None and a10.gpu_class.name == "a10"
    assert (other.sm, other.gpu_class) == (None, None)


@pytest.mark.parametrize(
    ("visible", "titles"),
    [
        (None, ["Tesla T4", "NVIDIA A10", "NVIDIA Z9000"]),
        ("", []),
        ("1", ["NVIDIA A10"]),
        ("2,0", ["NVIDIA Z9000", "Tesla T4"]),
        ("0,7,1", ["Tesla T4"]),
        ("GPU-bb", ["NVIDIA A10"]),
        ("MIG-1234", ["Tesla T4"]),
        ("-1", []),
        ("\N{SUPERSCRIPT TWO}", []),
    ],
)
def test_visible_devices_select_and_renumber(visible: str | None, titles: list[str]) -> None:
    shown = select_visible(parse_smi(SMI), visible)
    assert [gpu.title for gpu in shown] == titles
    assert [gpu.index for gpu in shown] == list(range(len(titles)))


def fake_nvml(*, fail_at: str = "", as_bytes: bool = False) -> SimpleNamespace:
    def answer(name: str, value: Any) -> Any:
        def call(*_: object) -> Any:
            if name == fail_at:
                raise RuntimeError("NVML: GPU is lost")
            return value.encode() if as_bytes and isinstance(value, str) else value

        return call

    return SimpleNamespace(
        nvmlInit=answer("init", None),
        nvmlShutdown=answer("shutdown", None),
        nvmlSystemGetDriverVersion=answer("driver", "580.65"),
        nvmlDeviceGetCount=answer("count", 1),
        nvmlDeviceGetHandleByIndex=answer("handle", object()),
        nvmlDeviceGetCudaComputeCapability=answer("sm", (9, 0)),
        nvmlDeviceGetName=answer("name", "NVIDIA H200"),
        nvmlDeviceGetUUID=answer("uuid", "GPU-dddd"),
        nvmlDeviceGetPciInfo=answer("pci", SimpleNamespace(busId="00000000:3B:00.0")),
    )


@pytest.mark.parametrize("as_bytes", [False, True])
def test_nvml_tells_of_gpus(monkeypatch: pytest.MonkeyPatch, as_bytes: bool) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(as_bytes=as_bytes))
    (gpu,) = probe_nvml()
    assert (gpu.title, gpu.sm, gpu.driver, gpu.uuid) == ("NVIDIA H200", 90, "580.65", "GPU-dddd")
    assert gpu.pci_bus_id == "00000000:3B:00.0"
    assert detect_cached() == (gpu,)


def test_a_gpu_on_no_bus_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(fail_at="pci"))
    (gpu,) = probe_nvml()
    assert gpu.title == "NVIDIA H200" and gpu.pci_bus_id == ""


@pytest.mark.parametrize("fail_at", ["init", "count", "name"])
def test_nvml_that_fails_tells_nothing(monkeypatch: pytest.MonkeyPatch, fail_at: str) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(fail_at=fail_at))
    assert probe_nvml() == []


def put_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_smi_is_asked_when_nvml_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    put_smi(tmp_path, f"cat <<'END'\n{SMI}END", monkeypatch)
    assert [gpu.title for gpu in detect_cached()] == ["Tesla T4", "NVIDIA A10", "NVIDIA Z9000"]
    detect_cached.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.title for gpu in detect_cached()] == ["NVIDIA A10"]


def test_smi_that_fails_hangs_or_is_missing_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_smi(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9", monkeypatch)
    assert probe_smi() == []
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert probe_smi() == []

    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr(subprocess, "run", hang)
    assert probe_smi() == []


def test_proc_folder_tells_names_and_driver(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue\nGCC: x"
    )
    gpu = tmp_path / "gpus" / "0000:01:00.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("Model: \t\t Tesla T4\nIRQ:   \t 31\nGPU UUID: \t GPU-eeee\n")
    (found,) = probe_proc(tmp_path)
    assert (found.title, found.sm, found.driver, found.uuid) == ("Tesla T4", 75, "550.54.15", "GPU-eeee")


def test_machine_without_driver_has_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pytest_trt.hardware.probe.PROC", tmp_path)
    assert probe_proc(tmp_path) == []
