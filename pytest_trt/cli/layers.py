"""`python -m pytest_trt layers`: the type of each layer of an engine, from a model, a plan, or what TensorRT told of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.errors import InputError, RuntimeMissingError
from pytest_trt.records import PRECISIONS, RUNTIMES, LayerInfo, LogLine, Settings

if TYPE_CHECKING:
    from pytest_trt.precision.proof import Proof

_SHOWN = 40
_HYBRIDS = ("off", "fp16", "bf16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="an ONNX model (.onnx), which is built; a plan; the inspector's JSON (.json); a DETAILED build log (.log, .txt)",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="hold the layers against it; a model: fp32 by default"
    )
    parser.add_argument("--hybrid", choices=_HYBRIDS, default="off", help="INT8 beside this type")
    parser.add_argument(
        "--weak", action="store_true", help="the precision was a permission: falling back to fp32 is no error"
    )
    parser.add_argument("--gpu", metavar="CLASS", default="auto", help="as --gpu of pytest")
    parser.add_argument("--runtime", choices=RUNTIMES, default="auto", help="as --trt-runtime of pytest")
    parser.add_argument("--all", action="store_true", help=f"show every layer, not {_SHOWN}")


def run(given: argparse.Namespace) -> int:
    """Print the layers; return 1 where they are not in the precision asked for; wrong use is a `TrtError`."""
    from pytest_trt.precision.proof import complaint, describe, prove, remark

    layers, origin = _layers_of(given)
    if not layers:
        raise InputError(
            f"{given.file}: no layer is told",
            mend="build with ProfilingVerbosity.DETAILED (trtexec --profilingVerbosity=detailed)",
        )
    print(origin)
    for line in _table(layers, len(layers) if given.all else _SHOWN):
        print(line)
    asked = given.precision or ("fp32" if given.file.suffix == ".onnx" else None)
    proof: Proof = prove(layers, asked or "fp32", hybrid=given.hybrid)
    lines = describe(proof)
    print("\n".join(lines if asked else lines[1:2]))
    wrong = complaint(proof, binding=not given.weak) if asked else None
    note = wrong or (remark(proof) if asked and given.weak else None)
    if note:
        print(note)
    return int(wrong is not None)


def _layers_of(given: argparse.Namespace) -> tuple[tuple[LayerInfo, ...], str]:
    """Return the layers and a line that says where they come from."""
    from pytest_trt.runtime.build import inspect_plan
    from pytest_trt.runtime.inspect import read_json, read_log
    from pytest_trt.runtime.load import discover

    path: Path = given.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read", why=str(error)) from error
    if path.suffix == ".json":
        return read_json(data.decode("utf-8", "replace")), f"{path}: as the inspector told it"
    if path.suffix in (".log", ".txt"):
        _, found, text = data.decode("utf-8", "replace").rpartition("Layers:\n")
        return read_log([LogLine("VERBOSE", found + text)]), f"{path}: as the build logged it"
    precision = given.precision or "fp32"
    settings = Settings(
        precisions=(precision,),
        gpu=given.gpu,
        runtime=given.runtime,
        hybrid=given.hybrid,
        typing="weak" if given.weak else "auto",
    )
    discovery = discover(settings)
    if path.suffix == ".onnx":
        from pytest_trt.check.workbench import Workbench

        rt = discovery.executor if given.runtime == "emulator" else discovery.builder or discovery.executor
        if rt is None:
            raise RuntimeMissingError("nobody builds here", mend="--runtime=emulator")
        with Workbench(settings, discovery).subject(path, precision, rt=rt) as subject:
            return subject.plan.layers, f"{path}: built by {rt.title} for {rt.gpu.name}"
    if discovery.executor is None:
        raise RuntimeMissingError(
            "a plan has to be loaded, and nobody loads one here",
            why=[missing.reason for missing in discovery.missing],
            mend="run it where the GPU is, or give what trtexec --exportLayerInfo=FILE.json wrote",
        )
    rt = discovery.executor
    return inspect_plan(rt, data), f"{path}: as {rt.title} loaded it"


def _table(layers: tuple[LayerInfo, ...], most: int) -> list[str]:
    from pytest_trt.precision.kinds import is_opaque, is_reformat, is_working, working_type

    rows = [("", "layer", "type", "reads", "writes", "name")]
    for layer in layers[:most]:
        hidden = is_opaque(layer)
        mark = "?" if hidden else "*" if is_working(layer) else "~" if is_reformat(layer) else ""
        reads, writes = ",".join(layer.inputs) or "-", ",".join(layer.outputs) or "-"
        rows.append((mark, layer.kind, "?" if hidden else working_type(layer), reads, writes, layer.name))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]])
        for row in rows
    ]
    more = len(layers) - most
    if more > 0:
        lines.append(f"and {more} more: --all")
    return [*lines, "* multiplies   ~ changes type or format only   ? does not say what it does"]
