"""Which TensorRT executes in this session and which one builds: a real one if it can, or the emulator."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from pytest_trt import hardware
from pytest_trt.errors import RuntimeMissingError, SettingsError, TrtError
from pytest_trt.hardware import DetectedGpu, GpuClass
from pytest_trt.records import Missing, Settings
from pytest_trt.runtime.cuda import CudaMemory
from pytest_trt.runtime.features import Features
from pytest_trt.runtime.log import TrtLogger, logger_of
from pytest_trt.runtime.memory import HostMemory, Memory
from pytest_trt.runtime.modules import RTX_COMMAND, TITLES, Found, find

DEFAULT_GPU = "t4"


@dataclass(frozen=True, eq=False)
class Runtime:
    """One loaded TensorRT API, with what the adapter needs to know of it.

    Attributes
    ----------
    trt : module
        What offers TensorRT's Python API.
    product : str
        `tensorrt`, `tensorrt_rtx` or `emulator`.
    plays : str
        `tensorrt-10.13.3.9`: the product and version whose API it has, also when it is emulated.
    version : str
        That version alone.
    gpu : GpuClass
        The class it executes on, emulates or builds for.
    device : str
        `cpu` or `cuda:N`: where it executes.
    emulated, can_build, can_execute : bool
        What it is and may do.
    features : Features
        Answers of the probes.
    memory : Memory or None
        None where it only builds.
    logger : TrtLogger
        Its one logger.
    log_level : str
        Worst-but-one: lines milder than this are dropped from `Plan.log`.
    elsewhere : callable or None
        Makes the same on another device, by its number; None where it cannot. `devices.executors` calls it and keeps what it
        gives.
    """

    trt: Any
    product: str
    plays: str
    version: str
    gpu: GpuClass
    device: str
    emulated: bool
    can_build: bool
    can_execute: bool
    features: Features
    memory: Memory | None
    logger: TrtLogger
    log_level: str = "WARNING"
    elsewhere: Callable[[int], Runtime | None] | None = None

    @property
    def title(self) -> str:
        """Name and version for people: `TensorRT-RTX 1.7.1.116`, `emulator (tensorrt-10.13.3.9)`."""
        if not self.emulated:
            return f"{TITLES[self.product]} {self.version}"
        return f"emulator ({self.plays})" + ("" if self.device == "cpu" else f" on {self.device}")

    def active(self) -> AbstractContextManager[Any]:
        """A block in which this thread addresses the device; where there is none, a block without effect."""
        return nullcontext() if self.memory is None else self.memory.active()


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a session works with.

    Attributes
    ----------
    executor : Runtime or None
        Who executes; None with `--trt-runtime=off`, or when an explicit TensorRT has no GPU to execute on.
    builder : Runtime or None
        A real TensorRT that builds; never the emulator.
    missing : tuple of Missing
        What is not here, with the reason and the way to get it: `tensorrt`, `tensorrt_rtx`, `pycuda`, `gpu`,
        `build`.
    label : str
        The executor for people, `off` or `none`.
    """

    executor: Runtime | None
    builder: Runtime | None
    missing: tuple[Missing, ...]
    label: str

    def lacks(self, name: str) -> Missing | None:
        """Return what is said about a missing thing, None when it is here."""
        return next((thing for thing in self.missing if thing.name == name), None)

    def close(self) -> None:
        """Give the device back; sessions must be closed before."""
        if self.executor is not None and self.executor.memory is not None:
            self.executor.memory.close()


def discover(settings: Settings) -> Discovery:
    """Return who executes and who builds under these settings.

    Raises
    ------
    RuntimeMissingError
        `--trt-runtime` names a TensorRT that is not installed or does not load (its ImportError is quoted),
        or `--trt-device=cuda:N` lacks PyCUDA or the GPU.
    SettingsError
        Unknown GPU class or emulated version, a real GPU of another class than asked for, or a fault for a
        real TensorRT.
    """
    if settings.runtime == "off":
        return Discovery(None, None, (), "off")
    return _Search(settings).result()


def find_builder(settings: Settings) -> Runtime | None:
    """Return TensorRT-RTX as a builder for `settings.gpu`, None where it does not load."""
    return _Search(settings).rtx_builder()


