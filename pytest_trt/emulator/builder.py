"""The builder: networks, configurations and plans."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import onnx

from pytest_trt.emulator import dtypes, layers, plugins_network
from pytest_trt.emulator.bound import Threaded
from pytest_trt.emulator.building import (
    Refusal,
    check_config,
    check_network,
    check_profiles,
    choose_precision,
    target_sms,
)
from pytest_trt.emulator.calibration import implicit_quantization
from pytest_trt.emulator.config import BuilderConfig
from pytest_trt.emulator.constraints import layer_types, lifted, without_pairs
from pytest_trt.emulator.graph import Graph, load
from pytest_trt.emulator.lowering import Policy
from pytest_trt.emulator.network import Network
from pytest_trt.emulator.plan import Plan
from pytest_trt.emulator.profiles import Profile
from pytest_trt.emulator.program import Program
from pytest_trt.emulator.reporting import Reporter, shielded
from pytest_trt.emulator.tactics import Tuner

_PHASES = (("Parsing inputs", 1), ("Selecting tactics", 2), ("Writing engine", 1))


class Cancelled(Refusal):
    """A progress monitor said stop."""

    def __init__(self) -> None:
        super().__init__("UNSPECIFIED_ERROR", "Build canceled by user")


class _Progress:
    """Tells a progress monitor of phases and steps; a step that answers False cancels the build."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor

    def run(self, phase: str, steps: int, parent: str | None) -> None:
        if self._monitor is None:
            return
        shielded(self._monitor.phase_start, phase, parent, steps)
        try:
            for step in range(steps):
                if not shielded(self._monitor.step_complete, phase, step, default=False):
                    raise Cancelled
        finally:
            shielded(self._monitor.phase_finish, phase)


