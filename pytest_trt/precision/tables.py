"""Calibration tables of implicit INT8 as records: which TensorRT wrote one, how, and the scale of each tensor."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from onnx import ModelProto, TensorProto

from pytest_trt.errors import CalibrationError
from pytest_trt.precision.graph import computed_constants, element_types, infer, subgraphs

# Algorithm, as `make_calibrator` names it, to the word that TensorRT writes into the first line of a table.
ALGORITHMS: Mapping[str, str] = MappingProxyType(
    {
        "entropy2": "EntropyCalibration2",
        "minmax": "MinMaxCalibration",
        "entropy": "EntropyCalibration",
        "legacy": "LegacyCalibration",
    }
)
# What a table of TensorRT begins with, and one of the emulator.
PRODUCTS = ("TRT", "emulator")

_HEADER = re.compile(r"(?P<product>[A-Za-z]+)-(?P<number>\d{4}|\d{6})-(?P<algorithm>\w+)", re.ASCII)
_BITS = re.compile(r"[0-9a-fA-F]{1,8}", re.ASCII)
# From 10.0 on, NV_TENSORRT_VERSION is major * 10000 + minor * 100 + patch; before, major * 1000 + minor * 100 + patch.
_TEN = 10
# Layers that TensorRT computes in INT8 when their inputs have scales and their weights are constant.
_WEIGHTED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
_SHOWN = 3


@dataclass(frozen=True)
class Difference:
    """One tensor in which two tables differ.

    Attributes
    ----------
    tensor : str
        Its name.
    kind : str
        `added` (only the first table has it), `removed` (only the second has it) or `changed`.
    got, want : float or None
        Its scale in the first and in the second table.
    ratio : float
        got / want; infinite where it was added, 0 where it was removed.
    """

    tensor: str
    kind: str
    got: float | None
    want: float | None
    ratio: float

    def __str__(self) -> str:
        if self.kind != "changed":
            return f"{self.tensor}: {self.kind}"
        return f"{self.tensor}: scale {self.got:.6g} is {self.ratio:.4g} times {self.want:.6g}"


@dataclass(frozen=True)
class CalibrationTable:
    """What a calibration found.

    Attributes
    ----------
    product : str
        `TRT`, or `emulator`.
    version : str
        Major, minor and patch of the TensorRT that wrote it: `10.13.3`.
    algorithm : str
        `EntropyCalibration2`, `MinMaxCalibration`, `EntropyCalibration` or `LegacyCalibration`.
    scales : mapping of str to numpy.float32
        Tensor name to its scale: a value x becomes the integer round(x / scale). Finite and positive.
    header : str
        The first line as it was read.

    Notes
    -----
    The header names no GPU. Calibration of entropy2 and min-max comes before layers are fused, so a table may be used on
    another GPU with the same version of TensorRT (NVIDIA TensorRT documentation, "Calibration caching and portability");
    it is not meant to go from one version to another.
    """

    product: str
    version: str
    algorithm: str
    scales: Mapping[str, np.float32]
    header: str = field(default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", _release(self.version))
        if not self.header:
            object.__setattr__(self, "header", header_of(self.product, self.version, self.algorithm))

    @classmethod
    def parse(cls, data: bytes, *, name: str = "calibration table") -> CalibrationTable:
        """Return the table that some bytes hold.

        Parameters
        ----------
        data : bytes
            A calibration cache: a header line, then `tensor: bits of a float32 in hexadecimal`. Tensor names may hold
            colons and spaces.
        name : str
            What messages call it, for instance its path.

        Raises
        ------
        CalibrationError
            It is empty or no such text, a line cannot be read, a tensor comes twice, or a scale is NaN, infinite,
            negative or zero.
        """
        lines = _lines_of(data, name)
        product, version, algorithm = _read_header(lines[0], name)
        scales: dict[str, np.float32] = {}
        for number, line in enumerate(lines[1:], start=2):
            tensor, colon, bits = line.rpartition(": ")
            if not colon or not tensor or not _BITS.fullmatch(bits):
                raise CalibrationError(
                    f"{name}: line {number} is no scale: {line[:80]!r}",
                    why="a line reads `tensor: bits of a float32 in hexadecimal`, at most 8 digits",
                    mend=_AGAIN,
                )
            if tensor in scales:
                raise CalibrationError(
                    f"{name}: tensor {tensor!r} has two scales",
                    why=f"the second is in line {number}",
                    mend=_AGAIN,
                )
            scales[tensor] = np.uint32(int(bits, 16)).view(np.float32)
        if not scales:
            raise CalibrationError(f"{name} has a header and no scale", mend=_AGAIN)
        _refuse_scales(scales, name)
        return cls(product, version, algorithm, scales, lines[0])

    def to_bytes(self) -> bytes:
        """Return the table as TensorRT writes it; what TensorRT wrote comes back byte for byte.

        Raises
        ------
        CalibrationError
            A scale is not finite and positive, or a name has a line break.
        """
        _refuse_scales(self.scales, "calibration table")
        for tensor in self.scales:
            if "\n" in tensor or not tensor:
                raise CalibrationError(f"tensor name {tensor!r} cannot stand in a calibration table")
        rows = [f"{tensor}: {_bits_of(scale):08x}" for tensor, scale in self.scales.items()]
        return ("\n".join([self.header, *rows]) + "\n").encode()

    def check_version(self, product: str, version: str) -> None:
        """Refuse the table for another TensorRT than the one that wrote it; any GPU will do.

        Parameters
        ----------
        product : str
            `TRT` or `emulator`.
        version : str
            Of the TensorRT that is to read it: `10.13.3.9`. Major, minor and patch count.

        Raises
        ------
        CalibrationError
            The version or the product differs; `mend` says to calibrate again.
        """
        release = _release(version)
        if (self.product, self.version) == (product, release):
            return
        raise CalibrationError(
            f"the calibration table was written by {_title(self.product)} {self.version},"
            f" and this is {_title(product)} {release}",
            why=(
                f"its first line is {self.header!r}",
                "tables are not portable between versions; between GPUs of one version they are: they name no GPU",
            ),
            mend=f"calibrate again with {_title(product)} {release}: delete the cache, or give it another name",
        )

    def check_algorithm(self, algorithm: str) -> None:
        """Refuse the table unless an algorithm (`entropy2`, `minmax`, `entropy`, `legacy`) wrote it.

        Raises
        ------
        CalibrationError
            Another one wrote it.
        """
        word = ALGORITHMS[algorithm]
        if self.algorithm != word:
            raise CalibrationError(
                f"the calibration table comes from {self.algorithm}, and {word} is asked for",
                why=f"its first line is {self.header!r}",
                mend="calibrate again, or ask for the algorithm of the table",
            )

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the tensors among `names` that have no scale, in their order, each once."""
        return tuple(name for name in dict.fromkeys(names) if name not in self.scales)

    def check_scales(self, names: Iterable[str]) -> None:
        """Refuse the table, before any build, unless each of these tensors has a scale.

        Parameters
        ----------
        names : iterable of str
            For instance `tensors_read_in_int8(model)`.

        Raises
        ------
        CalibrationError
            Tensors lack a scale: all of them are named.
        """
        lacking = self.missing(names)
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise CalibrationError(
                f"the calibration table has no scale of tensor {lacking[0]!r}{more}",
                why=(
                    f"without: {', '.join(repr(name) for name in lacking)}",
                    "TensorRT warns (`Missing scale and zero-point`), and no layer that reads them is INT8",
                ),
                mend="calibrate again with this model: the table comes from another one, or the tensors were only 0",
            )

    def diff(self, want: CalibrationTable, rtol: float = 0.0) -> tuple[Difference, ...]:
        """Return in which tensors this table differs from another one, worst first.

        Parameters
        ----------
        want : CalibrationTable
            The other one, for instance an older one.
        rtol : float
            Scales whose ratio lies within 1 / (1 + rtol) and 1 + rtol are the same.

        Returns
        -------
        tuple of Difference
            Tensors that only one table has come first, then by the size of the change, then by name.
        """
        rows = []
        for tensor in sorted({*self.scales, *want.scales}):
            mine, theirs = self.scales.get(tensor), want.scales.get(tensor)
            if theirs is None and mine is not None:
                rows.append(Difference(tensor, "added", float(mine), None, math.inf))
            elif mine is None and theirs is not None:
                rows.append(Difference(tensor, "removed", None, float(theirs), 0.0))
            elif mine is not None and theirs is not None and mine != theirs:
                ratio = float(mine) / float(theirs)
                if max(ratio, 1 / ratio) > 1 + rtol:
                    rows.append(Difference(tensor, "changed", float(mine), float(theirs), ratio))
        return tuple(sorted(rows, key=_badness, reverse=True))


