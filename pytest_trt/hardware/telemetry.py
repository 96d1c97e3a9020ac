"""A GPU watched while something is measured: one thread that samples clocks, power, temperature and throttling."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from pytest_trt.hardware.probe import DetectedGpu, find_all, probe_nvml, select_visible
from pytest_trt.hardware.samples import GpuSample, Span, Telemetry
from pytest_trt.hardware.sources import (
    Ended,
    Source,
    is_same_place,
    open_nvml,
    open_smi,
    open_tegrastats,
)

__all__ = ["GpuSample", "Span", "Telemetry", "Watch", "choose", "watch"]

JOIN_SECONDS = 10.0
NO_ORDINAL = "nothing executes on a GPU here; --trt-device=cuda:0 lets the emulator compute on one"
NO_GPU = (
    "no GPU is visible: install NVIDIA's driver, start a container with --gpus=all, see CUDA_VISIBLE_DEVICES"
)
NO_SOURCE = (
    "nobody tells of the GPU: install nvidia-ml-py (pip install nvidia-ml-py), or put nvidia-smi on PATH"
)
NO_ORDER = (
    "which GPU is cuda:{ordinal} is not sure: CUDA puts the fastest first, and there are several kinds; "
    "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
)
NO_SLICE = "of which GPU cuda:{ordinal} is a MIG slice is not told, and there are several"


class Watch:
    """A GPU that is watched, or nothing; made by `watch`.

    Parameters
    ----------
    source : Source or None
        Who tells.
    title : str
        The GPU, for people.
    why : str
        Why there is no source.
    """

    def __init__(self, source: Source | None, title: str = "", why: str = "") -> None:
        self._source, self._title, self._why = source, title, why
        self._samples: list[GpuSample] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if source is not None:
            self._thread = threading.Thread(target=self._run, name="pytest-trt-telemetry", daemon=True)
            self._started = time.perf_counter()
            self._thread.start()

    def take(self) -> Telemetry:
        """Return what was sampled up to now; after the watch, everything."""
        name = "" if self._source is None else self._source.name
        return Telemetry(name, self._title, tuple(self._samples), self._why)

    def close(self) -> None:
        """End the thread after its last sample; a second call does nothing."""
        self._stop.set()
        if self._source is not None:
            self._source.close()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)
            if self._thread.is_alive() and not self._why:
                self._why = f"{self._source.name if self._source else 'the sampler'} did not answer in {JOIN_SECONDS:g} s"

    def _run(self) -> None:
        assert self._source is not None
        try:
            for sample in self._source.samples(self._stop, self._started):
                self._samples.append(sample)
        except (
            Exception
        ) as error:  # any: in this thread nobody sees it, and what was sampled would look whole
            words = str(error) if isinstance(error, Ended) else f"{type(error).__name__}: {error}"
            after = self._samples[-1].seconds if self._samples else 0
            self._why = f"the samples end after {after:.2f} s: {words}"


@contextmanager
def watch(
    ordinal: int | None,
    interval_seconds: float = 0.05,
    *,
    pci_bus_id: str = "",
    nvml: Any = None,
) -> Iterator[Watch]:
    """Give a `Watch` of a GPU for a block; its `.take()` returns a `Telemetry`, in the block and after it.

    Parameters
    ----------
    ordinal : int or None
        Of the CUDA device, as CUDA_VISIBLE_DEVICES numbers them. None: no GPU, and an empty `Telemetry` that says why.
    interval_seconds : float
        Between samples. `nvidia-smi` and `tegrastats` take no fewer than 0.1 s.
    pci_bus_id : str
        What CUDA says of the device (PyCUDA: `Device.pci_bus_id()`): then it is found by that, whatever its ordinal.
    nvml : module, optional
        What stands in for `pynvml`.

    Notes
    -----
    NVML is asked where `pynvml` is, then `nvidia-smi`, then `tegrastats`; on a Jetson `tegrastats` first. Nothing is raised where
    none of them is there.
    """
    watched = _open(ordinal, interval_seconds, pci_bus_id, nvml)
    try:
        yield watched
    finally:
        watched.close()


def choose(
    ordinal: int,
    gpus: tuple[DetectedGpu, ...],
    *,
    pci_bus_id: str = "",
    environ: Mapping[str, str] | None = None,
) -> DetectedGpu | str:
    """Return the GPU that CUDA calls by an ordinal, or why it is not known.

    Parameters
    ----------
    ordinal : int
        Under CUDA_VISIBLE_DEVICES.
    gpus : tuple of DetectedGpu
        All of the machine, in PCI bus order.
    pci_bus_id : str
        What CUDA says of the device; then nothing else is asked where the places of all GPUs are known.
    environ : mapping of str to str, optional
        Default: that of the process.

    Notes
    -----
    CUDA C++ Programming Guide, "CUDA Environment Variables": CUDA_DEVICE_ORDER is FASTEST_FIRST unless it is given, and the
    indices in CUDA_VISIBLE_DEVICES are those of this order. GPUs of one kind are equally fast, and keep the order of the bus;
    UUIDs in CUDA_VISIBLE_DEVICES stand for themselves, but that of a MIG slice does not say which GPU it is a part of.
    """
    environ = os.environ if environ is None else environ
    if pci_bus_id:
        found = [gpu for gpu in gpus if is_same_place(gpu.pci_bus_id, pci_bus_id)]
        if found:
            return found[0]
        if gpus and all(gpu.pci_bus_id for gpu in gpus):  # that of a Jetson is on no bus
            return f"no GPU at {pci_bus_id} among those that the driver tells of"
    named = environ.get("CUDA_VISIBLE_DEVICES")
    visible = select_visible(gpus, named)
    if not 0 <= ordinal < len(visible):
        return NO_GPU if not visible else f"there is no cuda:{ordinal}: {len(visible)} GPUs are visible"
    tokens = [] if named is None else [token.strip() for token in named.split(",")]
    if tokens and tokens[ordinal].startswith("MIG-") and len(gpus) > 1:
        return NO_SLICE.format(ordinal=ordinal)
    by_name = bool(tokens) and all(token.startswith(("GPU-", "MIG-")) for token in tokens)
    one_kind = len({gpu.title for gpu in gpus}) == 1
    if not (one_kind or by_name or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"):
        return NO_ORDER.format(ordinal=ordinal)
    return visible[ordinal]


def _open(ordinal: int | None, interval_seconds: float, pci_bus_id: str, nvml: Any) -> Watch:
    if ordinal is None:
        return Watch(None, why=NO_ORDINAL)
    gpus = _everything() if nvml is None else tuple(probe_nvml(nvml))
    gpu = choose(ordinal, gpus, pci_bus_id=pci_bus_id)
    if isinstance(gpu, str):
        return Watch(None, why=gpu)
    source: Source | None = None
    if (
        gpu.gpu_class is not None and gpu.gpu_class.is_jetson
    ):  # there the others know the GPU, and tell nothing of it
        source = open_tegrastats(interval_seconds)
    source = source or open_nvml(gpu, interval_seconds, nvml) or open_smi(gpu, interval_seconds)
    source = source or open_tegrastats(interval_seconds)
    return Watch(source, gpu.title, "" if source else NO_SOURCE)


@cache
def _everything() -> tuple[DetectedGpu, ...]:
    return find_all()
