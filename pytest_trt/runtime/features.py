"""What one loaded TensorRT module offers, asked by name and never by version number or enum integer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_trt.errors import NotEmulated


def probe(owner: Any, name: str) -> bool:
    """Return whether `owner` has `name`; a real name that the emulator does not play counts as had."""
    try:
        return hasattr(owner, name)
    except NotEmulated:
        return True


def members(enum: Any) -> dict[str, Any]:
    """Return an enum's members by name; `{}` where this TensorRT has no such enum."""
    return dict(getattr(enum, "__members__", {}))


@dataclass(frozen=True)
class Features:
    """Answers of the probes; each field says what may be used.

    Attributes
    ----------
    rtx : bool
        TensorRT-RTX: builds without a GPU, for a compute capability given by name.
    weak_typing : bool
        Precision by builder flags. TensorRT-RTX 1.4 still shows the flags, but they are dead there.
    strong_typing : bool
        A typed graph decides the precision.
    needs_explicit_batch : bool
        `create_network()` without `EXPLICIT_BATCH` would mean implicit batch (8.6), or the flag is a no-op
        (10.x).
    calibrators, layer_precision, dynamic_ranges : bool
        Implicit INT8, per-layer precision, tensor ranges.
    progress_monitor, debug_tensors, unfused_debug_tensors : bool
        Build progress, and debug listeners.
    profile_sharing : bool
        Contexts that share one optimization profile are a preview feature (8.6) or a fixed one (10.x); later it is
        no feature any more.
    runtime_config, device_memory_v2, engine_validity : bool
        `ICudaEngine.create_runtime_config`, `device_memory_size_v2`, `Runtime.get_engine_validity`.
    builder_flags, compute_capabilities : tuple of str
        Enum member names.
    network_bits : tuple of (str, int)
        Network creation flags that exist, each with its bit.
    """

    rtx: bool
    weak_typing: bool
    strong_typing: bool
    needs_explicit_batch: bool
    calibrators: bool
    layer_precision: bool
    dynamic_ranges: bool
    progress_monitor: bool
    debug_tensors: bool
    unfused_debug_tensors: bool
    profile_sharing: bool
    runtime_config: bool
    device_memory_v2: bool
    engine_validity: bool
    builder_flags: tuple[str, ...]
    compute_capabilities: tuple[str, ...]
    network_bits: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, trt: Any) -> Features:
        """Return the features of a module that offers TensorRT's Python API.

        Notes
        -----
        Source: the probes that hold for TensorRT 8.6 to 11.4 and TensorRT-RTX 1.4 to 1.7, read from their
        bindings.
        """
        rtx = probe(trt, "ComputeCapability")
        flags = members(trt.BuilderFlag)
        creation = {name: int(value) for name, value in members(trt.NetworkDefinitionCreationFlag).items()}
        weak = not rtx and "FP16" in flags
        # 11.x and RTX 1.5+ are always strongly typed; 8.6 has no such flag and is always weakly typed.
        strong = "STRONGLY_TYPED" in creation or not weak
        return cls(
            rtx=rtx,
            weak_typing=weak,
            strong_typing=strong,
            needs_explicit_batch="EXPLICIT_BATCH" in creation,
            calibrators=probe(trt.IBuilderConfig, "int8_calibrator"),
            layer_precision=not rtx and probe(trt.ILayer, "precision"),
            dynamic_ranges=probe(trt.ITensor, "set_dynamic_range"),
            progress_monitor=probe(trt, "IProgressMonitor"),
            debug_tensors=probe(trt.INetworkDefinition, "mark_debug"),
            unfused_debug_tensors=probe(trt.INetworkDefinition, "mark_unfused_tensors_as_debug_tensors"),
            profile_sharing="PROFILE_SHARING_0806" in members(trt.PreviewFeature),
            runtime_config=probe(trt.ICudaEngine, "create_runtime_config"),
            device_memory_v2=probe(trt.ICudaEngine, "device_memory_size_v2"),
            engine_validity=probe(trt.Runtime, "get_engine_validity"),
            builder_flags=tuple(sorted(flags)),
            compute_capabilities=tuple(members(trt.ComputeCapability)) if rtx else (),
            network_bits=tuple(sorted(creation.items())),
        )

    def network_flags(self, strong: bool) -> int:
        """Return the bits for `create_network`: explicit batch where the name exists, strong typing if asked.

        The same name has other values in other versions (`STRONGLY_TYPED` is bit 1 in 10.x and bit 0 from
        11.0), and a wrong bit gives no network or asks for Python plugins, so the mask is always made from
        names.
        """
        bits = dict(self.network_bits)
        mask = 1 << bits["EXPLICIT_BATCH"] if "EXPLICIT_BATCH" in bits else 0
        if strong and "STRONGLY_TYPED" in bits:
            mask |= 1 << bits["STRONGLY_TYPED"]
        return mask