def _badness(row: Difference) -> float:
    return math.inf if row.kind != "changed" else abs(math.log(row.ratio))


_AGAIN = "the file is damaged or is no calibration cache: delete it and calibrate again"


def _lines_of(data: bytes, name: str) -> list[str]:
    try:
        text = bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CalibrationError(f"{name} is no text: {error}", mend=_AGAIN) from error
    if not text:
        raise CalibrationError(f"{name} is empty", mend=_AGAIN)
    if "\r\n" in text:
        raise CalibrationError(
            f"{name} has the line ends of Windows",
            why="it was written or copied as text",
            mend="write and copy it as bytes; in a repository mark it `binary` in .gitattributes",
        )
    lines = text.split("\n")  # not splitlines: names may hold the other line separators of Unicode
    return lines[:-1] if lines[-1] == "" else lines


def _read_header(line: str, name: str) -> tuple[str, str, str]:
    found = _HEADER.fullmatch(line)
    good = f"good ones are like {header_of('TRT', '10.13.3', 'EntropyCalibration2')!r}"
    if found is None:
        raise CalibrationError(
            f"{name} does not begin with the header of a calibration table",
            why=(f"it begins with {line[:80]!r}", good),
            mend=_AGAIN,
        )
    product, algorithm = found["product"], found["algorithm"]
    if product not in PRODUCTS:
        raise CalibrationError(
            f"{name} names an unknown product {product!r}",
            why=(f"its first line is {line!r}", good),
            mend=_AGAIN,
        )
    if algorithm not in ALGORITHMS.values():
        raise CalibrationError(
            f"{name} names an unknown algorithm {algorithm!r}",
            why=(f"its first line is {line!r}", f"known are {', '.join(ALGORITHMS.values())}"),
            mend=_AGAIN,
        )
    return product, version_of(int(found["number"])), algorithm


