"""Which Jetson this is, told by its device tree: its driver is part of the system, and NVML often is not there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.hardware.classes import classify_model, get
from pytest_trt.hardware.gpu_class import GpuClass

# Compute capability by chip. Source: Jetson Linux Developer Guide, "Jetson Modules and Configurations".
CHIPS = {"nvidia,tegra194": 72, "nvidia,tegra234": 87, "nvidia,tegra264": 110}
# What the driver of the GPU offers, by generation; a container without NVIDIA's runtime sees the tree and none of these.
NODES = ("nvhost-gpu", "nvgpu", "nvidia0")


@dataclass(frozen=True)
class Jetson:
    """One Jetson.

    Attributes
    ----------
    model : str
        `NVIDIA Jetson AGX Orin Developer Kit`.
    sm : int
        Compute capability of its chip.
    gpu_class : GpuClass
        With the figures of the module where the model tells which it is.
    release : str
        Of Jetson Linux, `R36.4.0`; empty where it is not told.
    has_driver : bool
        Whether this process could reach the GPU.
    """

    model: str
    sm: int
    gpu_class: GpuClass
    release: str
    has_driver: bool


def find_jetson(root: Path = Path("/")) -> Jetson | None:
    """Return the Jetson that this machine is; None for any other machine."""
    tree = root / "proc/device-tree"
    chips = [chip for chip in _read(tree / "compatible").split("\0") if chip in CHIPS]
    if not chips:
        return None
    model = _read(tree / "model").strip("\0").strip()
    sm = CHIPS[chips[0]]
    kind = classify_model(model)
    if kind is None or kind.sm != sm:
        kind = get(f"sm{sm}")
    told = re.search(
        r"R(\d+) \(release\), REVISION: ([\d.]+)", _read(root / "etc/nv_tegra_release").strip("\0")
    )
    release = f"R{told[1]}.{told[2]}" if told else ""
    return Jetson(model or chips[0], sm, kind, release, any((root / "dev" / node).exists() for node in NODES))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
