"""What a stored benchmark says of the machine that it ran on, and the id that has to agree before two are compared."""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_trt import hardware

# The parts of the id, in its order: what changes how long a run takes. Not in it: the host's name, the folder, Python, the
# builder of what another one executes, the ordinal of the GPU.
PARTS = ("runtime", "gpu_class", "gpu", "driver", "cuda", "onnxruntime", "cpu", "faults")
WORDS = {"driver": "driver {}", "cuda": "CUDA {}", "onnxruntime": "onnxruntime {}", "faults": "fault {}"}


def describe_machine(
    title: str,
    device: str,
    gpu_class: str,
    *,
    emulated: bool,
    builder: str | None = None,
    cpu: str = "",
    faults: Iterable[str] = (),
) -> dict[str, Any]:
    """Return what executes and where, as plain data, with its `id`.

    Parameters
    ----------
    title : str
        Product and version of what executes: `TensorRT 11.4.0`, `emulator (tensorrt-10.13.3.9)`.
    device : str
        `cpu` or `cuda:N`: where it computes.
    gpu_class : str
        The class that it executes on or that the emulator plays.
    emulated : bool
        Whether ONNX Runtime computes; its version is then part of the id.
    builder : str, optional
        The real TensorRT that builds. It is told and no part of the id.
    cpu : str
        The processor; part of the id where the emulator computes on it.
    faults : iterable of str
        Faults that were injected: their times are compared with nothing else.

    Returns
    -------
    dict
        `id` and each of `PARTS` that applies, `device` and `builder`.
    """
    facts: dict[str, str | None] = {"runtime": re.sub(r"\bcuda:\d+", "cuda", title)}
    facts["gpu_class"] = f"as {gpu_class}" if emulated else gpu_class
    if device != "cpu":
        gpu = hardware.find_gpu(device)
        if gpu is not None:
            facts |= {"gpu": gpu.title, "driver": gpu.driver}
        facts["cuda"] = find_cuda()
    elif emulated:
        facts["cpu"] = cpu
    if emulated:
        facts["onnxruntime"] = str(importlib.import_module("onnxruntime").__version__)
    facts["faults"] = ", ".join(faults)
    known = {name: facts[name] for name in PARTS if facts.get(name)}
    words = ", ".join(WORDS.get(name, "{}").format(value) for name, value in known.items())
    return {"id": words, **known, "device": device, "builder": builder}


def find_differences(now: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Return in words which parts of two ids differ; the whole ids where it is none of the parts."""
    found = [
        f"{name}: {now.get(name) or 'none'} now, {stored.get(name) or 'none'} stored"
        for name in PARTS
        if (now.get(name) or "") != (stored.get(name) or "")
    ]
    return found or [f"id: {now.get('id')!r} now, {stored.get('id')!r} stored"]


def find_cuda() -> str:
    """Return the newest CUDA version that the driver supports, `13.0`; empty without a driver."""
    version = ctypes.c_int()
    try:
        status = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return ""
    return "" if status else f"{version.value // 1000}.{version.value % 1000 // 10}"


def name_cpu(info: Mapping[str, Any]) -> str:
    """Return the processor's name as pytest-benchmark's machine info tells it; empty where it does not."""
    cpu = info.get("cpu") or {}
    return str(cpu.get("brand_raw") or cpu.get("brand") or info.get("processor") or info.get("machine") or "")
