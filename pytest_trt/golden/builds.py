"""What a build gives, as a golden: layers, types, sizes, or the words of a refusal. No GPU is needed for it."""

from __future__ import annotations

import hashlib
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from pytest_trt.errors import UnsupportedError
from pytest_trt.golden.built import BUILT, REFUSED
from pytest_trt.golden.key import Key
from pytest_trt.golden.outputs import describe_runtime, product_of
from pytest_trt.golden.record import BUILD, Golden
from pytest_trt.precision import measure_ranges, prepare
from pytest_trt.precision.attribution import attribute, typed_products
from pytest_trt.precision.prepare import Prepared
from pytest_trt.records import LayerInfo, LogLine
from pytest_trt.runtime.build import BuildRequest, build_now
from pytest_trt.runtime.calibration import make_calibrator
from pytest_trt.runtime.load import Runtime
from pytest_trt.runtime.plan import Plan
from pytest_trt.runtime.profiles import Profile
from pytest_trt.runtime.timing_cache import TimingCache

Feed = Mapping[str, NDArray[Any]]

CRASHED, HUNG = "crashed", "hung"
WORDS, WORD_LENGTH = 4, 240
"""Lines of a refusal that are kept, and the length of each."""

# What TensorRT logs about memory, by our name for it; bytes.
_MEMORY = {
    "activation": re.compile(r"^Total Activation Memory: (\d+)"),
    "persistent": re.compile(r"^Total Device Persistent Memory: (\d+)"),
    "scratch": re.compile(r"^Max Scratch Memory: (\d+)"),
    "weights": re.compile(r"^Total Weights Memory: (\d+)"),
}
_PEAK = re.compile(r"Peak memory usage of TRT CPU/GPU memory allocators: CPU (\d+) MiB, GPU (\d+) MiB")
# What differs from run to run, from machine to machine, or with every line that somebody adds to a source file.
_NOISE = (
    (re.compile(r"\b0x[0-9a-fA-F]+"), "0x"),
    (re.compile(r"(?:/[\w.+-]+)+/([\w.+-]+)"), r"\1"),
    (re.compile(r"(\.(?:cpp|cc|cu|h|hpp))(::\w+)?:{1,2}\d+"), r"\1\2"),
    (re.compile(r"(__mye|_myl)\d+"), r"\1"),
)
_INNER = re.compile(r"_myl\d+(_\d+)?\b|(?<=__mye)\d+|(?<=__myln_k_arg__bb)[\d_]+")
_HASH = re.compile(r"_?0x[0-9a-f]{16,}")
_PARSER = re.compile(r"\(node \d+, ([\w.]+)\)")


def golden_of_build(
    rt: Runtime,
    case: str,
    model: ModelProto,
    precision: str,
    *,
    hybrid: str = "off",
    profile: Profile | None = None,
    feed: Feed | None = None,
    implicit: bool = False,
) -> Golden:
    """Return what a TensorRT builds of a model, or how it refuses it, as a golden of kind `build`.

    Parameters
    ----------
    rt : Runtime
        Who builds, for its GPU class.
    case : str
        Name of the case.
    model : ModelProto
        In float32, or with Q/DQ of its own.
    precision, hybrid : str
        As for `precision.prepare`.
    profile : mapping of str to (min, opt, max), optional
        For dynamic inputs.
    feed : mapping of str to ndarray, optional
        INT8: what the scales come from; they are written into the graph.
    implicit : bool
        INT8 scales come from a calibrator of TensorRT's, where it still has them; the header of its table is kept.

    Returns
    -------
    Golden
        Facts: `outcome` (built, refused), `words`, `layers`, `types` (how many nodes that multiply work in which type),
        `plan_bytes`, `device_memory_bytes`, `memory` (what the log says, bytes; `peak_cpu_mib` and `peak_gpu_mib`),
        `build_seconds`, `operators` of the model, `unsupported` (operators that the parser refused), `calibration` (first
        line of the table), `timing_cache` (bytes and SHA-256), `model` (digest).

    Raises
    ------
    TrtError
        The model cannot be rewritten for the precision; that says nothing of TensorRT.
    """
    told = replace(rt, log_level="INFO")
    strong = rt.features.strong_typing and not implicit
    ranges = measure_ranges(model, [feed]) if precision == "int8" and feed and not implicit else None
    ready = prepare(model, precision, strong=strong, ranges=ranges, hybrid=hybrid, implicit=implicit)
    facts: dict[str, Any] = {
        "model": digest_model(model),
        "operators": sorted({node.op_type for node in model.graph.node}),
    }
    try:
        facts |= _build(told, ready, profile, feed if implicit else None)
    except UnsupportedError as error:
        words = clean_words(error.why or (error.what,))
        facts |= {"outcome": REFUSED, "words": words, "unsupported": sorted(set(_unsupported(error.why)))}
    digest = facts.pop("plan", None)
    return _golden(rt, case, asked_name(precision, hybrid), facts, plan=digest)


def golden_of_parser(rt: Runtime, case: str) -> Golden:
    """Return which operators of ONNX the parser of a TensorRT says it supports, as a golden of kind `build`.

    Facts: `outcome`, `supported` (operator to true or false, of the installed `onnx`), `onnx` (its version).
    """
    builder = rt.trt.Builder(rt.logger.raw)
    network = builder.create_network(rt.features.network_flags(strong=rt.features.strong_typing))
    parser = rt.trt.OnnxParser(network, rt.logger.raw)
    names = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
    supported = {name: bool(parser.supports_operator(name)) for name in names}
    del parser, network, builder
    facts = {"outcome": BUILT, "supported": supported, "onnx": onnx.__version__}
    return _golden(rt, case, "fp32", facts)


