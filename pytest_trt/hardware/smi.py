"""What `nvidia-smi` samples of a GPU, read from its CSV: utilisation, clocks, power, temperature, throttling."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pytest_trt.errors import InputError
from pytest_trt.hardware.throttle import name_reasons, spoils

FIELDS = (
    "timestamp",
    "utilization.gpu",
    "clocks.sm",
    "clocks.mem",
    "power.draw",
    "temperature.gpu",
    "clocks_throttle_reasons.active",
)
# The last field since driver 535; which spelling a driver takes is in `nvidia-smi --help-query-gpu`.
EVENT_FIELDS = (*FIELDS[:-1], "clocks_event_reasons.active")

# Older and longer spellings of what is asked for, as they stand in headers.
_NAMES = {
    "timestamp": "timestamp",
    "utilization.gpu": "utilization_percent",
    "clocks.sm": "sm_mhz",
    "clocks.current.sm": "sm_mhz",
    "clocks.mem": "memory_mhz",
    "clocks.current.memory": "memory_mhz",
    "power.draw": "power_watts",
    "temperature.gpu": "temperature_celsius",
    "clocks_throttle_reasons.active": "reasons",
    "clocks_event_reasons.active": "reasons",
}
_UNITS = {
    "utilization_percent": "%",
    "sm_mhz": "MHz",
    "memory_mhz": "MHz",
    "power_watts": "W",
    "temperature_celsius": "",
}
_ABSENT = re.compile(
    r"\[?(?:N/A|Not Supported|Unknown Error|Insufficient Permissions|GPU is lost|"
    r"Requested functionality has been deprecated)\]?|",
    re.IGNORECASE,
)
_HEADER = re.compile(r"([A-Za-z_.]+)(?:\s+\[([^\]]*)\])?")
_NUMBER = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)(?:\s*(%|MHz|W|C))?")
_MASK = re.compile(r"0x[0-9A-Fa-f]{1,16}")
_TIME = "%Y/%m/%d %H:%M:%S.%f"
MEND = f"nvidia-smi --query-gpu={','.join(FIELDS)} --format=csv -lms 100"


@dataclass(frozen=True)
class SmiSample:
    """One line of `nvidia-smi`; None for what the GPU or the driver does not tell.

    Attributes
    ----------
    timestamp : datetime
        Local time of the machine, milliseconds.
    utilization_percent : float or None
        Share of the last sample period in which a kernel ran.
    sm_mhz, memory_mhz : float or None
        Clocks of the multiprocessors and of the memory.
    power_watts, temperature_celsius : float or None
    reasons : int or None
        Bits of `pytest_trt.hardware.throttle.REASONS`.
    """

    timestamp: datetime
    utilization_percent: float | None = None
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    power_watts: float | None = None
    temperature_celsius: float | None = None
    reasons: int | None = None

    @property
    def reason_names(self) -> tuple[str, ...]:
        """Why the clocks are what they are; empty as well where it is not told."""
        return name_reasons(self.reasons or 0)

    @property
    def spoiled_by(self) -> tuple[str, ...]:
        """The reasons that make a measurement unreliable; empty as well where none is told."""
        return spoils(self.reasons or 0)


def read_smi(text: str, fields: Sequence[str] | None = None) -> tuple[SmiSample, ...]:
    """Return the samples of what `nvidia-smi --query-gpu=... --format=csv` printed.

    Parameters
    ----------
    text : str
        With the header, or without (`noheader`); with units or without (`nounits`). A cut last line, as a sampler leaves
        it that was stopped while it wrote, is left out.
    fields : sequence of str, optional
        The query. Default: that of the header, and where there is none `FIELDS`.

    Raises
    ------
    InputError
        No header and other columns than the query, a value that is none, or no timestamp among the fields.

    Notes
    -----
    Source: `nvidia-smi --help-query-gpu`; "System Management Interface", section on `--format`: csv, noheader, nounits.
    """
    rows = _rows(text)
    if not rows:
        return ()
    whole = text.endswith(("\n", "\r"))
    named = _HEADER.fullmatch(rows[0][1][0])
    if named is not None and named[1].lower() in _NAMES:
        line, heads = rows.pop(0)
        names = [_name_of(cell, line) for cell in heads]
    else:
        names = [_name_of(cell, 0) for cell in fields or FIELDS]
    if "timestamp" not in names or len(set(names)) != len(names):
        raise InputError(f"nvidia-smi was not asked for each thing once, and the time: {names}", mend=MEND)
    samples = []
    for position, (line, cells) in enumerate(rows):
        try:
            samples.append(_sample(names, cells, line))
        except InputError:
            if whole or position < len(rows) - 1:
                raise
    return tuple(samples)


def write_smi(samples: Iterable[SmiSample], *, units: bool = True) -> str:
    """Return samples as `nvidia-smi` prints them, header first; what is None as `[N/A]`."""
    order = list(dict.fromkeys(_NAMES.values()))
    heads = (
        f"{name} [{_UNITS[key]}]" if _UNITS.get(key) else name
        for name, key in zip(FIELDS, order, strict=True)
    )
    lines = [", ".join(heads)]
    for sample in samples:
        cells = [sample.timestamp.strftime(_TIME)[:-3]]
        for key in order[1:-1]:
            value = getattr(sample, key)
            unit = f" {_UNITS[key]}" if units and _UNITS[key] else ""
            digits = ".2f" if key == "power_watts" else ".0f"
            cells.append("[N/A]" if value is None else f"{value:{digits}}{unit}")
        cells.append("[N/A]" if sample.reasons is None else f"{sample.reasons:#018x}")
        lines.append(", ".join(cells))
    return "\n".join(lines) + "\n"


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Return (line number, cells) of every line that is not empty."""
    found = []
    try:
        reader = csv.reader(io.StringIO(text.replace("\0", "\ufffd"), newline=""), skipinitialspace=True)
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                found.append((reader.line_num, stripped))
    except csv.Error as error:
        raise InputError(f"what nvidia-smi printed is no CSV: {error}", mend=MEND) from None
    return found