class Builder(Threaded):
    """Builds engines."""

    _reporter: Reporter

    def __init__(self, logger: Any) -> None:
        self._reporter = self._host.reporter(self, logger, "createInferBuilder")
        self._logger = logger
        self._threads = 1

    @property
    def num_DLA_cores(self) -> int:
        """0: there is no DLA."""
        return 0

    @property
    def max_DLA_batch_size(self) -> int:
        """What the library says without a DLA."""
        return 1 << 28

    @property
    def max_batch_size(self) -> int:
        """1: the batch is explicit."""
        return 1

    @max_batch_size.setter
    def max_batch_size(self, value: int) -> None:
        self._reporter.log("WARNING", "max_batch_size has no effect with an explicit batch dimension")

    def get_plugin_registry(self) -> Any:
        """Return the registry of plugins."""
        return self._host.registry

    @property
    def platform_has_fast_fp16(self) -> bool:
        """Whether the GPU class computes fp16 faster than fp32."""
        return "fp16" in self._host.gpu.precisions

    @property
    def platform_has_fast_int8(self) -> bool:
        """Whether the GPU class computes int8 faster than fp32."""
        return "int8" in self._host.gpu.precisions

    @property
    def platform_has_tf32(self) -> bool:
        """Whether the GPU class has TF32."""
        return bool(self._host.sm >= 80)

    def reset(self) -> None:
        """Go back to the defaults."""
        self._threads = 1

    def create_network(self, flags: int = 0) -> Any:
        """Return an empty network, or None with a logged error for flags that this version has not."""
        table = self._host.enum("NetworkDefinitionCreationFlag")._table
        most = max(int(member) for member in table.values()) + 1
        if flags >> most or flags < 0:
            self._reporter.error(
                "INVALID_ARGUMENT",
                "IBuilder::createNetworkV2",
                "Parameter check failed, condition: flagSet.toU32() < (1U << EnumMax<NetworkDefinitionCreationFlag>())",
            )
            return None
        typed = table.get("STRONGLY_TYPED")
        bit = 0 if typed is None else 1 << int(typed)
        if not self._host.offers_weak_typing:
            flags |= bit
        strong = bool(flags & bit)
        implicit = self._host.major < 10 and not self._host.is_rtx
        implicit = implicit and not flags & (1 << int(table["EXPLICIT_BATCH"]))
        return self._host.new(Network, self, self._reporter.child(), flags, strong, implicit)

    def create_builder_config(self) -> Any:
        """Return a configuration with the defaults: TF32 is on."""
        return self._host.new(BuilderConfig, self._reporter.child())

    def create_optimization_profile(self) -> Any:
        """Return an empty profile."""
        return self._host.new(Profile, self._reporter.child())

    def is_network_supported(self, network: Any, config: Any) -> bool:
        """Return whether the network can be built; the reason is logged if not."""
        try:
            self._prepare(network, config)
        except Refusal as refusal:
            network._reporter.error(refusal.code, "IBuilder::isNetworkSupported", str(refusal))
            return False
        return True

    def build_serialized_network(self, network: Any, config: Any, kernel_text: Any = None) -> Any:
        """Return the plan as host memory, or None with a logged error."""
        data = self._build(network, config)
        return None if data is None else self._host.memory(data)

    def build_engine_with_config(self, network: Any, config: Any) -> Any:
        """Return an engine, or None with a logged error."""
        data = self._build(network, config)
        return None if data is None else self._host.make_engine(data, self._reporter.child())

    def build_engine(self, network: Any, config: Any) -> Any:
        """Return an engine, or None with a logged error."""
        return self.build_engine_with_config(network, config)

    def build_serialized_network_to_stream(self, network: Any, config: Any, writer: Any) -> bool:
        """Write the plan to a stream writer; False with a logged error if the build or the writing fails."""
        data = self._build(network, config)
        if data is None:
            return False
        if self._host.faults:
            site, _ = self._host.faults.visit("stream", "", plan=data)
            data = bytes(site.plan)
        taken = shielded(writer.write, data, default=0)
        if taken != len(data):
            self._reporter.error(
                "FAILED_EXECUTION",
                "IBuilder::buildSerializedNetworkToStream",
                f"the writer took {taken} bytes",
            )
            return False
        return True

    def _prepare(self, network: Any, config: Any) -> tuple[Graph, Plan, Program]:
        host = self._host
        graph = check_network(network)
        check_config(host, config)
        profiles = check_profiles(network, config, graph)
        types, stored = layer_types(network, config)
        if not network._is_strong and config._has("INT8"):
            graph = without_pairs(
                implicit_quantization(host, network, config, graph, profiles, self._reporter), graph, types
            )
        weak = choose_precision(host, network, config, graph)
        if weak:  # plugins take the types that the network has
            types = {**types, **dict.fromkeys(network._plugins, "fp32")}
        graph = lifted(graph, {weak, *types.values(), *stored.values()})
        tf32 = config._has("TF32") and host.sm >= 80
        for name in network._io_types:
            if network._io_types[name] not in (dtypes.FLOAT, *dtypes.HALVES):
                raise Refusal(
                    "UNSUPPORTED_STATE", f"{name}: only floating types can be set on inputs and outputs"
                )
        refit = [flag for flag in ("REFIT", "REFIT_IDENTICAL") if config._has(flag)]
        individual = config._has("REFIT_INDIVIDUAL")
        settings: dict[str, Any] = {
            "weak": weak,
            "tf32": tf32,
            "fp32_nodes": [],
            "types": types,
            "stored": stored,
            "strong": network._is_strong,
            "outputs": list(graph.outputs),
            "own_outputs": sorted(graph.own_outputs),
            "io_types": dict(network._io_types),
            "profiles": profiles,
            "verbosity": config.profiling_verbosity.name,
            "name": network.name,
            "refit": "all" if refit else "some" if individual else "",
            "refittable": sorted(network._refittable),
            "debug": sorted(network._debug),
            "unfused": network._unfused,
            "sharing": bool(
                host.major >= 10 or host.is_rtx or (config._previews.get("PROFILE_SHARING_0806", False))
            ),
            "tactics": config.get_tactic_sources(),
            "aux_streams": max(0, config.max_aux_streams),
        }
        level = config._values.get("hardware_compatibility_level")
        plan = Plan(
            product=host.product,
            version=host.version,
            sms=target_sms(host, config),
            model=b"",
            ampere_plus=level is not None and level.name == "AMPERE_PLUS",
            version_compatible=config._has("VERSION_COMPATIBLE"),
            settings=settings,
        )
        if plan.ampere_plus and host.sm < 80:
            raise Refusal(
                "UNSUPPORTED_STATE", "AMPERE_PLUS engines cannot be built on a device older than Ampere"
            )
        program = Program(graph, policy_of(settings), graph.outputs)
        return graph, plan, program

    def _build(self, network: Any, config: Any) -> bytes | None:
        started = time.perf_counter()
        progress = _Progress(config.progress_monitor if hasattr(type(config), "progress_monitor") else None)
        try:
            graph, plan, program = self._prepare(network, config)
            if network._plugins:
                plan.settings["plugins"] = plugins_network.build(network, graph, plan.settings["profiles"])
            for phase, steps in _PHASES:
                progress.run(phase, steps, "Building Engine")
            data = self._finish(graph, plan, program, config)
        except Refusal as refusal:
            # Seen with TensorRT-RTX 1.7.1: what a build says is the builder's, whatever is attached to the network.
            self._reporter.error(refusal.code, "IBuilder::buildSerializedNetwork", str(refusal))
            return None
        if data is not None:
            self._reporter.log(
                "INFO", f"Engine generation completed in {time.perf_counter() - started:.6f} seconds."
            )
        return data

    def _finish(self, graph: Graph, plan: Plan, program: Program, config: Any) -> bytes | None:
        kinds = self._host.enum("LayerType")._table
        model = onnx.ModelProto()
        model.CopyFrom(graph.model)
        rows = layers.rows_of(program.steps, graph, program.lowered.elems, kinds)
        tuner = self._tuner(graph, config)
        offered = tuner.tune(rows)
        plan = replace(plan, model=model.SerializeToString(), settings={**plan.settings, "layers": rows})
        plan.settings["precision"] = precision_of(program)
        faults = self._host.faults
        if faults:
            changed = self._visit(plan, rows, model, config, offered, tuner.hits)
            if changed is None:
                raise Refusal("UNSPECIFIED_ERROR", "Could not find any implementation")
            return changed
        self._tell(plan)
        return self._compile(plan, program).pack()

    def _tuner(self, graph: Graph, config: Any) -> Tuner:
        """Return who picks implementations; TensorRT-RTX has no use for a timing cache."""
        cache = None if self._host.is_rtx else config.get_timing_cache()
        entries = None if cache is None else cache._entries
        must_hit = config._has("ERROR_ON_TIMING_CACHE_MISS")
        return Tuner(graph, self._host.sm, config._pools.get("WORKSPACE"), entries, must_hit)

    @staticmethod
    def _compile(plan: Plan, program: Program) -> Plan:
        if program.must_step or plan.settings["refit"] or plan.settings["refittable"]:
            return plan  # lowered when it is loaded: single steps, or weights that may change
        return replace(plan, compiled=program.whole_model().SerializeToString())

    def _tell(self, plan: Plan) -> None:
        if plan.settings["verbosity"] == "DETAILED":
            told = layers.engine_lines(plan.settings["layers"], self._host.has_new_inspector)
            self._reporter.log("VERBOSE", told)

    def _visit(
        self,
        plan: Plan,
        rows: list[dict[str, Any]],
        model: onnx.ModelProto,
        config: Any,
        offered: dict[str, Any],
        hits: int,
    ) -> bytes | None:
        table = {row["name"]: row["working"] for row in rows}
        flags = {name for name in self._host.enum("BuilderFlag")._table if config._has(name)}
        packed = plan.pack()
        before = model.SerializeToString()
        site, _ = self._host.faults.visit(
            "build",
            plan.settings["precision"],
            model=model,
            flags=flags,
            layers=dict(table),
            plan=packed,
            profiles=plan.settings["profiles"],
            tactics={row["name"]: row["tactic"] for row in rows if "tactic" in row},
            offered=offered,
            workspace_limit=config._pools.get("WORKSPACE"),
            cache_hits=hits,
            steering=dict(config._values),
        )
        if site.plan is None:
            return None
        if site.plan != packed:
            return bytes(site.plan)
        if site.layers != table:
            wide = ("fp32", "tf32")
            kept = {
                name for name, kind in site.layers.items() if kind in wide and table.get(name) not in wide
            }
            if self._host.sm >= 80 and "tf32" in site.layers.values():
                plan.settings["tf32"] = True
            plan.settings["fp32_nodes"] = sorted({*plan.settings["fp32_nodes"], *kept})
        model = site.model
        if model.SerializeToString() != before or site.layers != table:
            graph = load(model)
            graph.outputs = list(plan.settings["outputs"])
            program = Program(graph, policy_of(plan.settings), graph.outputs)
            kinds = self._host.enum("LayerType")._table
            plan = replace(plan, model=model.SerializeToString())
            rows = layers.rows_of(program.steps, graph, program.lowered.elems, kinds)
            Tuner(graph, self._host.sm, config._pools.get("WORKSPACE"), None, False).tune(rows)
            plan.settings["layers"] = rows
        for row in rows:
            tactic = site.tactics.get(row["name"])
            if tactic in offered.get(row["name"], ()):
                row["tactic"], row["workspace"] = tactic, offered[row["name"]][tactic]
        self._tell(plan)
        return plan.pack()


def policy_of(settings: dict[str, Any]) -> Policy:
    """Return the policy that a plan's settings hold."""
    return Policy(
        settings["weak"],
        settings["tf32"],
        frozenset(settings["fp32_nodes"]),
        settings["types"],
        settings["stored"],
        frozenset(settings["debug"]),
    )


def precision_of(program: Program) -> str:
    """Return the lowest precision that works in an engine: int8, fp16, bf16, tf32 or fp32."""
    working = {step.working for step in program.steps}
    return next((kind for kind in ("int8", "fp16", "bf16", "tf32") if kind in working), "fp32")