def asked_name(precision: str, hybrid: str = "off") -> str:
    """Return how a precision is called in the key of a golden: `int8+fp16` where both were asked for."""
    return precision if hybrid == "off" else f"{precision}+{hybrid}"


def digest_model(model: ModelProto) -> str:
    """Return the SHA-256 of a model, hexadecimal."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def clean_words(words: Sequence[str]) -> list[str]:
    """Return TensorRT's words without addresses, paths and line numbers: the same refusal twice gives the same words."""
    kept = []
    for line in (line.strip() for text in words for line in str(text).splitlines()):
        for pattern, instead in _NOISE:
            line = pattern.sub(instead, line)
        kept.append(line if len(line) <= WORD_LENGTH else f"{line[: WORD_LENGTH - 3]}...")
    return list(dict.fromkeys(filter(None, kept)))[:WORDS]


def describe_layers(layers: Iterable[LayerInfo]) -> list[dict[str, str]]:
    """Return layers as plain data, sorted: `name`, `kind`, `types` and `tactic`, without what a repeated build changes.

    A compiler numbers its inner tensors and kernels anew in each build of a network with a profile.
    """
    found = [
        {
            "name": _INNER.sub("", layer.name),
            "kind": layer.kind,
            "types": f"{' '.join(layer.inputs) or '-'} > {' '.join(layer.outputs) or '-'}"
            + (f", constants {' '.join(layer.constants)}" if layer.constants else ""),
            "tactic": _HASH.sub("", _INNER.sub("", layer.tactic)),
        }
        for layer in layers
    ]
    return sorted(found, key=lambda layer: tuple(layer.values()))


def count_types(layers: Sequence[LayerInfo], ready: Prepared) -> dict[str, int]:
    """Return how many nodes that multiply and accumulate work in which type; `?` where the layer list does not tell."""
    nodes = typed_products(ready.matched) or {}
    products = [node.name for node in ready.matched.graph.node if node.name in nodes]
    return dict(sorted(Counter(attribute(layers, products, ready.precision).values()).items()))


def read_memory(log: Iterable[LogLine]) -> dict[str, int]:
    """Return what TensorRT logged about the memory of an engine."""
    found: dict[str, int] = {}
    for line in log:
        for name, pattern in _MEMORY.items():
            told = pattern.search(line.text)
            if told:
                found[name] = int(told[1])
        peak = _PEAK.search(line.text)
        if peak:
            found |= {"peak_cpu_mib": int(peak[1]), "peak_gpu_mib": int(peak[2])}
    return dict(sorted(found.items()))


def _build(rt: Runtime, ready: Prepared, profile: Profile | None, calibrated: Feed | None) -> dict[str, Any]:
    request = BuildRequest(
        ready.model.SerializeToString(),
        strongly_typed=ready.strong,
        flags=ready.flags,
        clear=ready.clear,
        profile=profile,
    )
    cache = None if rt.features.rtx else TimingCache(rt)  # in TensorRT-RTX it does nothing
    configure: Callable[[Any], None] | None = None if cache is None else cache.attach
    header = None
    if calibrated is None:
        plan = build_now(rt, request, configure=configure)
    else:
        with make_calibrator(rt, [calibrated]) as calibrator, calibrator.watched():
            plan = build_now(rt, request, calibrator.raw, configure=configure)
            header = calibrator.table().header
    memory = read_memory(plan.log)
    layers = tuple(plan.layers)
    held = b"" if cache is None else cache.data
    return {
        "outcome": BUILT,
        "words": clean_words(plan.captured.splitlines()),
        "layers": describe_layers(layers),
        "types": count_types(layers, ready),
        "plan_bytes": len(plan.data),
        "plan": plan.digest,
        "device_memory_bytes": _device_memory(rt, plan, memory),
        "memory": memory,
        "build_seconds": round(plan.seconds, 3),
        "calibration": header,
        "timing_cache": {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()} if held else None,
    }


def _device_memory(rt: Runtime, plan: Plan, memory: Mapping[str, int]) -> int | None:
    """What a context needs: the engine says it where it can be loaded, else the log."""
    if not rt.can_execute:
        return memory.get("activation")
    from pytest_trt.check.workspace import device_memory_of

    with rt.active():
        runtime = rt.trt.Runtime(rt.logger.raw)
        engine = runtime.deserialize_cuda_engine(plan.data)
        size = None if engine is None else device_memory_of(rt, engine)
        del engine, runtime
    return size


def _unsupported(words: Iterable[str]) -> list[str]:
    """Operators that the parser names: the words of a builder name no node by its number."""
    return [found[1] for line in words if (found := _PARSER.search(line))]


def _golden(
    rt: Runtime, case: str, precision: str, facts: Mapping[str, Any], plan: str | None = None
) -> Golden:
    key = Key(case, precision, rt.gpu.name, product_of(rt))
    return Golden(key, BUILD, facts=facts, provenance=describe_origin(rt, plan))


def describe_origin(rt: Runtime, plan: str | None = None) -> dict[str, Any]:
    """Return where a golden comes from: product, GPU, driver, packages, and when."""
    system = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return {**describe_runtime(rt), **system, "plan": plan}
