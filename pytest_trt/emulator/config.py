"""Builder configurations."""

from __future__ import annotations

from typing import Any

from pytest_trt.emulator.bound import Bound
from pytest_trt.emulator.profiles import Profile, TimingCache
from pytest_trt.emulator.reporting import Reporter

_GIB = 1 << 30


class BuilderConfig(Bound):
    """A builder configuration."""

    _reporter: Reporter

    def _setup(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._defaults()

    def _defaults(self) -> None:
        self._flags = 1 << int(self._host.enum("BuilderFlag")._table["TF32"])
        self._profiles: list[Profile] = []
        self._pools: dict[str, int] = {}
        self._previews: dict[str, bool] = {}
        self._verbosity = self._member("ProfilingVerbosity", "LAYER_NAMES_ONLY")
        self._values: dict[str, Any] = {}
        self._monitor: Any = None
        self._calibrator: Any = None
        self._calibration_profile: Any = None
        self._quantization = 0
        self._tactics: int | None = None
        self._cache: Any = None
        self._capabilities: list[Any] = []

    def _member(self, enum: str, name: str) -> Any:
        return self._host.enum(enum)._table[name]

    def _value(self, name: str, default: Any) -> Any:
        return self._values.get(name, default)

    def _has(self, flag: str) -> bool:
        member = self._host.enum("BuilderFlag")._table.get(flag)
        return member is not None and bool(self._flags & (1 << int(member)))

    def reset(self) -> None:
        """Go back to the defaults."""
        self._defaults()

    @property
    def flags(self) -> int:
        """Builder flags, one bit each; the numbers differ between versions."""
        return self._flags

    @flags.setter
    def flags(self, value: int) -> None:
        if value < 0:
            raise TypeError(
                f"(): incompatible function arguments. flags takes int\n\nInvoked with: {value!r}"
            )
        self._flags = value

    def set_flag(self, flag: Any) -> None:
        """Turn a flag on; EXCLUDE_LEAN_RUNTIME needs VERSION_COMPATIBLE and is else refused with a logged error."""
        if flag.name == "EXCLUDE_LEAN_RUNTIME" and not self._has("VERSION_COMPATIBLE"):
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IBuilderConfig::setFlag",
                "BuilderFlag::kEXCLUDE_LEAN_RUNTIME can only be set with BuilderFlag::kVERSION_COMPATIBLE",
            )
            return
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        """Turn a flag off."""
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        """Return whether a flag is on."""
        return bool(self._flags & (1 << int(flag)))

    def add_optimization_profile(self, profile: Any) -> int:
        """Add a profile and return its index, or -1 with a logged error."""
        if not profile:
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IBuilderConfig::addOptimizationProfile",
                "Parameter check failed, condition: profile->isValid().",
            )
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    @property
    def num_optimization_profiles(self) -> int:
        """How many profiles were added."""
        return len(self._profiles)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Limit a memory pool, bytes."""
        self._pools[pool.name] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        """Return the limit of a memory pool, bytes."""
        default = {"DLA_MANAGED_SRAM": 0, "DLA_LOCAL_DRAM": _GIB, "DLA_GLOBAL_DRAM": _GIB // 2}
        return self._pools.get(pool.name, default.get(pool.name, 64 * _GIB))

    @property
    def max_workspace_size(self) -> int:
        """The workspace limit under its old name, bytes."""
        return self._pools.get("WORKSPACE", 64 * _GIB)

    @max_workspace_size.setter
    def max_workspace_size(self, value: int) -> None:
        self._pools["WORKSPACE"] = value

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        """Turn a preview feature on or off."""
        self._previews[feature.name] = bool(enable)

    def get_preview_feature(self, feature: Any) -> bool:
        """Return whether a preview feature is on."""
        return self._previews.get(
            feature.name, self._host.major >= 10 and feature.name == "PROFILE_SHARING_0806"
        )

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """Choose tactic sources; the emulator has none to choose from."""
        self._tactics = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        """Return the tactic sources, one bit each."""
        if self._tactics is not None:
            return self._tactics
        table = self._host.enum("TacticSource")._table
        return sum(
            1 << int(table[name]) for name in ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS") if name in table
        )

    @property
    def profiling_verbosity(self) -> Any:
        """How much the engine tells of its layers."""
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: Any) -> None:
        self._verbosity = value

    @property
    def progress_monitor(self) -> Any:
        """The progress monitor, or None."""
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value: Any) -> None:
        self._monitor = value

    @property
    def builder_optimization_level(self) -> int:
        """0 to 5; no effect here."""
        return int(self._value("builder_optimization_level", 3))

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: int) -> None:
        self._values["builder_optimization_level"] = value

    @property
    def avg_timing_iterations(self) -> int:
        """No effect here."""
        return int(self._value("avg_timing_iterations", 1))

    @avg_timing_iterations.setter
    def avg_timing_iterations(self, value: int) -> None:
        self._values["avg_timing_iterations"] = value

    @property
    def min_timing_iterations(self) -> int:
        """No effect here."""
        return int(self._value("min_timing_iterations", 1))

    @min_timing_iterations.setter
    def min_timing_iterations(self, value: int) -> None:
        self._values["min_timing_iterations"] = value

    @property
    def max_aux_streams(self) -> int:
        """No effect here; -1 lets TensorRT choose."""
        return int(self._value("max_aux_streams", -1))

    @max_aux_streams.setter
    def max_aux_streams(self, value: int) -> None:
        self._values["max_aux_streams"] = value

    @property
    def max_num_tactics(self) -> int:
        """No effect here; -1 lets TensorRT choose."""
        return int(self._value("max_num_tactics", -1))

    @max_num_tactics.setter
    def max_num_tactics(self, value: int) -> None:
        self._values["max_num_tactics"] = value

    @property
    def l2_limit_for_tiling(self) -> int:
        """No effect here, bytes."""
        return int(self._value("l2_limit_for_tiling", 0))

    @l2_limit_for_tiling.setter
    def l2_limit_for_tiling(self, value: int) -> None:
        self._values["l2_limit_for_tiling"] = value

    @property
    def tiling_optimization_level(self) -> Any:
        """No effect here."""
        return self._value("tiling_optimization_level", self._member("TilingOptimizationLevel", "NONE"))

    @tiling_optimization_level.setter
    def tiling_optimization_level(self, value: Any) -> None:
        self._values["tiling_optimization_level"] = value

    @property
    def runtime_platform(self) -> Any:
        """The platform of the engine; only SAME_AS_BUILD is built for."""
        return self._value("runtime_platform", self._member("RuntimePlatform", "SAME_AS_BUILD"))

    @runtime_platform.setter
    def runtime_platform(self, value: Any) -> None:
        if value.name != "SAME_AS_BUILD":
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IBuilderConfig::setRuntimePlatform",
                f"{value.name} cannot be built for here",
            )
            return
        self._values["runtime_platform"] = value

    @property
    def profile_stream(self) -> int:
        """The stream on which layers are timed."""
        return int(self._value("profile_stream", 0))

    @profile_stream.setter
    def profile_stream(self, value: int) -> None:
        self._values["profile_stream"] = value

    @property
    def engine_capability(self) -> Any:
        """What the engine is restricted to; the emulator builds STANDARD only."""
        return self._value("engine_capability", self._member("EngineCapability", "STANDARD"))

    @engine_capability.setter
    def engine_capability(self, value: Any) -> None:
        self._values["engine_capability"] = value

    @property
    def default_device_type(self) -> Any:
        """GPU unless set; there is no DLA."""
        return self._value("default_device_type", self._member("DeviceType", "GPU"))

    @default_device_type.setter
    def default_device_type(self, value: Any) -> None:
        self._values["default_device_type"] = value

    @property
    def DLA_core(self) -> int:
        """-1: there is no DLA."""
        return int(self._value("DLA_core", -1))

    @DLA_core.setter
    def DLA_core(self, value: int) -> None:
        self._values["DLA_core"] = value

    @property
    def plugins_to_serialize(self) -> list[str]:
        """Paths of plugin libraries to put into the plan."""
        return list(self._value("plugins_to_serialize", []))

    @plugins_to_serialize.setter
    def plugins_to_serialize(self, value: list[str]) -> None:
        self._values["plugins_to_serialize"] = list(value)

    @property
    def build_route(self) -> str:
        """No effect here."""
        return str(self._value("build_route", ""))

    @build_route.setter
    def build_route(self, value: str) -> None:
        self._values["build_route"] = value

    @property
    def hardware_compatibility_level(self) -> Any:
        """Which other GPUs the engine runs on; TensorRT-RTX only logs that it does not support it."""
        if self._host.is_rtx:
            self._reporter.log(
                "INTERNAL_ERROR", "Hardware compatibility level is unsupported in TensorRT-RTX"
            )
            self._reporter.log("WARNING", "Hardware compatibility level is unsupported in TensorRT-RTX")
        return self._value("hardware_compatibility_level", self._member("HardwareCompatibilityLevel", "NONE"))

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: Any) -> None:
        if self._host.is_rtx:
            self._reporter.log("WARNING", "Hardware compatibility level is unsupported in TensorRT-RTX")
            return
        self._values["hardware_compatibility_level"] = value

    @property
    def num_compute_capabilities(self) -> int:
        """How many compute capabilities to build for; 0 is the portable set."""
        return len(self._capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, value: int) -> None:
        none = self._member("ComputeCapability", "NONE")
        self._capabilities = (self._capabilities + [none] * value)[:value]

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        """Set one of the compute capabilities; False with a logged error for NONE and for a bad index."""
        where = "IBuilderConfig::setComputeCapability"
        if compute_capability.name == "NONE":
            self._reporter.error("INVALID_ARGUMENT", where, "Compute capability cannot be kNONE.")
            return False
        if not 0 <= index < len(self._capabilities):
            self._reporter.error("INVALID_ARGUMENT", where, "Index of compute capability is not in range.")
            return False
        self._capabilities[index] = compute_capability
        return True

    def get_compute_capability(self, index: int) -> Any:
        """Return one of the compute capabilities; NONE for a bad index."""
        if not 0 <= index < len(self._capabilities):
            return self._member("ComputeCapability", "NONE")
        return self._capabilities[index]

    @property
    def int8_calibrator(self) -> Any:
        """The calibrator for implicit INT8, or None."""
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, value: Any) -> None:
        self._calibrator = value

    def set_calibration_profile(self, profile: Any) -> bool:
        """Set the profile with whose OPT shapes the calibrator's batches come."""
        if not profile:
            return False
        self._calibration_profile = profile
        return True

    def get_calibration_profile(self) -> Any:
        """Return the calibration profile, or None."""
        return self._calibration_profile

    @property
    def quantization_flags(self) -> int:
        """Quantization flags, one bit each; no effect here."""
        return self._quantization

    @quantization_flags.setter
    def quantization_flags(self, value: int) -> None:
        self._quantization = value

    def set_quantization_flag(self, flag: Any) -> None:
        """Turn a quantization flag on."""
        self._quantization |= 1 << int(flag)

    def clear_quantization_flag(self, flag: Any) -> None:
        """Turn a quantization flag off."""
        self._quantization &= ~(1 << int(flag))

    def get_quantization_flag(self, flag: Any) -> bool:
        """Return whether a quantization flag is on."""
        return bool(self._quantization & (1 << int(flag)))

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        """Return a timing cache, from what `serialize` gave or, of empty bytes, a new one."""
        if self._host.is_rtx:
            self._host.warn_deprecated("Timing caches are deprecated in TensorRT-RTX; the call does nothing.")
        data = bytes(memoryview(serialized_timing_cache))
        own = f"{self._host.played} sm{self._host.sm}"
        header, *lines = data.decode(errors="replace").split("\n") if data else [own]
        entries = dict(line.split(" ", 1) for line in lines if " " in line)
        return self._host.new(TimingCache, header, entries)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        """Attach a timing cache; False with a logged error for one of another version or another GPU."""
        if self._host.is_rtx:
            self._host.warn_deprecated("Timing caches are deprecated in TensorRT-RTX; the call does nothing.")
        if cache is None:
            self._cache = None
            return True
        fits = ignore_mismatch or cache._header == f"{self._host.played} sm{self._host.sm}"
        if self._host.faults:
            site, _ = self._host.faults.visit("cache", "", header=cache._header, accepted=fits)
            fits = site.accepted
        if not fits:
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IBuilderConfig::setTimingCache",
                f"the timing cache is of {cache._header!r}",
            )
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        """Return the attached timing cache, or None."""
        return self._cache
