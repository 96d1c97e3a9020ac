"""One exact network on every GPU class that can be emulated, what the table promises of each, and what this GPU is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_trt import hardware
from pytest_trt.hardware import GpuClass
from pytest_trt.hardware.gpu_class import Figures
from pytest_trt.records import Settings
from pytest_trt.runtime.load import Runtime, discover
from pytest_trt.runtime.session import Session

from ._named import Checked
from ._plans import FEED, build

EVERY_CLASS = "every-gpu-class"
RATES = "class-rates"
BANDWIDTH = "class-bandwidth"
SOURCED = "class-sources"
PER_PROCESSOR = "class-rate-of-a-multiprocessor"
SUPPORTED = "class-versions"
THIS_GPU = "class-of-this-gpu"

# GB/s of the slowest memory here (DDR of a Jetson) to those of the fastest (eight stacks of HBM3e).
LEAST_BANDWIDTH, MOST_BANDWIDTH = 25.0, 8_000.0
# FP32 operations of a multiprocessor in a clock: 64 or 128 lanes with a multiply-add each; boost clocks lie in 1.0 to 2.7 GHz
# (CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions").
LEAST_FP32, MOST_FP32 = 2 * 64 * 1.0e9, 2 * 128 * 2.75e9
# Tensor cores give FP16 at 2 times FP32 (A10G, GeForce with FP32 accumulation) to 28 times (B200).
MOST_RATIO = 32.0
# A data sheet rounds the memory, writes GB for 2^30 bytes or for 10^9, and the driver keeps some.
LEAST_MEMORY, MOST_MEMORY = 0.85, 1.10


def check_classes(rt: Runtime, settings: Settings) -> Iterator[Checked]:
    """Yield whether each GPU class gives the bits that most of them give: small integers, so none may differ.

    Parameters
    ----------
    rt : Runtime
        An emulator.
    settings : Settings
        Its settings, faults included.
    """
    answers = {}
    for name in hardware.names():
        other = discover(replace(settings, runtime="emulator", device="cpu", gpu=name)).executor
        assert other is not None
        if rt.features.rtx and f"SM{other.gpu.sm}" not in other.features.compute_capabilities:
            continue
        with Session(other, build(other)) as session:
            answers[name] = session.run({"x": FEED})["y"].astype(np.float64).tobytes()
    (usual, count), *_ = Counter(answers.values()).most_common(1)
    odd = [name for name, bits in answers.items() if bits != usual]
    yield EVERY_CLASS, f"{', '.join(odd)}: other bits than on {count} other GPU classes" if odd else None


def check_table(kinds: Iterator[GpuClass] | tuple[GpuClass, ...] | None = None) -> Iterator[Checked]:
    """Yield whether the figures of each class and variant can be those of one GPU.

    Rates grow as types get narrower, FP32 fits the number of multiprocessors, the bandwidth is that of a memory that there
    is, documents are named, and the versions of TensorRT are in order.
    """
    for kind in kinds if kinds is not None else tuple(map(hardware.get, hardware.names())):
        products = {kind.name: kind.figures}
        products |= {
            f"{kind.name} {key}": kind.figures.under(own, kind.precisions)
            for key, own in kind.variants.items()
        }
        for name, figures in products.items():
            yield RATES, _rates_wrong(name, figures)
            yield PER_PROCESSOR, _processor_wrong(name, figures)
            speed = figures.bandwidth_gb_s
            fits = speed is None or LEAST_BANDWIDTH <= speed <= MOST_BANDWIDTH
            yield BANDWIDTH, None if fits else f"{name}: {speed} GB/s"
            whole = None not in (figures.multiprocessors, figures.memory_gb, speed)
            whole = whole and kind.precisions <= set(figures.tera)
            words = bool(figures.source) and (whole or bool(figures.missing))
            yield (
                SOURCED,
                None if words else f"{name}: source {figures.source!r}, missing {figures.missing!r}",
            )
        yield SUPPORTED, _versions_wrong(kind)


def _rates_wrong(name: str, figures: Figures) -> str | None:
    tera = figures.tera
    rows = [
        ("fp32", "tf32"),
        ("tf32", "fp16"),
        ("tf32", "bf16"),
        ("fp32", "fp16"),
        ("bf16", "fp16"),
        ("fp16", "int8"),
    ]
    wrong = [f"{wide} {tera[wide]:g} over {thin} {tera[thin]:g}" for wide, thin in rows
             if wide in tera and thin in tera and tera[wide] > tera[thin]]  # fmt: skip
    if "fp32" in tera and "fp16" in tera and tera["fp16"] > MOST_RATIO * tera["fp32"]:
        wrong.append(f"fp16 {tera['fp16']:g} is over {MOST_RATIO:g} times fp32 {tera['fp32']:g}")
    return f"{name}: {', '.join(wrong)}" if wrong else None


def _processor_wrong(name: str, figures: Figures) -> str | None:
    if figures.multiprocessors is None or "fp32" not in figures.tera:
        return None
    each = figures.tera["fp32"] * 1e12 / figures.multiprocessors
    fits = LEAST_FP32 <= each <= MOST_FP32
    return None if fits else f"{name}: {each / 1e9:.0f} GFLOP/s fp32 a multiprocessor"


def _versions_wrong(kind: GpuClass) -> str | None:
    for product, span in kind.versions.items():
        ends = [tuple(map(int, end.split("."))) for end in span]
        if ends != sorted(ends):
            return f"{kind.name}: {product} {span}"
    return None


def check_device(told: Mapping[str, Any], kind: GpuClass) -> Iterator[Checked]:
    """Yield whether a GPU is what the figures of its class say.

    Parameters
    ----------
    told : mapping
        What CUDA says: `multiprocessors`, `memory_bytes` and `capability` (major, minor).
    kind : GpuClass
        As detected, with the figures of the product.
    """
    major, minor = told["capability"]
    wrong = []
    if 10 * major + minor != kind.sm:
        wrong.append(f"compute capability {major}.{minor}, want {kind.capability}")
    if kind.multiprocessors not in (None, told["multiprocessors"]):
        wrong.append(f"{told['multiprocessors']} multiprocessors, want {kind.multiprocessors}")
    if kind.memory_gb is not None:
        share = told["memory_bytes"] / (kind.memory_gb * 1e9)
        if not LEAST_MEMORY <= share <= MOST_MEMORY:
            wrong.append(
                f"{told['memory_bytes'] / 1e9:.1f} * 10^9 bytes of memory, want about {kind.memory_gb:g}"
            )
    yield THIS_GPU, f"{kind.name}: {'; '.join(wrong)}" if wrong else None


def read_device(rt: Runtime) -> dict[str, Any]:
    """Return what CUDA says of the device of a runtime, through PyCUDA."""
    import pycuda.driver as cuda

    with rt.active():
        device = cuda.Device(int(rt.device.partition(":")[2] or 0))
        count = device.get_attribute(cuda.device_attribute.MULTIPROCESSOR_COUNT)
        return {
            "multiprocessors": count,
            "memory_bytes": device.total_memory(),
            "capability": device.compute_capability(),
        }
