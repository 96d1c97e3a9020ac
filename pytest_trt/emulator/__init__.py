"""TensorRT's Python API over ONNX Runtime: `load` gives an object with exactly the names of one TensorRT version.

The emulator is the default where there is no GPU, and the test bench of everything above it. It is as strict as TensorRT
is: calls answer None or False and log where TensorRT does, names of another version are not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_trt.emulator.surfaces import known, resolve
from pytest_trt.errors import SettingsError

if TYPE_CHECKING:
    from pytest_trt.emulator.host import Module
    from pytest_trt.emulator.sites import Fault

__all__ = ["known", "load", "resolve"]


def load(
    product: str, version: str, gpu: str, *, device: str = "cpu", faults: Sequence[Fault] = (), seed: int = 0
) -> Module:
    """Return an emulated TensorRT: a module-like object with the names of that version.

    Parameters
    ----------
    product : str
        `tensorrt` or `tensorrt_rtx`.
    version : str
        A known version, or a beginning of one, which means the newest that begins so.
    gpu : str
        The GPU class to play, for instance `t4`.
    device : str
        Where to compute: `cpu`, or `cuda:N`.
    faults : sequence of callable
        Faults to inject, see `pytest_trt.emulator.sites`.
    seed : int
        Of the random numbers that faults draw.

    Returns
    -------
    Module
        Besides TensorRT's names it has `emulated`, `emulated_as`, `emulated_clock` and, on the CPU,
        `emulated_streams`.

    Raises
    ------
    SettingsError
        Unknown product, version, GPU class or device.
    RuntimeMissingError
        `cuda:N` without PyCUDA, a GPU or ONNX Runtime's CUDA provider.
    """
    from pytest_trt import hardware
    from pytest_trt.emulator import surfaces
    from pytest_trt.emulator.host import Host

    product, version = resolve(f"{product}-{version}")
    kind = hardware.get(gpu)
    if device != "cpu" and not (device.startswith("cuda:") and device[5:].isdigit()):
        raise SettingsError(
            f"unknown device {device!r}", why="good: cpu, cuda:N", mend="use --trt-device=cpu"
        )
    place = None
    if device != "cpu":
        from pytest_trt.emulator.cuda import CudaDevice

        place = CudaDevice(int(device[5:]))
    return Host(surfaces.read(product, version), kind, place, tuple(faults), seed).module
