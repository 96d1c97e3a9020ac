"""What `tegrastats` samples of a Jetson: memory, CPU and GPU load, clocks, temperatures, power rails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pytest_trt.errors import InputError
from pytest_trt.hardware.samples import GpuSample


@dataclass(frozen=True)
class TegraSample:
    """One line of `tegrastats`; None, or an empty mapping, for what a Jetson or a JetPack does not tell.

    Attributes
    ----------
    ram_used_mb, ram_total_mb : int
    gpu_percent : float or None
        Load of the GPU (`GR3D_FREQ`).
    gpu_mhz : tuple of float
        Clock of each graphics cluster; JetPack 4 tells one, later ones one for each, also as `GR3D2_FREQ`; none, or 0,
        where the GPU sleeps.
    emc_percent, emc_mhz : float or None
        Load and clock of the memory controller.
    cpu_percent : tuple of (float or None)
        Load of each core; None for one that is off.
    temperatures_celsius : mapping of str to float
        By sensor, in its own spelling: `GPU`, `gpu`, `tj`. A sensor that is off is left out.
    power_milliwatts, average_milliwatts : mapping of str to int
        By rail, now and since the start: `POM_5V_GPU`, `VDD_GPU_SOC`.
    timestamp : str
        As it stands before the line, where it does.
    """

    ram_used_mb: int
    ram_total_mb: int
    gpu_percent: float | None = None
    gpu_mhz: tuple[float, ...] = ()
    emc_percent: float | None = None
    emc_mhz: float | None = None
    cpu_percent: tuple[float | None, ...] = ()
    temperatures_celsius: Mapping[str, float] = field(default_factory=dict)
    power_milliwatts: Mapping[str, int] = field(default_factory=dict)
    average_milliwatts: Mapping[str, int] = field(default_factory=dict)
    timestamp: str = ""


_RAM = re.compile(r"(?:^|\s)RAM (\d{1,9})/(\d{1,9})MB\b")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"(\d{1,3})%(?:@\d{1,6})?")
_LOAD = r"(?:(\d{1,3}) ?%)?(?:@(?:\[([\d, ]*)\]|(\d{1,6})))?(?=\s|$)"
_GPU = re.compile(rf"\bGR3D_FREQ {_LOAD}")
_GPU2 = re.compile(rf"\bGR3D2_FREQ {_LOAD}")
_EMC = re.compile(rf"\bEMC_FREQ {_LOAD}")
_DEGREES = re.compile(r"(?:^|\s)([A-Za-z][\w.-]*)@(-?\d{1,5}(?:\.\d{1,3})?)C(?=\s|$)")
_RAIL = re.compile(r"(?:^|\s)([A-Z][A-Z0-9_]*) (\d{1,8})(?:mW)?/(\d{1,8})(?:mW)?(?=\s|$)")
_STAMP = re.compile(r"(\d{2}-\d{2}-\d{4} \d{2}:\d{2}:\d{2})\s")
_OFF = -256.0  # what a sensor of a part without power reads


def read_tegrastats(text: str) -> tuple[TegraSample, ...]:
    """Return the samples of what `tegrastats` printed; lines without memory (a cut one, another program's) are refused.

    Raises
    ------
    InputError
        A line is none of `tegrastats`, or says of the GPU, the memory clock or a core what cannot be read.

    Notes
    -----
    Source: NVIDIA Jetson Linux Developer Guide, "tegrastats Utility", releases R32 (JetPack 4), R35 (5), R36 (6) and R38 (7).
    """
    lines = enumerate(text.splitlines(), 1)
    return tuple(_sample(line.strip(), number) for number, line in lines if line.strip())


def gpu_sample(sample: TegraSample, seconds: float) -> GpuSample:
    """Return what a line says of the GPU: load, the fastest cluster's clock, the memory's, power and temperature.

    The power is that of the rail of the GPU, which some modules have in common with others (`VDD_GPU_SOC`,
    `VDD_CPU_GPU_CV`). `tegrastats` tells no throttle reasons.
    """
    watts = [value / 1000 for name, value in sample.power_milliwatts.items() if "GPU" in name.split("_")]
    heat = {name.lower(): value for name, value in sample.temperatures_celsius.items()}
    clocks = [clock for clock in sample.gpu_mhz if clock > 0]
    return GpuSample(
        seconds,
        sample.gpu_percent,
        max(clocks, default=None),
        sample.emc_mhz,
        watts[0] if watts else None,
        heat.get("gpu", heat.get("tj")),
    )


def _sample(line: str, number: int) -> TegraSample:
    ram = _RAM.search(line)
    if ram is None:
        raise InputError(
            f"line {number} is none of tegrastats: {line[:80]!r}",
            why="each begins with RAM used/totalMB",
            mend="tegrastats --interval 100",
        )
    gpu_percent, gpu_mhz = _load(_GPU, "GR3D_FREQ", line, number)
    second_percent, second_mhz = _load(_GPU2, "GR3D2_FREQ", line, number)
    loads = [load for load in (gpu_percent, second_percent) if load is not None]
    emc_percent, emc_mhz = _load(_EMC, "EMC_FREQ", line, number)
    stamp = _STAMP.match(line)
    rails = _RAIL.findall(line)
    heat = {name: float(value) for name, value in _DEGREES.findall(line)}
    return TegraSample(
        ram_used_mb=int(ram[1]),
        ram_total_mb=int(ram[2]),
        gpu_percent=max(loads, default=None),
        gpu_mhz=gpu_mhz + second_mhz,
        emc_percent=emc_percent,
        emc_mhz=emc_mhz[0] if emc_mhz else None,
        cpu_percent=_cores(line, number),
        temperatures_celsius={name: value for name, value in heat.items() if value > _OFF},
        power_milliwatts={name: int(now) for name, now, _ in rails},
        average_milliwatts={name: int(mean) for name, _, mean in rails},
        timestamp=stamp[1] if stamp else "",
    )


def _load(
    pattern: re.Pattern[str], name: str, line: str, number: int
) -> tuple[float | None, tuple[float, ...]]:
    """Return a load and its clocks: `0%`, `0%@76`, `0%@[305,305]`, `@[314,314,314]`."""
    if not re.search(rf"\b{name}\b", line):
        return None, ()
    found = pattern.search(line)
    parts = [part.strip() for part in (found[2] or found[3] or "").split(",")] if found else []
    clocks = [part for part in parts if part]
    nothing = found is None or found[1] is found[2] is found[3] is None
    if nothing or any(not part.isdigit() or len(part) > 6 for part in clocks):
        raise InputError(f"line {number}: {name} cannot be read", why=line[:160])
    assert found is not None
    return None if found[1] is None else float(found[1]), tuple(map(float, clocks))


def _cores(line: str, number: int) -> tuple[float | None, ...]:
    found = _CPU.search(line)
    if found is None:
        return ()
    loads: list[float | None] = []
    for part in found[1].split(","):
        core = _CORE.fullmatch(part.strip())
        if core is None and part.strip() != "off":
            raise InputError(f"line {number}: CPU core {part.strip()[:40]!r} cannot be read", why=line[:160])
        loads.append(None if core is None else float(core[1]))
    return tuple(loads)
