"""`python -m pytest_trt table`: what a calibration cache of implicit INT8 holds, how two differ, whether one may be used."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_trt.errors import CalibrationError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

    from pytest_trt.precision.tables import CalibrationTable

_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("cache", type=Path, metavar="CACHE", help="a calibration cache")
    parser.add_argument(
        "--against", type=Path, metavar="OTHER", help="show in what it differs from another one"
    )
    parser.add_argument(
        "--rtol", type=float, default=0.0, help="with --against: relative difference that does not count"
    )
    parser.add_argument(
        "--trt",
        metavar="VERSION",
        help="the TensorRT that is to use it, for instance 10.13.3: another one's is refused",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="an ONNX file: name the tensors that INT8 layers read and that lack a scale",
    )
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def run(given: argparse.Namespace) -> int:
    """Print what a table holds; return 1 where it may not be used or differs; one that cannot be read is a `TrtError`."""
    from pytest_trt.precision.tables import tensors_read_in_int8

    table = _read(given.cache)
    other = None if given.against is None else _read(given.against)
    lacking: tuple[str, ...] = ()
    if given.model is not None:
        lacking = table.missing(tensors_read_in_int8(_load(given.model)))
    refusal = None
    if given.trt is not None:
        try:
            table.check_version("TRT", given.trt)
        except CalibrationError as error:
            refusal = error
    rows = () if other is None else table.diff(other, given.rtol)
    if given.json:
        facts = {
            "product": table.product,
            "version": table.version,
            "algorithm": table.algorithm,
            "scales": {name: float(scale) for name, scale in table.scales.items()},
            "missing": list(lacking),
            "refused": None if refusal is None else str(refusal),
            "differences": [str(row) for row in rows],
        }
        print(json.dumps(facts, indent=2))
    else:
        _show(table)
        for row in rows:
            print(f"  {row}")
        if other is not None and not rows:
            print("no difference")
        for name in lacking:
            print(f"no scale for tensor {name!r}: what reads it falls back to floating point")
        if refusal is not None:
            print(refusal)
    return 1 if refusal is not None or lacking or rows else 0


def _show(table: CalibrationTable) -> None:
    print(
        f"{table.product} {table.version}, {table.algorithm}: {len(table.scales)} tensors (the header names no GPU)"
    )
    for name, scale in list(table.scales.items())[:_SHOWN]:
        print(f"  {name}: scale {float(scale):.6g}, range {127 * float(scale):.6g}")
    if len(table.scales) > _SHOWN:
        print(f"  and {len(table.scales) - _SHOWN} more: --json has them all")


def _read(path: Path) -> CalibrationTable:
    from pytest_trt.precision.tables import CalibrationTable

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CalibrationError(f"{path} cannot be read: {error.strerror}") from None
    return CalibrationTable.parse(data, name=str(path))


def _load(path: Path) -> ModelProto:
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf and onnx raise several kinds
        raise ModelError(f"{path} is no ONNX file", why=str(error)[:500]) from None