def version_of(number: int) -> str:
    """Return the version that a number in a header stands for: `8.6.1` for 8601, `10.13.3` for 101303."""
    major, rest = divmod(number, 10_000 if number >= _TEN * 10_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def header_of(product: str, version: str, algorithm: str) -> str:
    """Return the first line of a table: `TRT-8601-EntropyCalibration2` for TensorRT 8.6.1.

    Parameters
    ----------
    product : str
        `TRT` or `emulator`.
    version : str
        `10.13.3`, or longer: major, minor and patch count.
    algorithm : str
        The word in a header: a value of `ALGORITHMS`.
    """
    major, minor, patch = (int(part) for part in (*version.split("."), "0", "0")[:3])
    number = major * (10_000 if major >= _TEN else 1000) + minor * 100 + patch
    return f"{product}-{number}-{algorithm}"


def _release(version: str) -> str:
    return ".".join(version.split(".")[:3])


def _title(product: str) -> str:
    return "TensorRT" if product == "TRT" else f"the {product} playing TensorRT"


def _bits_of(scale: np.float32) -> int:
    return int(np.float32(scale).view(np.uint32))


def _refuse_scales(scales: Mapping[str, np.float32], name: str) -> None:
    bad = [tensor for tensor, scale in scales.items() if not (np.isfinite(scale) and scale > 0)]
    if bad:
        more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        raise CalibrationError(
            f"{name}: the scale of tensor {bad[0]!r} is not finite and positive",
            why=(*(f"{tensor!r}: {float(scales[tensor]):.6g}" for tensor in bad[:_SHOWN]), *more),
            mend="calibrate again; a tensor that was never anything but 0, NaN or infinite has no scale",
        )


def tensors_read_in_int8(model: ModelProto) -> tuple[str, ...]:
    """Return the activations that convolutions and matrix products read: without a scale, such a layer is not INT8.

    Parameters
    ----------
    model : ModelProto
        A float model. Weights and whatever no input can change count as no activations.
    """
    fixed = computed_constants(model.graph)
    names = []
    for node in model.graph.node:
        if node.op_type in _WEIGHTED:
            names += [name for name in node.input[:2] if name and name not in fixed]
    return tuple(dict.fromkeys(names))


def float_activations(model: ModelProto) -> tuple[str, ...]:
    """Return every float32 activation of the main graph, inputs first: all tensors that a full calibration sees."""
    inferred = infer(model)
    fixed, types = computed_constants(inferred.graph), element_types(inferred)
    names = [value.name for value in inferred.graph.input]
    names += [name for node in inferred.graph.node if not subgraphs(node) for name in node.output if name]
    return tuple(
        name for name in dict.fromkeys(names) if name not in fixed and types.get(name) == TensorProto.FLOAT
    )
