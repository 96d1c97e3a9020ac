"""What `nvidia-smi dmon` prints of a GPU: power, temperature, clocks and load in columns that vary by driver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_trt.errors import InputError
from pytest_trt.hardware.samples import GpuSample

MEND = "nvidia-smi dmon -s pcu"
# Columns that are read. `sm` and `mem` are loads in percent, `pclk` and `mclk` clocks in MHz; the temperature of the GPU was
# `temp` before there was one of the memory beside it. Source: `man nvidia-smi`, "Device Monitoring".
_FIELDS = {
    "pwr": "power_watts",
    "gtemp": "temperature_celsius",
    "temp": "temperature_celsius",
    "sm": "utilization_percent",
    "pclk": "sm_mhz",
    "mclk": "memory_mhz",
}


def read_dmon(text: str, interval_seconds: float = 1.0) -> dict[int, tuple[GpuSample, ...]]:
    """Return the samples of what `nvidia-smi dmon -s pcu` printed, by index of the GPU.

    Parameters
    ----------
    text : str
        With its headers, which it repeats. Columns that are not read here are passed over.
    interval_seconds : float
        Between two samples of one GPU (`-d`); dmon does not print it.

    Raises
    ------
    InputError
        No header, or a line with another number of columns, or with a value that is none.
    """
    names: tuple[str, ...] = ()
    found: dict[int, list[GpuSample]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            names = read_dmon_names(line) or names
        elif line.strip():
            index = _gpu_of(line, names)
            there = found.setdefault(index, [])
            there.append(read_dmon_line(line, names, len(there) * interval_seconds))
    return {index: tuple(there) for index, there in found.items()}


def read_dmon_names(line: str) -> tuple[str, ...]:
    """Return the columns of a header, `# gpu    pwr  gtemp ...`; none of the line of units under it, `# Idx      W ...`.

    Raises
    ------
    InputError
        It does not begin with `gpu`, or names none of what is read.
    """
    names = tuple(name.lower() for name in line.lstrip("#").split())
    if "idx" in names:
        return ()
    if "gpu" not in names or not set(names) & set(_FIELDS):
        raise InputError(
            f"no header of nvidia-smi dmon: {line.strip()[:80]!r}", why="# gpu pwr gtemp is one", mend=MEND
        )
    return names


def read_dmon_line(line: str, names: Sequence[str], seconds: float) -> GpuSample:
    """Return the sample of a line under a header with those columns; `-` is what the GPU does not tell.

    Raises
    ------
    InputError
        Another number of columns, or a value that is none.
    """
    cells = line.split()
    _gpu_of(line, names)
    values: dict[str, float | None] = {}
    for name, cell in zip(names, cells, strict=True):
        if name in _FIELDS:
            try:
                values[_FIELDS[name]] = None if cell == "-" else float(cell)
            except ValueError:
                raise InputError(
                    f"nvidia-smi dmon: {name} is {cell[:40]!r}", why=line.strip()[:160], mend=MEND
                ) from None
    return replace(GpuSample(seconds), **values)  # type: ignore[arg-type]


def _gpu_of(line: str, names: Sequence[str]) -> int:
    cells = line.split()
    if not names or len(cells) != len(names) or not cells[names.index("gpu")].isdecimal():
        raise InputError(
            f"line of nvidia-smi dmon: {line.strip()[:80]!r}",
            why=f"its header has {len(names)} columns: {' '.join(names)}" if names else "no header before it",
            mend=MEND,
        )
    return int(cells[names.index("gpu")])
