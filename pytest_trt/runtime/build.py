"""From ONNX bytes to a plan: parse, configure, build, and tell in TensorRT's words what it refused."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError

from pytest_trt.errors import ModelError, RuntimeMissingError, UnsupportedError
from pytest_trt.records import LogLine
from pytest_trt.runtime import constraints, ranges
from pytest_trt.runtime.capture import Captured, process_capture
from pytest_trt.runtime.external import find_weights, is_external, read_structure, tensors_of
from pytest_trt.runtime.inspect import engine_layers, read_log
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.log import errors_in, keep
from pytest_trt.runtime.plan import Layers, Plan
from pytest_trt.runtime.profiles import add_calibration_profile, add_profiles
from pytest_trt.runtime.request import BuildRequest

if TYPE_CHECKING:
    from pytest_trt.runtime.plans import PlanCache


__all__ = ["BuildRequest", "build_now", "build_plan", "inspect_plan"]

_BF16_SM = 80
_EXTERNAL_MEND = (
    "the weights lie in files beside the model: BuildRequest.from_file(path), for bytes do not say where"
)
_BF16_MEND = "bf16 needs a GPU of compute capability 8.0 or newer: --trt-precision=fp16"
_FLAG_MENDS = {
    "BF16": "bf16 came with TensorRT 10: --trt-precision=fp16",
    "FP16": "--trt-typing=strong: the graph is rewritten to fp16",
    "INT8": "--trt-int8=explicit with --trt-typing=strong: a Q/DQ graph",
}


def build_plan(
    rt: Runtime,
    request: BuildRequest,
    cache: PlanCache | None = None,
    *,
    calibrator: Any = None,
    calibration_shapes: Mapping[str, Sequence[int]] | None = None,
    configure: Callable[[Any], None] | None = None,
) -> Plan:
    """Return the plan that a TensorRT builds from a request, from the cache if it is there.

    The emulator's plans are never cached: they are quicker to make than to read, and faults may be in them. Nor is the
    plan of a `calibrator` (implicit INT8, up to 10.x: a raw `IInt8Calibrator`): its key would have to hold the data.
    `calibration_shapes` are those of its batches; where inputs are dynamic TensorRT reads as much as they say, and else as
    the first profile's opt shapes say.
    `configure` is called with the raw `IBuilderConfig`, after all that the request says is set; such a plan is not cached either.

    Raises
    ------
    ModelError
        The bytes are not an ONNX model, or name an output that is not there.
    ProfileError
        A dynamic input has no profile, or a profile does not fit the network.
    UnsupportedError
        TensorRT refused; `why` holds its words.
    """
    if not rt.can_build:
        raise RuntimeMissingError(f"{rt.title} cannot build here")
    if cache is None or rt.emulated or calibrator is not None or configure is not None:
        return build_now(rt, request, calibrator, calibration_shapes, configure)
    key = request.key(rt)
    plan = cache.load(key)
    if plan is None:
        plan = build_now(rt, request)
        cache.store(key, plan)
    plan.accurate = request.dummy_range is None
    return plan


def build_now(
    rt: Runtime,
    request: BuildRequest,
    calibrator: Any = None,
    calibration_shapes: Mapping[str, Sequence[int]] | None = None,
    configure: Callable[[Any], None] | None = None,
    writer: Any = None,
) -> Plan:
    """Return the plan that a TensorRT builds, as `build_plan` without a cache; with a `writer`, a raw `IStreamWriter`, the plan
    goes there and the bytes that come back are none."""
    begin = time.perf_counter()
    held = Captured()
    with rt.logger.call() as lines:
        try:
            with nullcontext() if rt.emulated else process_capture().block(held), rt.active():
                build = _Build(rt, request, lines, calibrator, calibration_shapes, configure)
                data, flags = build.run(writer)
        except BaseException as error:
            # The traceback holds the builder in a cycle. Were the garbage collector to free it while TensorRT logs, under
            # a lock that a builder's destructor takes as well, this process would hang (seen with TensorRT-RTX 1.7.1).
            traceback.clear_frames(error.__traceback__)
            if not isinstance(error, UnsupportedError) or not held.text:
                raise
            # What a compiler printed is at times all that there is to know.
            raise UnsupportedError(
                error.what, why=(*error.why, *held.text.splitlines()), mend=error.mend
            ) from error
    seconds = time.perf_counter() - begin
    layers: Layers | Callable[[], Layers] = read_log(lines) if request.detailed else ()
    if not layers and request.detailed and rt.can_execute and data:
        layers = partial(inspect_plan, rt, data)
    plan = Plan(data, keep(lines, rt.log_level), seconds, held.text, flags, layers)
    plan.accurate = request.dummy_range is None
    return plan


def inspect_plan(rt: Runtime, data: bytes) -> Layers:
    """Return the layers of a plan by loading it once."""
    with rt.active():
        runtime = rt.trt.Runtime(rt.logger.raw)
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            return ()
        layers = engine_layers(rt.trt, engine)
        del engine
        del runtime
    return layers


class _Build:
    """One build; holds builder, network and config so that they die in that order's reverse."""

    def __init__(
        self,
        rt: Runtime,
        request: BuildRequest,
        lines: list[LogLine],
        calibrator: Any = None,
        calibration_shapes: Mapping[str, Sequence[int]] | None = None,
        configure: Callable[[Any], None] | None = None,
    ) -> None:
        self.rt, self.request, self.lines, self.calibrator = rt, request, lines, calibrator
        self.calibration_shapes = calibration_shapes or {}
        self.configure = configure
        self.trt = rt.trt

    def run(self, writer: Any = None) -> tuple[bytes, frozenset[str]]:
        """Return the plan and the flags that were set; with an `IStreamWriter` the plan goes there, and no bytes come back."""
        constraints.check_offered(self.rt, self.request)
        builder = self._made(self.trt.Builder(self.rt.logger.raw), "a builder")
        mask = self.rt.features.network_flags(self.request.strongly_typed)
        network = self._made(builder.create_network(mask), f"a network with flags {mask:#x}")
        parser = self._made(self.trt.OnnxParser(network, self.rt.logger.raw), "an ONNX parser")
        self._parse(parser)
        if network.num_outputs == 0:
            raise ModelError("the model has no output", mend="add graph outputs to the ONNX model")
        self._mark_outputs(network)
        self._mark_debug(network)
        if self.request.shown and self.rt.features.unfused_debug_tensors:
            network.mark_unfused_tensors_as_debug_tensors()
        config = self._made(builder.create_builder_config(), "a builder config")
        flags = self._configure(config)
        ranges.set_ranges(self.rt, network, self.request, self._refused)
        constraints.constrain(self.rt, network, self.request)
        refusal = add_profiles(builder, network, config, self.request.profiles)
        if refusal:
            raise self._refused(refusal)
        self._calibrate(builder, config)
        if self.configure is not None:
            self.configure(config)
        if writer is not None:
            if not builder.build_serialized_network_to_stream(network, config, writer):
                raise self._refused("did not write the plan")
            return b"", flags
        memory = builder.build_serialized_network(network, config)
        if memory is None:
            raise self._refused("did not build the model")
        return bytes(memory), flags

    def _made(self, thing: Any, name: str) -> Any:
        """Return a factory's product; TensorRT gives None and logs instead of raising."""
        if thing is None:
            raise self._refused(f"did not make {name}")
        return thing

    def _refused(self, what: str) -> UnsupportedError:
        words = errors_in(self.lines) or ("TensorRT logged no error",)
        lacks_bf16 = self.rt.gpu.sm < _BF16_SM and any(re.search(r"(?i)\bb(f|float)?16\b", w) for w in words)
        return UnsupportedError(
            f"{self.rt.title} {what}: {_first_line(words[0])}",
            why=words,
            mend=_BF16_MEND if lacks_bf16 else None,
        )

    def _parse(self, parser: Any) -> None:
        if not self.request.model:
            raise ModelError("the model is empty: 0 bytes")
        path = self.request.model_path
        if path is not None:
            find_weights(read_structure(path), Path(path).parent)
        if parser.parse(self.request.model) if path is None else parser.parse(self.request.model, path):
            return
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        words = tuple(dict.fromkeys(_parser_words(error) for error in errors)) or errors_in(self.lines)
        if any(error.code().name == "MODEL_DESERIALIZE_FAILED" for error in errors):
            raise ModelError(
                f"not an ONNX model: {self.rt.title} cannot read these {len(self.request.model)} bytes",
                why=words,
                mend="give the bytes of a .onnx file, or onnx.ModelProto.SerializeToString()",
            )
        words += tuple(
            line for line in errors_in(self.lines) if "weights" in line.lower() and line not in words
        )
        first = _first_line(words[0]) if words else "no error was told"
        raise UnsupportedError(
            f"{self.rt.title} did not parse the model: {first}",
            why=words,
            mend=_EXTERNAL_MEND if path is None and _has_external(self.request.model) else None,
        )

    def _mark_outputs(self, network: Any) -> None:
        if not self.request.outputs:
            return
        present = {network.get_output(index).name for index in range(network.num_outputs)}
        names = [name for name in self.request.outputs if name not in present]
        for tensor in _tensors_of(network, names, "an output"):
            network.mark_output(tensor)

    def _mark_debug(self, network: Any) -> None:
        if not self.request.debug:
            return
        if not self.rt.features.debug_tensors:
            raise UnsupportedError(
                f"{self.rt.title} has no debug tensors",
                why="mark_debug came with TensorRT 10",
                mend="mark the tensors as outputs",
            )
        for tensor in _tensors_of(network, self.request.debug, "a debug tensor"):
            if not network.mark_debug(tensor):
                raise self._refused(f"did not mark {tensor.name!r} as a debug tensor")

    def _configure(self, config: Any) -> frozenset[str]:
        """Set flags by name and return the names that read back as set."""
        trt, request = self.trt, self.request
        known = set(self.rt.features.builder_flags)
        flag = constraints.flag_of(request)
        asked_flags = request.flags if flag is None else request.flags | {flag}
        for name in sorted(asked_flags - known):
            raise UnsupportedError(
                f"{self.rt.title} has no builder flag {name}",
                why=f"it has {', '.join(sorted(known))}",
                mend=_FLAG_MENDS.get(name),
            )
        if "BF16" in request.flags and self.rt.gpu.sm < _BF16_SM:
            raise UnsupportedError(
                f"{self.rt.title} has no bf16 on {self.rt.gpu.name} (SM{self.rt.gpu.sm})", mend=_BF16_MEND
            )
        for name in sorted(asked_flags):
            config.set_flag(getattr(trt.BuilderFlag, name))
        for name in sorted(request.clear & known):
            config.clear_flag(getattr(trt.BuilderFlag, name))
        wrong = [name for name in sorted(asked_flags) if not config.get_flag(getattr(trt.BuilderFlag, name))]
        if wrong:  # Some flags only log that they were refused.
            raise self._refused(f"did not take the builder flag {wrong[0]}")
        if request.workspace_bytes is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
        if request.detailed:
            config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if self.rt.features.profile_sharing:
            sharing = trt.PreviewFeature.PROFILE_SHARING_0806
            if not config.get_preview_feature(
                sharing
            ):  # 8.6: a second context would need a profile of its own
                config.set_preview_feature(sharing, True)
        if self.rt.features.rtx:
            self._target(config)
        asked = (asked_flags | request.clear | {"TF32"}) & known
        return frozenset(name for name in asked if config.get_flag(getattr(trt.BuilderFlag, name)))

    def _calibrate(self, builder: Any, config: Any) -> None:
        """Hand over the calibrator; where inputs are dynamic, say of which shapes its batches are."""
        if self.calibrator is None:
            return
        constraints.check_implicit(self.rt)
        config.int8_calibrator = self.calibrator
        if self.request.profiles:
            shapes = {
                name: (self.calibration_shapes.get(name, opt),) * 3
                for name, (_, opt, _) in self.request.profiles[0].items()
            }
            refusal = add_calibration_profile(builder, config, shapes)
            if refusal:
                raise self._refused(refusal)

    def _target(self, config: Any) -> None:
        """Name the compute capability to build for; unset would mean Ampere and newer."""
        sm = self.request.sm or self.rt.gpu.sm
        name = f"SM{sm}"
        if name not in self.rt.features.compute_capabilities:
            good = ", ".join(n for n in self.rt.features.compute_capabilities if n.startswith("SM"))
            raise UnsupportedError(
                f"{self.rt.title} does not build for {name}"
                + ("" if self.request.sm else f" ({self.rt.gpu.name})"),
                why=f"it builds for {good}",
            )
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(getattr(self.trt.ComputeCapability, name), 0):
            raise self._refused(f"did not take the compute capability {name}")


def _tensors_of(network: Any, names: Sequence[str], role: str) -> list[Any]:
    """Return the tensors of a network by name."""
    tensors = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for slot in range(layer.num_outputs):
            tensor = layer.get_output(slot)
            if tensor is not None:
                tensors[tensor.name] = tensor
    for name in names:
        if name not in tensors:
            raise ModelError(
                f"the network has no tensor {name!r} to mark as {role}",
                why=f"it has {', '.join(sorted(tensors))}",
            )
    return [tensors[name] for name in names]


def _has_external(data: bytes) -> bool:
    try:
        return any(map(is_external, tensors_of(onnx.load_model_from_string(data))))
    except DecodeError:
        return False


def _parser_words(error: Any) -> str:
    """Return one parser error in words, with the operator where this version tells it (from 10.0)."""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    place = f" (node {error.node()}, {operator})" if operator else ""
    return f"{error.code().name}: {str(error.desc()).strip()}{place}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:200] if text.strip() else "no words"
