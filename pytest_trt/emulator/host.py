"""The module object: one TensorRT version on one GPU class, with exactly that version's names."""

from __future__ import annotations

import itertools
import types as pytypes
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast

from pytest_trt.emulator import dtypes, values
from pytest_trt.emulator.arguments import Types
from pytest_trt.emulator.bound import Binder, Bound
from pytest_trt.emulator.clock import Clock
from pytest_trt.emulator.core import Core
from pytest_trt.emulator.device import Device, HostDevice
from pytest_trt.emulator.engine import Engine
from pytest_trt.emulator.enums import EnumType, make_enum
from pytest_trt.emulator.implementations import IMPLEMENTATIONS
from pytest_trt.emulator.loading import refusal_of
from pytest_trt.emulator.plan import Plan, PlanError
from pytest_trt.emulator.plugins_life import PluginFailure
from pytest_trt.emulator.plugins_registry import PluginRegistry
from pytest_trt.emulator.reporting import Reporter
from pytest_trt.emulator.sites import Fault, Faults
from pytest_trt.emulator.surfaces import ClassSurface, Surface
from pytest_trt.errors import NotEmulated
from pytest_trt.hardware import GpuClass

T = TypeVar("T", bound=Bound)


class Module(pytypes.ModuleType):
    """What `load` gives: has the names of one TensorRT version, and no others.

    Besides them it has `emulated` (True), `emulated_streams` (the streams of the device, `streams.Streams`; only on the
    CPU), `emulated_clock` (`clock.Clock`: where the times of a profiler and of events come from) and `emulated_as` (for instance
    `tensorrt-10.13.3.9`).
    """

    emulated: bool
    emulated_as: str
    emulated_streams: Any
    emulated_clock: Clock

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _PluginModule(pytypes.ModuleType):
    """The `plugin` submodule: its real names raise `NotEmulated`."""

    _real: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> NoReturn:
        if name in self._real:
            raise NotEmulated(
                f"the emulator does not play {self.__name__.rpartition('.')[2]}.{name}",
                why="it has no plugins made by decorators",
                mend="run this test with the real library",
            )
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class Host:
    """Everything that the objects of one emulated TensorRT share.

    Parameters
    ----------
    surface : Surface
        The names to play.
    gpu : GpuClass
        The GPU class to play.
    device : Device or None
        Where to compute; the CPU if None.
    faults : sequence of callable
        Faults to inject.
    seed : int
        Of the random numbers that fault sites offer.
    """

    def __init__(
        self, surface: Surface, gpu: GpuClass, device: Device | None, faults: Sequence[Fault], seed: int
    ) -> None:
        self.surface = surface
        self.product = surface.product
        self.version = surface.version
        self.major = int(surface.version.partition(".")[0])
        self.is_rtx = surface.product == "tensorrt_rtx"
        self.gpu = gpu
        self.sm = gpu.sm
        self.played = f"{surface.product}-{surface.version}"
        self.device: Device = device if device is not None else HostDevice()
        self.faults = Faults(faults, gpu.name, seed)
        self.clock: Clock = self.device.clock
        self.engine_numbers = itertools.count(1)
        self.offers_weak_typing = not self.is_rtx and "FP16" in surface.enums["BuilderFlag"]
        minor = int(surface.version.split(".")[1])
        self.has_new_inspector = (self.is_rtx and minor >= 5) or (not self.is_rtx and self.major >= 11)
        self._enums: dict[str, EnumType] = {}
        self._classes: dict[str, type] = {}
        self._made: dict[type, type] = {}
        self._registered: Any = None
        self._users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.module = self._make_module()
        self.registry: Any = self.new(PluginRegistry)

    # Names.

    def _make_module(self) -> Module:
        surface = self.surface
        module = Module(surface.product, f"{self.played}, emulated as a {self.gpu.name}")
        table: dict[str, type] = {}
        binder = Binder(self, Types(table), surface.product, self.played)
        for name, members in surface.enums.items():
            own = surface.classes.get(name)
            properties = tuple(own.properties) if own is not None else ()
            self._enums[name] = make_enum(name, members, surface.product, properties)
            table[name] = self._enums[name]
        for name, spec in surface.classes.items():
            if not spec.is_enum:
                self._make_class(name, spec, binder)
        table.update(self._classes)
        for name, kind in table.items():
            owner, _, last = name.rpartition(".")
            target: Any = self._classes[owner] if owner else module
            setattr(target, last, kind) if owner else module.__dict__.__setitem__(last, kind)
        functions: dict[str, Callable[..., Any]] = {
            "volume": values.volume,
            "nptype": values.make_nptype(self._enums["DataType"]),
            "init_libnvinfer_plugins": lambda logger, namespace: True,
            "get_plugin_registry": lambda: self.registry,
            "get_builder_plugin_registry": lambda capability: self.registry,
            "get_nv_onnx_parser_version": lambda: 200 if self.is_rtx else self.version_number,
        }
        for name in surface.functions:
            found = functions.get(name)
            if found is None:
                module.__dict__[name] = binder.stub_function(name)
            elif name in ("init_libnvinfer_plugins", "get_plugin_registry"):
                module.__dict__[name] = found
            else:
                signature = surface.functions[name]
                module.__dict__[name] = binder.check_function(name, signature, found)
        for name, meant in surface.constants.items():
            self._set_constant(module, name, meant)
        if surface.plugin:
            plugin = _PluginModule(f"{surface.product}.plugin")
            plugin._real = surface.plugin
            module.__dict__["plugin"] = plugin
        module.__dict__["__version__"] = surface.version
        module.__dict__["emulated"] = True
        module.__dict__["emulated_as"] = self.played
        module.__dict__["emulated_clock"] = self.clock
        module.__dict__["emulated_streams"] = getattr(self.device, "streams", None)
        return module

    def _make_class(self, name: str, spec: ClassSurface, binder: Binder) -> type:
        if name in self._classes:
            return self._classes[name]
        bases = tuple(
            self._make_class(base, self.surface.classes[base], binder)
            for base in spec.bases
            if base in self.surface.classes
        )
        implementation = IMPLEMENTATIONS.get(name)
        made = binder.make(spec, implementation, bases)
        self._classes[name] = made
        if implementation is not None:
            self._made[implementation] = made
        return made

    def _set_constant(self, module: Module, name: str, meant: str) -> None:
        found: Any = module
        for part in meant.split("."):
            found = self._resolve_part(found, part)
        owner, _, last = name.rpartition(".")
        if owner:
            setattr(self._classes[owner], last, found)
        else:
            module.__dict__[last] = found

    @staticmethod
    def _resolve_part(owner: Any, part: str) -> Any:
        return owner.__dict__[part] if isinstance(owner, pytypes.ModuleType) else getattr(owner, part)

    def enum(self, name: str) -> EnumType:
        """Return an enumeration of this version by its qualified name."""
        return self._enums[name]

    # Objects.

    def new(self, implementation: type[T], *args: Any) -> T:
        """Return an object of this version's class for an implementation."""
        made: Any = self._made[implementation]
        instance = made.__new__(made)
        instance._setup(*args)
        return cast(T, instance)

    def dims(self, shape: Sequence[int]) -> Any:
        """Return a shape as `Dims`."""
        return self._made[values.Dims](tuple(shape))

    def memory(self, data: bytes) -> Any:
        """Return bytes as `IHostMemory`."""
        made: Any = self._made[values.HostMemory]
        return made.__new__(made, data)

    def data_type(self, elem: int) -> Any:
        """Return `DataType` of an ONNX element type."""
        table: Mapping[str, Any] = self.enum("DataType")._table
        return table.get(dtypes.member_of(elem), table["FLOAT"])

    def make_engine(self, data: bytes, reporter: Reporter, runtime: Any = None) -> Any:
        """Return the engine of a plan, or None with a logged error."""
        if self.faults:
            site, _ = self.faults.visit("load", "", plan=data)
            if site.plan is None:
                reporter.error(
                    "FAILED_EXECUTION", "IRuntime::deserializeCudaEngine", "deserialization failed"
                )
                return None
            data = bytes(site.plan)
        try:
            plan = Plan.unpack(data)
            allowed = runtime is None or runtime._host_code
            reason = refusal_of(plan, self.product, self.version, self.sm, allowed)
        except PlanError as error:
            reason = f"Serialization assertion failed. {error}"
        if reason:
            reporter.error("INVALID_ARGUMENT", "IRuntime::deserializeCudaEngine", reason)
            return None
        try:
            core = Core(self, plan)
        except PluginFailure as failure:
            reporter.error("INVALID_STATE", "IRuntime::deserializeCudaEngine", str(failure))
            return None
        return self.new(Engine, core, reporter, runtime)

    def reporter(self, owner: Any, logger: Any, function: str) -> Reporter:
        """Return the reporter of a new builder, runtime or refitter; the first logger stays the registered one."""
        if not len(self._users):
            self._registered = logger
        used = logger
        if self._registered is not logger:
            if not self.is_rtx:
                used = self._registered
            # TensorRT-RTX 1.7.1 says so to the new logger, and goes on to use it.
            Reporter(self, used).log(
                "WARNING",
                f"The logger passed into {function} differs from one already registered for an existing builder,"
                " runtime, or refitter. The registered logger is used.",
            )
        self._users.add(owner)
        return Reporter(self, used, is_second=self._registered is not logger)

    @property
    def version_number(self) -> int:
        """The version as TensorRT's headers number it: 8601 for 8.6.1, 101303 for 10.13.3."""
        major, minor, patch = (int(part) for part in self.version.split(".")[:3])
        return major * (10_000 if major >= 10 or self.is_rtx else 1000) + minor * 100 + patch

    def cache_header(self, algorithm: str) -> str:
        """Return the first line of a calibration cache of this version, in TensorRT's form and not in its name."""
        return f"emulator-{self.version_number}-{algorithm}"

    @staticmethod
    def warn_deprecated(text: str) -> None:
        """Warn as the bindings do, at the caller's line."""
        warnings.warn(text, DeprecationWarning, stacklevel=4)