class _Search:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.missing: list[Missing] = []
        self.gpus = hardware.detect()
        self.asked = None if settings.gpu == "auto" else hardware.get(settings.gpu)

    def result(self) -> Discovery:
        if not self.gpus:
            self.missing.append(
                Missing(
                    "gpu", "no NVIDIA GPU and driver on this machine", "run on a machine with an NVIDIA GPU"
                )
            )
        asked = self.settings.runtime
        products = {"auto": ("tensorrt", "tensorrt_rtx"), "emulator": ()}.get(asked, (asked,))
        executor: Runtime | None = None
        for product in products:
            found = self._find(product, required=asked != "auto")
            if found is not None and executor is None:
                executor = self._real_executor(found, explicit=asked != "auto")
        if executor is None and asked in ("auto", "emulator"):
            executor = self._emulator()
        self._refuse_faults(executor)
        builder = executor if executor is not None and not executor.emulated else self.rtx_builder()
        label = executor.title if executor is not None else "none"
        return Discovery(executor, builder, tuple(self.missing), label)

    def _find(self, product: str, required: bool) -> Found | None:
        found = find(product)
        if isinstance(found, Found):
            return found
        if required:
            raise RuntimeMissingError(
                f"{TITLES[product]} is not usable: {found.reason}",
                why=f"--trt-runtime={product} asks for it",
                mend=f"{found.mend}; or --trt-runtime=auto",
            )
        self._note(found)
        return None

    def _note(self, thing: Missing) -> None:
        if all(other.name != thing.name for other in self.missing):
            self.missing.append(thing)

    def _real_executor(self, found: Found, explicit: bool) -> Runtime | None:
        if not self.gpus:
            return None
        features = Features.of(found.trt)
        gpu = self._real_class(self.gpus[0])
        if features.rtx and f"SM{gpu.sm}" not in features.compute_capabilities:
            known = ", ".join(name for name in features.compute_capabilities if name.startswith("SM"))
            reason = f"{found.title} executes on {known}, and {self.gpus[0].title} is SM{gpu.sm}"
            if explicit:
                raise RuntimeMissingError(reason, mend="--trt-runtime=tensorrt, or --trt-runtime=emulator")
            self._note(Missing("execute", reason, "install TensorRT for this GPU"))
            return None
        memory = self._cuda_memory(0, required=explicit)
        if memory is None:
            return None
        rt = self._runtime(found.trt, found.product, found.version, gpu, memory=memory, device="cuda:0")
        return replace(rt, elsewhere=lambda number: self._real_elsewhere(rt, number))

    def _real_elsewhere(self, rt: Runtime, number: int) -> Runtime | None:
        """Return a real TensorRT on the memory of another GPU; None where it does not execute on that one."""
        gpu = self._known_class(self.gpus[number])
        if rt.features.rtx and f"SM{gpu.sm}" not in rt.features.compute_capabilities:
            return None
        return replace(rt, gpu=gpu, device=f"cuda:{number}", memory=CudaMemory(number), elsewhere=None)

    def _real_class(self, real: DetectedGpu) -> GpuClass:
        """Return the class of the GPU that is used; a usage error if another one was asked for."""
        known = self._known_class(real)
        if self.asked is not None and not self.asked.admits(known):
            raise SettingsError(
                f"--gpu={self.settings.gpu} was asked for, and the GPU is of class {known.name}",
                why=f"GPU {real.index} is {real.title}; results of one class say nothing of another",
                mend=f"--gpu={known.name} or --gpu=auto; or --trt-runtime=emulator to emulate "
                f"{self.settings.gpu} on the CPU",
            )
        return known

    @staticmethod
    def _known_class(real: DetectedGpu) -> GpuClass:
        if real.gpu_class is None:
            raise SettingsError(
                f"the class of the GPU {real.title!r} is unknown",
                why="the driver tells its name only, and the name is not in the table of GPU classes",
                mend="pip install nvidia-ml-py, so that its compute capability can be read",
            )
        return real.gpu_class

    def _cuda_memory(self, ordinal: int, required: bool) -> CudaMemory | None:
        try:
            return CudaMemory(ordinal)
        except RuntimeMissingError as error:
            if required:
                raise
            self._note(Missing("pycuda", error.what, error.mend or ""))
            return None

    def _emulator(self) -> Runtime:
        device, memory = self.settings.device, None
        if device == "cpu":
            gpu = self.asked or (self.gpus[0].gpu_class if self.gpus else None) or hardware.get(DEFAULT_GPU)
        else:
            ordinal = _ordinal(device)
            if ordinal >= len(self.gpus):
                raise RuntimeMissingError(
                    f"--trt-device={device}: this machine shows {len(self.gpus)} GPU(s) to CUDA",
                    mend="--trt-device=cpu, or another CUDA_VISIBLE_DEVICES",
                )
            gpu = self._real_class(self.gpus[ordinal])
            memory = self._cuda_memory(ordinal, required=True)
        rt = self._emulated(gpu, device, memory)
        return replace(rt, elsewhere=lambda number: self._emulated_elsewhere(rt, number))

    def _emulated_elsewhere(self, rt: Runtime, number: int) -> Runtime:
        """Return another emulated TensorRT, whose device has streams and memory of its own."""
        if rt.device == "cpu":
            return self._emulated(rt.gpu, "cpu", None)
        return self._emulated(self._known_class(self.gpus[number]), f"cuda:{number}", CudaMemory(number))

    def _emulated(self, gpu: GpuClass, device: str, memory: Memory | None) -> Runtime:
        emulator = importlib.import_module("pytest_trt.emulator")
        product, version = emulator.resolve(self.settings.emulate)
        faults = tuple(load_fault(text) for text in self.settings.faults)
        trt = emulator.load(product, version, gpu.name, device=device, faults=faults, seed=self.settings.seed)
        return self._runtime(
            trt, product, version, gpu, memory=memory or HostMemory(trt), device=device, emulated=True
        )

    def rtx_builder(self) -> Runtime | None:
        found = find("tensorrt_rtx")
        if not isinstance(found, Found):
            self._note(found)
            self._note(Missing("build", f"TensorRT-RTX is not usable: {found.reason}", RTX_COMMAND))
            return None
        gpu = self.asked or (self.gpus[0].gpu_class if self.gpus else None) or hardware.get(DEFAULT_GPU)
        return self._runtime(found.trt, found.product, found.version, gpu, memory=None, device="cpu")

    def _runtime(
        self,
        trt: Any,
        product: str,
        version: str,
        gpu: GpuClass,
        *,
        memory: Memory | None,
        device: str,
        emulated: bool = False,
    ) -> Runtime:
        return Runtime(
            trt=trt,
            product="emulator" if emulated else product,
            plays=f"{product}-{version}",
            version=version,
            gpu=gpu,
            device=device,
            emulated=emulated,
            can_build=True,
            can_execute=memory is not None,
            features=Features.of(trt),
            memory=memory,
            logger=TrtLogger(trt) if emulated else logger_of(trt),
            log_level=self.settings.log,
        )

    def _refuse_faults(self, executor: Runtime | None) -> None:
        if self.settings.faults and (executor is None or not executor.emulated):
            raise SettingsError(
                f"--trt-fault={self.settings.faults[0]} needs the emulator",
                why=f"{executor.title} executes here" if executor else "nothing executes here",
                mend="add --trt-runtime=emulator",
            )


