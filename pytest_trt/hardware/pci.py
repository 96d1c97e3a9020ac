"""NVIDIA GPUs on the PCI bus, as the kernel lists them: also those that no driver drives."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_trt.hardware.classes import classify, classify_pci
from pytest_trt.hardware.gpu_class import GpuClass

DEVICES = Path("/sys/bus/pci/devices")
NAMES = (
    Path("/usr/share/misc/pci.ids"),
    Path("/usr/share/hwdata/pci.ids"),
    Path("/usr/share/pci.ids"),
    Path("/var/lib/pciutils/pci.ids"),
)
VENDOR = "10de"
# PCI Code and ID Assignment Specification, base class 03: VGA controller, 3D controller.
DISPLAYS = ("0300", "0302")


@dataclass(frozen=True)
class PciGpu:
    """One GPU on the bus.

    Attributes
    ----------
    bus_id : str
        Domain, bus, device and function: `0000:3b:00.0`.
    device : str
        Four hexadecimal digits.
    title : str
        Of its class, of the `pci.ids` of this machine, or its number.
    gpu_class : GpuClass or None
        None where neither the table nor `pci.ids` knows it.
    """

    bus_id: str
    device: str
    title: str
    gpu_class: GpuClass | None


def find_pci(root: Path = DEVICES, names: Iterable[Path] = NAMES) -> tuple[PciGpu, ...]:
    """Return the NVIDIA GPUs on the bus, in its order; empty where the kernel lists none.

    The class is that of the device id in the table; else that of the name in the first file of `names` that there is.
    """
    found = []
    for folder in _listed(root):
        vendor, device, kind = (_read_hex(folder / name) for name in ("vendor", "device", "class"))
        if vendor != VENDOR or kind[:4] not in DISPLAYS:
            continue
        gpu_class = classify_pci(device)
        title = "" if gpu_class is None else gpu_class.title
        if gpu_class is None:
            title = read_name(device, names)
            gpu_class = classify(title, None)
        found.append(PciGpu(folder.name, device, title or f"NVIDIA device {device}", gpu_class))
    return tuple(found)


def read_name(device: str, names: Iterable[Path] = NAMES) -> str:
    """Return the product that `pci.ids` gives a device id of NVIDIA (`A100 SXM4 40GB`); empty where it has none."""
    for path in names:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        start = re.search(rf"^{VENDOR} ", text, flags=re.MULTILINE)
        if start is None:
            return ""
        vendor = re.split(r"\n(?=[0-9a-fA-F])", text[start.start() :], maxsplit=1)[0]
        line = re.search(rf"^\t{device}\s+(.*)$", vendor, flags=re.MULTILINE)
        if line is None:
            return ""
        product = re.search(r"\[(.*)\]", line[1])
        return (product[1] if product else line[1]).strip()
    return ""


def _listed(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError:
        return []


def _read_hex(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip().lower().removeprefix("0x")
    except OSError:
        return ""
