"""GPUs of the PCI bus and Jetsons, under fake roots."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_trt import hardware
from pytest_trt.hardware import probe
from pytest_trt.hardware.classes import classify_model, classify_pci
from pytest_trt.hardware.jetson import find_jetson
from pytest_trt.hardware.pci import find_pci, read_name
from pytest_trt.hardware.probe import probe_jetson, probe_proc

IDS = """\
10dd  Somebody before
\t1eb8  Another device
10de  NVIDIA Corporation
\t20b8  GA100 [A100X]
\t\t10de 1581  A sub-device
\t2b00  GB10B [Jetson AGX Thor]
\t9999  Nameless chip
10df  Somebody after
\tabcd  GH100 [H100]
C 03  Display controller
"""


def put_device(root: Path, bus: str, vendor: str, device: str, kind: str) -> None:
    folder = root / bus
    folder.mkdir(parents=True)
    for name, value in (("vendor", vendor), ("device", device), ("class", kind)):
        (folder / name).write_text(f"{value}\n")


@pytest.fixture
def names(tmp_path: Path) -> list[Path]:
    path = tmp_path / "pci.ids"
    path.write_text(IDS)
    return [tmp_path / "none", path]


def test_displays_of_nvidia_are_found(tmp_path: Path, names: list[Path]) -> None:
    root = tmp_path / "devices"
    put_device(root, "0000:3b:00.0", "0x10de", "0x1eb8", "0x030200")
    put_device(root, "0000:3b:00.1", "0x10de", "0x10f8", "0x040300")  # its audio
    put_device(root, "0000:00:02.0", "0x8086", "0x1eb8", "0x030000")  # another vendor's
    put_device(root, "0000:41:00.0", "0x10de", "0x20b8", "0x030200")
    put_device(root, "0000:42:00.0", "0x10de", "0x9999", "0x030000")
    put_device(root, "0000:43:00.0", "0x10de", "0xabcd", "0x030000")
    (root / "0000:44:00.0").mkdir()
    t4, a100x, nameless, unknown = find_pci(root, names)
    assert (t4.bus_id, t4.device, t4.title) == ("0000:3b:00.0", "1eb8", "Tesla T4")
    assert t4.gpu_class is hardware.get("t4")
    assert (a100x.title, a100x.gpu_class) == ("A100X", None)
    assert (nameless.title, nameless.gpu_class) == ("Nameless chip", None)
    assert unknown.title == "NVIDIA device abcd"  # that of the vendor after is not taken


def test_the_name_of_a_device_finds_its_class(tmp_path: Path, names: list[Path]) -> None:
    names[1].write_text(IDS.replace("9999  Nameless chip", "9999  GA100 [A100 PCIe 60GB]"))
    put_device(tmp_path / "devices", "0000:3b:00.0", "0x10de", "0x9999", "0x030200")
    (found,) = find_pci(tmp_path / "devices", names)
    assert found.title == "A100 PCIe 60GB" and found.gpu_class == hardware.get("a100")


def test_machine_without_a_bus_or_names_has_none(tmp_path: Path) -> None:
    assert find_pci(tmp_path / "none") == ()
    assert read_name("1eb8", [tmp_path / "none"]) == ""
    (tmp_path / "pci.ids").write_text("10dd  Somebody\n")
    assert read_name("1eb8", [tmp_path / "pci.ids"]) == ""


def test_ids_find_their_class() -> None:
    for device, name in (("0x2335", "h200"), ("20B2", "a100"), ("2e12", "gb10"), ("2b00", "thor")):
        kind = classify_pci(device)
        assert kind is not None and kind.name == name
    assert classify_pci("0000") is None


def test_a_name_that_is_new_to_the_driver_folder_is_found_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_device(tmp_path / "devices", "0000:01:00.0", "0x10de", "0x2335", "0x030200")
    monkeypatch.setattr(probe, "find_pci", lambda: find_pci(tmp_path / "devices", []))
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65  Tue\n")
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        folder = tmp_path / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA Graphics Device\n")
    first, second = probe_proc(tmp_path)
    assert first.gpu_class == hardware.get("h200") and first.sm == 90
    assert first.pci_bus_id == "0000:01:00.0"
    assert (second.gpu_class, second.sm) == (None, None)


def put_jetson(root: Path, model: str, chip: str, *, release: str = "", node: str = "") -> None:
    tree = root / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(model.encode() + b"\0")
    (tree / "compatible").write_bytes(f"nvidia,p3737-0000+p3701-0000\0nvidia,{chip}\0".encode())
    (root / "etc").mkdir()
    if release:
        (root / "etc/nv_tegra_release").write_text(release)
    (root / "dev").mkdir()
    if node:
        (root / "dev" / node).touch()


@pytest.mark.parametrize(
    ("model", "chip", "name", "sm", "multiprocessors"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", "tegra234", "orin", 87, 16),
        ("NVIDIA Jetson AGX Orin", "tegra234", "orin", 87, None),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "tegra234", "orin", 87, 8),
        ("Jetson-AGX", "tegra194", "sm72", 72, None),
        ("NVIDIA Jetson AGX Xavier Developer Kit", "tegra194", "xavier", 72, 8),
        ("NVIDIA Jetson AGX Xavier", "tegra194", "xavier", 72, None),  # that of 8 GB is slower
        ("NVIDIA Jetson AGX Thor Developer Kit", "tegra264", "thor", 110, 20),
        ("", "tegra264", "sm110", 110, None),
    ],
)
def test_jetson_is_told_by_its_device_tree(
    tmp_path: Path, model: str, chip: str, name: str, sm: int, multiprocessors: int | None
) -> None:
    put_jetson(tmp_path, model, chip, release="# R36 (release), REVISION: 4.0, GCID: 1", node="nvgpu")
    found = find_jetson(tmp_path)
    assert found is not None and found.model == (model or f"nvidia,{chip}")
    assert (found.gpu_class.name, found.sm, found.release) == (name, sm, "R36.4.0")
    assert found.gpu_class.multiprocessors == multiprocessors
    (gpu,) = probe_jetson(tmp_path)
    assert (gpu.title, gpu.sm, gpu.driver) == (found.model, sm, "R36.4.0")


def test_jetson_out_of_reach_shows_no_gpu(tmp_path: Path) -> None:
    put_jetson(tmp_path, "NVIDIA Jetson AGX Orin Developer Kit", "tegra234")
    found = find_jetson(tmp_path)
    assert found is not None and not found.has_driver and found.release == ""
    assert probe_jetson(tmp_path) == []


def test_other_machines_are_no_jetson(tmp_path: Path) -> None:
    assert find_jetson(tmp_path) is None and probe_jetson(tmp_path) == []
    put_jetson(tmp_path, "Raspberry Pi 4 Model B", "bcm2711")
    assert find_jetson(tmp_path) is None
    assert classify_model("Raspberry Pi 4 Model B") is None


def test_a_jetson_that_its_driver_calls_by_the_chip_gets_the_figures_of_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_jetson(tmp_path, "NVIDIA Jetson AGX Orin Developer Kit", "tegra234", node="nvgpu")
    monkeypatch.setattr(probe, "find_jetson", lambda: find_jetson(tmp_path))
    (gpu,) = probe.parse_smi("0, Orin (nvgpu), 8.7, 540.4.0, [N/A]\n")
    assert gpu.gpu_class is not None and gpu.gpu_class.multiprocessors == 16
