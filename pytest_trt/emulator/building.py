"""What the builder checks and decides before it writes a plan; refusals are `Refusal`, in TensorRT's manner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_trt.emulator import dtypes
from pytest_trt.emulator.graph import Graph
from pytest_trt.emulator.lowering import has_quantization

if TYPE_CHECKING:
    from pytest_trt.emulator.config import BuilderConfig
    from pytest_trt.emulator.host import Host
    from pytest_trt.emulator.network import Network

_FLOAT_FLAGS = ("FP16", "BF16", "INT8", "FP8", "INT4", "FP4")
_PORTABLE = ("SM80", "SM86", "SM89", "SM120", "SM121")


class Refusal(Exception):
    """The build fails: `code` is a member of `ErrorCodeTRT`, the message is what is logged."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        super().__init__(text)


def check_network(network: Network) -> Graph:
    """Return the graph of a network that can be built.

    Raises
    ------
    Refusal
        No output, or an output that nothing computes.
    """
    graph = network._graph
    if graph is None or not graph.outputs:
        raise Refusal("INVALID_CONFIG", "Network must have at least one output")
    known = {*graph.producers, *graph.inputs, *(tensor.name for tensor in graph.model.graph.initializer)}
    for name in graph.outputs:
        if name not in known:
            raise Refusal("INVALID_CONFIG", f"Network output {name} is not produced by any layer")
    return graph


def check_profiles(network: Network, config: BuilderConfig, graph: Graph) -> list[dict[str, Any]]:
    """Return (min, opt, max) by input name for each profile; one made of the static shapes if there is none.

    Raises
    ------
    Refusal
        A dynamic input without profile, or a profile that does not fit the inputs.
    """
    dynamic = [name for name in graph.inputs if graph.tensor(name).is_dynamic]
    if dynamic and not config._profiles:
        raise Refusal(
            "INVALID_CONFIG",
            "Network has dynamic or shape inputs, but no optimization profile has been defined."
            f" Dynamic inputs: {', '.join(dynamic)}",
        )
    static = {name: graph.tensor(name).shape for name in graph.inputs if name not in dynamic}
    profiles = []
    for index, profile in enumerate(config._profiles):
        table: dict[str, Any] = {name: [list(shape)] * 3 for name, shape in static.items()}
        for name in profile._shapes:
            if name not in graph.inputs:
                raise Refusal("INVALID_CONFIG", f"Profile {index} names {name}, which is no network input")
        for name in dynamic:
            if name not in profile._shapes:
                raise Refusal(
                    "INVALID_CONFIG",
                    f"Network has dynamic or shape inputs, but profile {index} has no shape for {name}",
                )
        for name, shapes in profile._shapes.items():
            wanted = graph.tensor(name).shape
            for shape in shapes:
                fits = len(shape) == len(wanted) and all(
                    w in (-1, s) for w, s in zip(wanted, shape, strict=True)
                )
                if not fits or any(size < 0 for size in shape):
                    raise Refusal(
                        "INVALID_CONFIG",
                        f"{name}: profile {index} has shape {tuple(shape)}, network input has {wanted}",
                    )
            table[name] = [list(shape) for shape in shapes]
        profiles.append(table)
    return profiles or [{name: [list(shape)] * 3 for name, shape in static.items()}]


def choose_precision(host: Host, network: Network, config: BuilderConfig, graph: Graph) -> str:
    """Return the weak 16-bit type, or an empty text: the pool of types that the builder chooses from besides float32.

    INT8 alone is no permission for fp16.

    Raises
    ------
    Refusal
        Flags that a strongly typed network forbids, Q/DQ without INT8, a type that the GPU has not.
    """
    set_flags = [flag for flag in _FLOAT_FLAGS if config._has(flag)]
    halves = {graph.tensor(name).elem for name in graph.producers} & set(dtypes.HALVES)
    if dtypes.BFLOAT16 in halves and host.sm < 80:
        raise Refusal(
            "UNSUPPORTED_STATE", f"BF16 is not supported on this device: SM {host.sm} is older than 80"
        )
    if network._is_strong:
        if set_flags:
            raise Refusal(
                "INVALID_CONFIG",
                f"Builder flags {', '.join(set_flags)} are not permitted: the network is strongly typed",
            )
        return ""
    for flag in ("FP8", "INT4", "FP4"):
        if flag in set_flags:
            raise Refusal("UNSUPPORTED_STATE", f"{flag} is not supported by the emulator")
    if has_quantization(graph) and "INT8" not in set_flags:
        raise Refusal(
            "INVALID_CONFIG",
            "Int8 precision has not been enabled, but the network has Quantize/Dequantize layers",
        )
    if "BF16" in set_flags and host.sm < 80:
        raise Refusal(
            "UNSUPPORTED_STATE", f"BF16 is not supported on this device: SM {host.sm} is older than 80"
        )
    return "fp16" if "FP16" in set_flags else "bf16" if "BF16" in set_flags else ""


def target_sms(host: Host, config: BuilderConfig) -> tuple[int, ...]:
    """Return the compute capabilities to build for.

    Raises
    ------
    Refusal
        TensorRT-RTX has no kernels for this GPU.
    """
    if not host.is_rtx:
        return (host.sm,)
    members = host.enum("ComputeCapability")._table
    names = [member.name for member in config._capabilities]
    if not names:
        return tuple(int(members[name]) for name in _PORTABLE if name in members)
    found = []
    for name in names:
        if name == "NONE":
            raise Refusal("INVALID_CONFIG", "A compute capability was not set: it is kNONE")
        sm = host.sm if name == "CURRENT" else int(members[name])
        if f"SM{sm}" not in members:
            raise Refusal("UNSUPPORTED_STATE", f"Compute capability {sm} is not supported by TensorRT-RTX")
        found.append(sm)
    return tuple(found)


def check_config(host: Host, config: BuilderConfig) -> None:
    """Refuse what no build can do.

    Raises
    ------
    Refusal
        SAFETY, VERSION_COMPATIBLE with TensorRT-RTX, no workspace, a plugin library that is not there.
    """
    if config.engine_capability.name not in ("STANDARD", "DEFAULT"):
        raise Refusal("INVALID_CONFIG", f"Engine capability {config.engine_capability.name} is not supported")
    if host.is_rtx and config._has("VERSION_COMPATIBLE"):
        raise Refusal("INVALID_STATE", "Cannot load libnvinfer_lean.so.1: version-compatible engines need it")
    if config._pools.get("WORKSPACE", 1) < 1:
        raise Refusal(
            "UNSPECIFIED_ERROR",
            "Assertion maxScratchSize > 0 failed. Compiling this graph requires workspace memory greater than 0.",
        )
    if config.default_device_type.name != "GPU" and not host.is_rtx:
        raise Refusal("INVALID_CONFIG", "There is no DLA on this device")
    if config.plugins_to_serialize:
        raise Refusal("INVALID_ARGUMENT", f"Cannot load plugin library {config.plugins_to_serialize[0]}")