def _name_of(cell: str, line: int) -> str:
    found = _HEADER.fullmatch(cell.strip())
    name = _NAMES.get(found[1].lower()) if found is not None else None
    if name is None:
        raise InputError(
            f"line {line}: {cell[:80]!r} is no field that is read here"
            if line
            else f"unknown field {cell!r}",
            why=f"read are {', '.join(_NAMES)}",
            mend=MEND,
        )
    return name


def _sample(names: Sequence[str], cells: Sequence[str], line: int) -> SmiSample:
    if len(cells) != len(names):
        raise InputError(
            f"line {line} has {len(cells)} values, and {len(names)} fields were asked for", mend=MEND
        )
    values: dict[str, float | int | None] = {}
    timestamp = None
    for name, cell in zip(names, cells, strict=True):
        if name == "timestamp":
            timestamp = _timestamp(cell, line)
        else:
            values[name] = _value(name, cell, line)
    assert timestamp is not None
    return SmiSample(timestamp, **values)  # type: ignore[arg-type]


def _timestamp(cell: str, line: int) -> datetime:
    try:
        return datetime.strptime(cell, _TIME)
    except ValueError:
        raise InputError(
            f"line {line}: {cell[:80]!r} is no time", why="2024/05/31 14:03:59.123 is one"
        ) from None


def _value(name: str, cell: str, line: int) -> float | int | None:
    if _ABSENT.fullmatch(cell):
        return None
    if name == "reasons" and _MASK.fullmatch(cell):
        return int(cell, 16)
    found = _NUMBER.fullmatch(cell)
    if name == "reasons" or found is None or (found[2] or "") not in ("", _UNITS[name] or "C"):
        raise InputError(f"line {line}: {name} is {cell[:80]!r}", why="neither a value nor [N/A]", mend=MEND)
    return float(found[1])
