"""`python -m pytest_trt doctor`: what is here, what each missing thing would enable, and how to get it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from pytest_trt import __version__
from pytest_trt.cli.facts import Fact, ModuleProbe, probe_module
from pytest_trt.errors import TrtError
from pytest_trt.hardware import GpuClass, detect
from pytest_trt.hardware.jetson import find_jetson
from pytest_trt.hardware.pci import find_pci
from pytest_trt.records import Settings
from pytest_trt.runtime import versions

RTX_EXTRA = "pip install 'pytest-trt[rtx]'"
TRT_EXTRA = "pip install 'pytest-trt[tensorrt]', or NVIDIA's container, archive or Debian package"
CUDA_EXTRA = "pip install 'pytest-trt[cuda]' where a CUDA toolkit is installed (PyCUDA is built against it)"


def run(*, as_json: bool = False) -> int:
    """Print every fact and what follows from them; return 1 if something that is installed is broken."""
    facts = examine()
    if as_json:
        print(json.dumps([asdict(fact) for fact in facts], indent=2))
    else:
        print(render(facts, summarise(facts)))
    return int(any(fact.state == "broken" for fact in facts))


def examine() -> tuple[Fact, ...]:
    """Return the facts about this machine, in the order in which they are told."""
    return (
        Fact("here", "pytest-trt", "here", f"{__version__}, Python {sys.version.split()[0]}"),
        *examine_tensorrt(),
        *examine_rtx(),
        *examine_cuda(),
        *examine_gpu(),
        *examine_emulator(),
        *examine_models(),
    )


def examine_tensorrt() -> list[Fact]:
    """Return what shows of TensorRT: module, distributions, library symbol, header."""
    group = "TensorRT"
    probe = probe_module("tensorrt")
    facts = [
        _module(group, "tensorrt", probe, "builds and executes, on any NVIDIA GPU it supports", TRT_EXTRA)
    ]
    wheels = [name for name in versions.find_distributions() if not name.lower().startswith("tensorrt-rtx")]
    if wheels:
        facts.append(Fact(group, "package", "here", ", ".join(wheels)))
    facts += _libraries(group, "nvinfer", probe)
    for header in versions.find_headers(versions.list_roots()):
        told = versions.read_header_version(header.read_text(encoding="utf-8", errors="replace"))
        facts.append(Fact(group, "header", "here", f"{told or 'no version in it'} ({header})"))
    return facts


def examine_rtx() -> list[Fact]:
    """Return what shows of TensorRT-RTX: module in either wheel layout, distributions, library symbol."""
    group = "TensorRT-RTX"
    enables = "builds on any x86-64 Linux machine, also without a GPU; executes on RTX GPUs"
    probe, name = probe_module("tensorrt_rtx"), "tensorrt_rtx"
    if probe.missing:
        name = "tensorrt_rtx_bindings"
        probe = probe_module(name, before=("onnxruntime_ep_nv_tensorrt_rtx",))
    facts = [_module(group, name, probe, enables, RTX_EXTRA)]
    wheels = [*versions.find_distributions("tensorrt-rtx"), *versions.find_distributions("onnxruntime-ep-nv")]
    if wheels:
        facts.append(Fact(group, "package", "here", ", ".join(wheels)))
    return facts + _libraries(group, "tensorrt_rtx", probe)


def examine_cuda() -> list[Fact]:
    """Return driver, toolkit and PyCUDA."""
    group, facts = "CUDA", []
    try:
        version = ctypes.c_int()
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
        told = f"supports CUDA {version.value // 1000}.{version.value % 1000 // 10}"
        facts.append(Fact(group, "driver", "here", told))
    except OSError as error:
        mend = "install NVIDIA's driver; in a container, start it with --gpus=all"
        facts.append(Fact(group, "driver", "missing", str(error), "everything that runs on a GPU", mend))
    nvcc = find_nvcc()
    if nvcc is None:
        mend = "install NVIDIA's CUDA toolkit and put nvcc on PATH"
        facts.append(Fact(group, "toolkit", "missing", "no nvcc", "PyCUDA can be built", mend))
    else:
        facts.append(Fact(group, "toolkit", "here", f"{read_nvcc(nvcc)} ({nvcc})"))
    probe = (
        probe_module("pycuda.driver") if importlib.util.find_spec("pycuda") else ModuleProbe(missing="pycuda")
    )
    detail = f"PyCUDA {_version('pycuda')}" if probe.works else probe.error or "not installed"
    state = "here" if probe.works else "broken" if probe.error else "missing"
    enables = "device memory, streams and events: needed to execute on a GPU"
    facts.append(Fact(group, "pycuda", state, detail, enables, "" if probe.works else CUDA_EXTRA))
    return facts


def examine_gpu() -> list[Fact]:
    """Return each visible GPU with its class."""
    facts = []
    for gpu in detect():
        kind = "class unknown" if gpu.gpu_class is None else f"--gpu={gpu.gpu_class.name}"
        sm = "SM unknown" if gpu.sm is None else f"SM{gpu.sm}"
        detail = f"{gpu.title}, {sm}, driver {gpu.driver or 'unknown'}, {kind}"
        facts.append(Fact("GPU", f"cuda:{gpu.index}", "here", detail))
        if gpu.gpu_class is not None:
            facts += _describe_class(gpu.gpu_class)
    if not facts and not _hidden():
        facts += _find_undriven()
    if any(fact.state == "here" for fact in facts):
        is_jetson = any(gpu.gpu_class is not None and gpu.gpu_class.is_jetson for gpu in detect())
        facts.append(_examine_telemetry(is_jetson))
    if not facts:
        detail = "none visible (CUDA_VISIBLE_DEVICES is empty)" if _hidden() else "none visible"
        enables = "TensorRT executes; without one the emulator does, and --gpu names what it emulates"
        facts.append(Fact("GPU", "any", "missing", detail, enables, "a machine with an NVIDIA GPU"))
    return facts


def _examine_telemetry(is_jetson: bool) -> Fact:
    """Return who would tell of clocks, power and throttling while something is measured."""
    if is_jetson and shutil.which("tegrastats"):
        return Fact("GPU", "telemetry", "here", "tegrastats")
    if importlib.util.find_spec("pynvml"):
        return Fact("GPU", "telemetry", "here", "NVML by pynvml")
    tool = next((name for name in ("nvidia-smi", "tegrastats") if shutil.which(name)), None)
    if tool is not None:
        return Fact("GPU", "telemetry", "here", tool)
    enables = "clocks, power and throttling beside each measurement"
    mend = "pip install nvidia-ml-py, or put nvidia-smi on PATH"
    return Fact("GPU", "telemetry", "missing", "neither pynvml nor nvidia-smi nor tegrastats", enables, mend)


def _describe_class(kind: GpuClass) -> list[Fact]:
    figures = kind.describe()
    facts = [Fact("GPU", "figures", "here", figures)] if figures else []
    lines = []
    for product, title in (("tensorrt", "TensorRT"), ("tensorrt_rtx", "TensorRT-RTX")):
        span = kind.versions.get(product)
        if span is not None:
            lines.append(
                f"{title} {' to '.join(span) + ('' if len(span) > 1 else ' on') if span else 'none'}"
            )
    return [*facts, *([Fact("GPU", "supported", "here", ", ".join(lines))] if lines else [])]


def _find_undriven() -> list[Fact]:
    """Return the GPUs of the PCI bus, or of a Jetson, that no driver offers to this process."""
    enables = "TensorRT executes on it"
    facts = [
        Fact(
            "GPU",
            gpu.bus_id,
            "missing",
            f"{gpu.title} is on the PCI bus, and no driver offers it",
            enables,
            "install NVIDIA's driver; in a container, start it with --gpus=all",
        )
        for gpu in find_pci()
    ]
    jetson = find_jetson()
    if jetson is not None:
        mend = "start the container with --runtime=nvidia"
        detail = f"{jetson.model}, and its GPU is out of reach"
        facts.append(Fact("GPU", "jetson", "missing", detail, enables, mend))
    return facts


def examine_emulator() -> list[Fact]:
    """Return the ONNX Runtime that the emulator and the reference use, with its CUDA provider."""
    probe = probe_module("onnxruntime")
    mend = "pip install --force-reinstall onnxruntime"
    facts = [_module("emulator", "onnxruntime", probe, "the reference and the emulator", mend)]
    if probe.works:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            facts.append(Fact("emulator", "CUDA provider", "here", "--trt-device=cuda:N can be given"))
        else:
            enables = "--trt-device=cuda:N: the emulator computes on a GPU"
            mend = "pip install onnxruntime-gpu in place of onnxruntime"
            facts.append(Fact("emulator", "CUDA provider", "missing", "not in this wheel", enables, mend))
    return facts


def examine_models() -> list[Fact]:
    """Return whether the trained networks of the suites are here."""
    if importlib.util.find_spec("rapidocr_onnxruntime"):
        detail = f"rapidocr-onnxruntime {_version('rapidocr-onnxruntime')}"
        return [Fact("networks", "rapidocr", "here", detail)]
    mend = "pip install --no-deps rapidocr-onnxruntime==1.4.4 (Python 3.12 and older)"
    return [
        Fact("networks", "rapidocr", "missing", "not installed", "three trained networks in the suites", mend)
    ]


def summarise(facts: tuple[Fact, ...]) -> list[str]:
    """Return what `--trt-runtime=auto` does here: who executes, who builds, and why not others.

    The adapter loads TensorRT into this process, so it is asked only when no import crashed or hung.
    """
    if any(fact.state == "broken" and "the import" in fact.detail for fact in facts):
        return ["--trt-runtime=auto cannot be tried here: an import above crashes or hangs"]
    from pytest_trt.runtime.load import discover

    try:
        found = discover(Settings())
    except TrtError as error:
        return [f"--trt-runtime=auto fails: {error.what}", *error.why]
    lines = [f"--trt-runtime=auto executes with: {found.label}"]
    if found.builder is not None and not found.builder.emulated:
        lines.append(f"builds with: {found.builder.title}")
    return lines + [f"without {item.name}: {item.reason}" for item in found.missing]


def render(facts: tuple[Fact, ...], summary: list[str]) -> str:
    """Return the facts as text, grouped, with what a missing thing enables and how to get it."""
    width = max(len(fact.name) for fact in facts)
    lines: list[str] = []
    for group, members in groupby(facts, key=lambda fact: fact.group):
        lines.append(group)
        for fact in members:
            lines.append(f"  {fact.name:<{width}}  {fact.state:<7}  {fact.detail}")
            if fact.state != "here":
                lines += [f"  {'':<{width}}    enables  {fact.enables}"] if fact.enables else []
                lines += [f"  {'':<{width}}    get it   {fact.mend}"] if fact.mend else []
    return "\n".join([*lines, "so", *(f"  {line}" for line in summary)])


def find_nvcc() -> str | None:
    """Return the path of the CUDA compiler: PATH, then CUDA_HOME and CUDA_PATH, then `/usr/local/cuda`."""
    homes = [os.environ.get(key, "") for key in ("CUDA_HOME", "CUDA_PATH")]
    places = [f"{home}/bin" for home in (*homes, "/usr/local/cuda") if home]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(places))


def read_nvcc(nvcc: str) -> str:
    """Return the release that `nvcc --version` tells, or `version unknown`."""
    try:
        told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return "version unknown"
    found = re.search(r"release (\d+\.\d+)", told)
    return found[1] if found else "version unknown"


def _module(group: str, name: str, probe: ModuleProbe, enables: str, mend: str) -> Fact:
    if probe.works:
        return Fact(group, "module", "here", f"{name} {probe.version}", enables)
    state = "broken" if probe.error else "missing"
    return Fact(group, "module", state, f"{name}: {probe.error or probe.missing}", enables, mend)


def _libraries(group: str, stem: str, probe: ModuleProbe) -> list[Fact]:
    loaded = [Path(path) for path in probe.libraries if versions.is_library(path, stem)]
    facts = []
    for library in dict.fromkeys([*loaded, *versions.find_libraries(versions.list_roots(), stem)]):
        told = versions.read_symbol_version(library)
        detail = f"{told or 'no version symbol'} ({library})"
        if library in loaded and told and told.split(".")[:2] != probe.version.split(".")[:2]:
            detail += f", but the module that loads it is {probe.version}"
            mend = f"install module and library of one version: {RTX_EXTRA if 'rtx' in stem else TRT_EXTRA}"
            facts.append(Fact(group, "symbol", "broken", detail, mend=mend))
        else:
            facts.append(Fact(group, "symbol", "here", detail))
    return facts


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def _hidden() -> bool:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() == ""
