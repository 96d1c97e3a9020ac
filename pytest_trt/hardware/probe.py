"""Which NVIDIA GPUs a CUDA program on this machine would see, without loading CUDA."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pytest_trt.hardware.classes import GpuClass, classify
from pytest_trt.hardware.jetson import find_jetson
from pytest_trt.hardware.pci import find_pci

PROC = Path("/proc/driver/nvidia")
SMI_SECONDS = 20


@dataclass(frozen=True)
class DetectedGpu:
    """One GPU of this machine.

    Attributes
    ----------
    index : int
        CUDA ordinal under the current CUDA_VISIBLE_DEVICES (in PCI bus order).
    title : str
        The name that the driver gives it.
    sm : int or None
        Compute capability, 10 * major + minor; None where `/proc` alone tells of the GPU and its name is new.
    gpu_class : GpuClass or None
        Its class; a generic one (`sm86`) when the product is not in the table.
    driver : str
        Driver version; empty when unknown.
    uuid : str
        `GPU-...`; empty when unknown.
    pci_bus_id : str
        Domain, bus, device and function, as the source writes them; empty when unknown.
    """

    index: int
    title: str
    sm: int | None
    gpu_class: GpuClass | None
    driver: str
    uuid: str = ""
    pci_bus_id: str = ""


@cache
def detect() -> tuple[DetectedGpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves visible; empty without a GPU or a driver.

    NVML is asked first, then `nvidia-smi`, then `/proc/driver/nvidia`, on a Jetson its device tree. A GPU that is on the PCI
    bus without a driver is none that CUDA sees (`pytest_trt.hardware.pci` lists it). Nothing is raised. The answer is kept
    for the life of the process; `detect.cache_clear()` forgets it.
    """
    return select_visible(find_all(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def find_all() -> tuple[DetectedGpu, ...]:
    """Return all GPUs that the driver has, in PCI bus order, visible to CUDA or not."""
    probes: tuple[Callable[[], list[DetectedGpu]], ...] = (probe_nvml, probe_smi, probe_proc, probe_jetson)
    return next((tuple(found) for found in (probe() for probe in probes) if found), ())


def select_visible(found: Iterable[DetectedGpu], visible: str | None) -> tuple[DetectedGpu, ...]:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES shows, renumbered in its order.

    An entry is an index, or the beginning of a UUID; the first one that names no GPU ends the list, as with
    CUDA (CUDA C++ Programming Guide, "CUDA Environment Variables"). A MIG slice (`MIG-...`) shows as the
    first GPU.
    """
    everything = tuple(found)
    if visible is None:
        return everything
    shown: list[DetectedGpu] = []
    for token in (part.strip() for part in visible.split(",")):
        if token.isdecimal():
            hit = next((gpu for gpu in everything if gpu.index == int(token)), None)
        elif token.startswith("MIG-"):
            hit = next(iter(everything), None)
        elif token.startswith("GPU-"):
            hit = next((gpu for gpu in everything if gpu.uuid.startswith(token)), None)
        else:
            hit = None
        if hit is None:
            break
        shown.append(replace(hit, index=len(shown)))
    return tuple(shown)


def probe_nvml(nvml: Any = None) -> list[DetectedGpu]:
    """Return what NVML tells, in PCI bus order; empty when `pynvml` (or what is given for it) or the driver is missing."""
    try:
        nvml = importlib.import_module("pynvml") if nvml is None else nvml
        nvml.nvmlInit()
    except Exception:  # ImportError, or any of NVML's own errors when there is no driver
        return []
    found: list[DetectedGpu] = []
    try:
        driver = text_of(nvml.nvmlSystemGetDriverVersion())
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
            title, uuid = text_of(nvml.nvmlDeviceGetName(handle)), text_of(nvml.nvmlDeviceGetUUID(handle))
            found.append(_make(index, title, 10 * major + minor, driver, uuid, bus_of(nvml, handle)))
    except Exception:  # a GPU that fell off the bus: nvidia-smi may still tell of the others
        return []
    finally:
        nvml.nvmlShutdown()
    return found


def bus_of(nvml: Any, handle: Any) -> str:
    """Return the place of a device of NVML on the PCI bus; empty where it has none."""
    try:
        return text_of(nvml.nvmlDeviceGetPciInfo(handle).busId)
    except Exception:  # one that is on no bus
        return ""


def probe_smi() -> list[DetectedGpu]:
    """Return what `nvidia-smi` tells; empty when it is missing, fails or hangs."""
    query = "index,name,compute_cap,driver_version,uuid,pci.bus_id"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=SMI_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_smi(done.stdout) if done.returncode == 0 else []


def parse_smi(text: str) -> list[DetectedGpu]:
    """Return the GPUs of the lines `index, name, compute_cap, driver, uuid, pci.bus_id`; other lines are passed over."""
    found: list[DetectedGpu] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) not in (5, 6) or not fields[0].isdecimal():
            continue
        major_minor = re.fullmatch(r"(\d+)\.(\d)", fields[2])
        sm = 10 * int(major_minor[1]) + int(major_minor[2]) if major_minor else None
        found.append(_make(int(fields[0]), fields[1], sm, *fields[3:]))
    return found


def probe_proc(root: Path = PROC) -> list[DetectedGpu]:
    """Return what the kernel driver's folder tells: no compute capabilities; empty without the driver."""
    try:
        folders = sorted((root / "gpus").iterdir())
        version = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", (root / "version").read_text(encoding="utf-8"))
        facts = [(folder / "information").read_text(encoding="utf-8") for folder in folders]
    except OSError:
        return []
    driver = version[1] if version else ""
    found: list[DetectedGpu] = []
    for index, (folder, text) in enumerate(zip(folders, facts, strict=True)):
        fields = dict(re.findall(r"^([^:\n]+):\s*(.*?)\s*$", text, flags=re.MULTILINE))
        title, uuid = fields.get("Model", "?"), fields.get("GPU UUID", "")
        gpu = _make(index, title, None, driver, uuid, folder.name)
        if gpu.gpu_class is None:  # a name that is new, or none: the bus has a number
            there = next((one for one in find_pci() if one.bus_id == folder.name.lower()), None)
            kind = None if there is None else there.gpu_class
            gpu = replace(gpu, gpu_class=kind, sm=None if kind is None else kind.sm)
        found.append(gpu)
    return found


def probe_jetson(root: Path = Path("/")) -> list[DetectedGpu]:
    """Return the GPU of a Jetson, by its device tree; empty elsewhere, and where its driver cannot be reached."""
    jetson = find_jetson(root)
    if jetson is None or not jetson.has_driver:
        return []
    return [DetectedGpu(0, jetson.model, jetson.sm, jetson.gpu_class, jetson.release)]


def _make(
    index: int, title: str, sm: int | None, driver: str, uuid: str, pci_bus_id: str = ""
) -> DetectedGpu:
    kind = classify(title, sm)
    if kind is not None and kind.is_jetson:  # all modules of a generation have one name
        jetson = find_jetson()
        kind = kind if jetson is None else kind.narrowed(jetson.model)
    if sm is None and kind is not None:
        sm = kind.sm
    return DetectedGpu(index, title, sm, kind, driver, uuid, pci_bus_id)


def text_of(value: str | bytes) -> str:
    """Return what NVML tells as text, which older `pynvml` gives as bytes."""
    return value.decode() if isinstance(value, bytes) else value