def _ordinal(device: str) -> int:
    prefix, _, number = device.partition(":")
    if prefix != "cuda" or not (number or "0").isdigit():
        raise SettingsError(f"bad device {device!r}", why="good: cpu, cuda:N", mend="--trt-device=cpu")
    return int(number or "0")


def load_fault(text: str) -> Callable[[Any], Any]:
    """Return the callable that `package.module:name` means.

    Raises
    ------
    SettingsError
        The text has another form, the module does not import, or it has no such callable.
    """
    module_name, colon, path = text.partition(":")
    if not (module_name and colon and path):
        raise SettingsError(f"bad fault {text!r}", why="the form is module:callable", mend=_fault_example())
    try:
        thing: Any = importlib.import_module(module_name)
        for part in path.split("."):
            thing = getattr(thing, part)
    except TrtError:
        raise
    except Exception as error:  # the module is the user's: whatever it raises belongs into the message
        raise SettingsError(
            f"fault {text!r} cannot be loaded: {type(error).__name__}: {error}", mend=_fault_example()
        ) from error
    if not callable(thing):
        raise SettingsError(f"fault {text!r} is not callable: {thing!r}", mend=_fault_example())
    fault: Callable[[Any], Any] = thing
    return fault


def _fault_example() -> str:
    return "for instance --trt-fault=pytest_trt.emulator.faults:last_input_channel_dropped"
