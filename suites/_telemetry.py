"""Lines as `nvidia-smi` and `tegrastats` print them, and what has to be read in them."""

from __future__ import annotations

import subprocess
from datetime import datetime

from pytest_trt.errors import InputError
from pytest_trt.hardware.dmon import read_dmon
from pytest_trt.hardware.samples import GpuSample
from pytest_trt.hardware.smi import EVENT_FIELDS, FIELDS, SmiSample, read_smi, write_smi
from pytest_trt.hardware.tegrastats import TegraSample, read_tegrastats
from pytest_trt.hardware.throttle import spoils

from ._named import Checked

SMI_READ = "smi-read"
SMI_WRITTEN = "smi-written-again"
SMI_REFUSED = "smi-nonsense-refused"
DMON_READ = "smi-dmon-read"
DMON_REFUSED = "smi-dmon-nonsense-refused"
TEGRA_READ = "tegrastats-read"
TEGRA_REFUSED = "tegrastats-nonsense-refused"
THROTTLE = "throttle-bits"
SMI_HERE = "smi-of-this-machine"

_HEAD = "timestamp, utilization.gpu [%], clocks.current.sm [MHz], clocks.current.memory [MHz], power.draw [W], temperature.gpu"
_NOON = datetime(2024, 5, 31, 12, 0, 0, 123000)
_FULL = SmiSample(_NOON, 97.0, 1590.0, 5000.0, 69.51, 71.0, 0x4)
_IDLE = SmiSample(_NOON, 0.0, 300.0, 405.0, None, 33.0, 0x1)

# What was printed, and what it says.
SMI = {
    "driver 470": (
        f"{_HEAD}, clocks_throttle_reasons.active\n"
        "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 0x0000000000000004\n",
        (_FULL,),
    ),
    "driver 550": (
        f"{_HEAD}, clocks_event_reasons.active\n"
        "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 0x0000000000000004\n"
        "2024/05/31 12:00:00.123, 0 %, 300 MHz, 405 MHz, [N/A], 33, 0x0000000000000001\n",
        (_FULL, _IDLE),
    ),
    "noheader, nounits": (
        "2024/05/31 12:00:00.123, 97, 1590, 5000, 69.51, 71, 0x0000000000000004\n",
        (_FULL,),
    ),
    "recorded on an H200, asked for clocks_throttle_reasons.active": (
        f"{_HEAD}, clocks_event_reasons.active\n"
        "2026/11/23 03:23:40.943, 0 %, 345 MHz, 3201 MHz, 98.78 W, 34, 0x0000000000000001\n",
        (SmiSample(datetime(2026, 11, 23, 3, 23, 40, 943000), 0.0, 345.0, 3201.0, 98.78, 34.0, 0x1),),
    ),
    "recorded on an H200, nounits": (
        f"{_HEAD}, clocks_event_reasons.active\n2026/11/23 03:23:40.972, 0, 345, 3201, 97.04, 34, 0x0000000000000001\n",
        (SmiSample(datetime(2026, 11, 23, 3, 23, 40, 972000), 0.0, 345.0, 3201.0, 97.04, 34.0, 0x1),),
    ),
    "what is not told": (
        f"{_HEAD}, clocks_throttle_reasons.active\n"
        "2024/05/31 12:00:00.123, [Not Supported], [N/A], [N/A], [Unknown Error], N/A, [Not Supported]\n",
        (SmiSample(_NOON),),
    ),
    "stopped while it wrote": (
        f"{_HEAD}, clocks_throttle_reasons.active\n"
        "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 0x0000000000000004\n2024/05/31 12:00:0",
        (_FULL,),
    ),
}
SMI_NONSENSE = {
    "no GPU": "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
    "another field": f"{_HEAD}, fan.speed [%]\n2024/05/31 12:00:00.123, 1 %, 2 MHz, 3 MHz, 4 W, 5, 6 %\n",
    "another unit": "2024/05/31 12:00:00.123, 97 %, 1.59 GHz, 5000 MHz, 69.51 W, 71, 0x4\n",
    "a value too few": "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71\n",
    "no time": "noon, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 0x4\n",
    "a mask in decimals": "2024/05/31 12:00:00.123, 97 %, 1590 MHz, 5000 MHz, 69.51 W, 71, 4\n",
}

TEGRA = {
    "JetPack 4": (
        "RAM 2465/3964MB (lfb 1x512kB) SWAP 12/1982MB (cached 1MB) IRAM 0/252kB(lfb 252kB) CPU [12%@1479,off,off,7%@1479] "
        "EMC_FREQ 4%@1600 GR3D_FREQ 31%@76 APE 25 PLL@41C CPU@44.5C PMIC@100C GPU@42C AO@50C thermal@43.5C "
        "POM_5V_IN 2334/2270 POM_5V_GPU 40/40 POM_5V_CPU 449/412\n",
        TegraSample(
            2465, 3964, 31.0, (76.0,), 4.0, 1600.0, (12.0, None, None, 7.0),
            {"PLL": 41.0, "CPU": 44.5, "PMIC": 100.0, "GPU": 42.0, "AO": 50.0, "thermal": 43.5},
            {"POM_5V_IN": 2334, "POM_5V_GPU": 40, "POM_5V_CPU": 449},
            {"POM_5V_IN": 2270, "POM_5V_GPU": 40, "POM_5V_CPU": 412},
        ),
    ),
    "JetPack 5": (
        "05-31-2024 12:00:01 RAM 3184/30536MB (lfb 6x4MB) SWAP 0/15268MB (cached 0MB) CPU [1%@729,0%@729,off,off] "
        "EMC_FREQ 0%@2133 GR3D_FREQ 98%@[1300,1300] VIC_FREQ 729 APE 174 CV0@-256C CPU@47.968C tj@49.25C gpu@45.5C "
        "VDD_GPU_SOC 3205mW/2405mW VDD_CPU_CV 400mW/400mW\n",
        TegraSample(
            3184, 30536, 98.0, (1300.0, 1300.0), 0.0, 2133.0, (1.0, 0.0, None, None),
            {"CPU": 47.968, "tj": 49.25, "gpu": 45.5},
            {"VDD_GPU_SOC": 3205, "VDD_CPU_CV": 400},
            {"VDD_GPU_SOC": 2405, "VDD_CPU_CV": 400},
            "05-31-2024 12:00:01",
        ),
    ),
    "JetPack 6, GPU asleep": (
        "05-31-2024 12:00:01 RAM 1500/7620MB (lfb 2x2MB) CPU [3%@1510,2%@1510] EMC_FREQ 0%@665 GR3D_FREQ 0%@[] "
        "cpu@46.1C soc2@45C tj@46.1C VDD_IN 4520mW/4520mW\n",
        TegraSample(
            1500, 7620, 0.0, (), 0.0, 665.0, (3.0, 2.0), {"cpu": 46.1, "soc2": 45.0, "tj": 46.1},
            {"VDD_IN": 4520}, {"VDD_IN": 4520}, "05-31-2024 12:00:01",
        ),
    ),
    "JetPack 5, clusters apart": (
        "10-16-2023 10:59:22 RAM 1205/30623MB (lfb 6429x4MB) SWAP 0/15311MB (cached 0MB) CPU [0%@729,1%@730] EMC_FREQ 0%@204 "
        "GR3D_FREQ 17%@114 GR3D2_FREQ 23%@306 NVJPG1 729 VIC_FREQ 729 APE 233 CV0@-256C GPU@38.156C "
        "VDD_GPU_SOC 4788mW/4788mW NC 0mW/0mW\n",
        TegraSample(
            1205, 30623, 23.0, (114.0, 306.0), 0.0, 204.0, (0.0, 1.0), {"GPU": 38.156},
            {"VDD_GPU_SOC": 4788, "NC": 0}, {"VDD_GPU_SOC": 4788, "NC": 0}, "10-16-2023 10:59:22",
        ),
    ),
    "JetPack 6 (R36.4)": (
        "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB) SWAP 86/31420MB (cached 0MB) CPU [14%@2188,off] EMC_FREQ 3%@2133 "
        "GR3D_FREQ 0%@[0,0] NVENC 79%@166 NVDEC off NVJPG off VIC 36%@115 OFA off NVDLA0 off PVA0_FREQ off APE 174 "
        "cpu@52.562C tj@52.562C VDD_GPU_SOC 2412mW/2412mW VIN_SYS_5V0 4707mW/4707mW\n",
        TegraSample(
            18207, 62841, 0.0, (0.0, 0.0), 3.0, 2133.0, (14.0, None), {"cpu": 52.562, "tj": 52.562},
            {"VDD_GPU_SOC": 2412, "VIN_SYS_5V0": 4707}, {"VDD_GPU_SOC": 2412, "VIN_SYS_5V0": 4707}, "05-09-2026 18:42:06",
        ),
    ),
    "JetPack 7, no load told": (
        "11-02-2025 09:00:00 RAM 4096/125772MB (lfb 3x4MB) CPU [2%@972,1%@972] GR3D_FREQ @[314,314,315] "
        "cpu@40.5C tj@41C gpu@39.5C VDD_GPU 3600mW/3600mW VDD_CPU_SOC_MSS 7200mW/7200mW\n",
        TegraSample(
            4096, 125772, None, (314.0, 314.0, 315.0), None, None, (2.0, 1.0), {"cpu": 40.5, "tj": 41.0, "gpu": 39.5},
            {"VDD_GPU": 3600, "VDD_CPU_SOC_MSS": 7200}, {"VDD_GPU": 3600, "VDD_CPU_SOC_MSS": 7200}, "11-02-2025 09:00:00",
        ),
    ),
    "without root": (
        "RAM 100/3964MB (lfb 1x4MB) CPU [0%@102,0%@102] GR3D_FREQ 0% PLL@20C\n",
        TegraSample(100, 3964, 0.0, (), None, None, (0.0, 0.0), {"PLL": 20.0}),
    ),
}  # fmt: skip
TEGRA_NONSENSE = {
    "another program": "total used free\n",
    "a load that is none": "RAM 1/2MB GR3D_FREQ fast\n",
    "a load without a number": "RAM 1/2MB GR3D_FREQ  EMC_FREQ 1%\n",
    "a core that is none": "RAM 1/2MB CPU [warm]\n",
}

# What `nvidia-smi dmon -s pcu` printed, and what it says of each GPU.
DMON = {
    "driver 418": (
        "# gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk\n"
        "# Idx     W     C     C     %     %     %     %   MHz   MHz\n"
        "    0    69    71     -    97    55     0     0  5000  1590\n"
        "    0    70    72     -    98    55     0     0  5000  1575\n",
        {
            0: (
                GpuSample(0.0, 97.0, 1590.0, 5000.0, 69.0, 71.0),
                GpuSample(1.0, 98.0, 1575.0, 5000.0, 70.0, 72.0),
            )
        },
    ),
    "driver 550, two GPUs, header again": (
        "# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk \n"
        "# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz \n"
        "    0     98     34     41      0      0      0      0      0      0   3201    345 \n"
        "    1      -      -      -      -      -      -      -      -      -      -      - \n"
        "# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk \n"
        "# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz \n"
        "    1     97     33     40      1      0      0      0      0      0   3201   1980 \n",
        {
            0: (GpuSample(0.0, 0.0, 345.0, 3201.0, 98.0, 34.0),),
            1: (GpuSample(0.0), GpuSample(1.0, 1.0, 1980.0, 3201.0, 97.0, 33.0)),
        },
    ),
    "driver 384, one temperature, with the time": (
        "#Date       Time        gpu   pwr  temp    sm   mem   enc   dec  mclk  pclk\n"
        "#YYYYMMDD   HH:MM:SS    Idx     W     C     %     %     %     %   MHz   MHz\n"
        " 20180531   12:00:00      0    22    43     5     1     0     0  3004  1113\n",
        {0: (GpuSample(0.0, 5.0, 1113.0, 3004.0, 22.0, 43.0),)},
    ),
}
DMON_NONSENSE = {
    "no header": "    0    69    71     -    97    55     0     0  5000  1590\n",
    "a column too few": "# gpu   pwr  pclk\n    0    69\n",
    "a word": "# gpu   pwr  pclk\n    0    hot  1590\n",
    "another table": "# process  name\n    0    python\n",
}

# Which reasons make a measurement unreliable, one bit at a time, and some together.
BITS = {
    0x0: (),
    0x1: (),
    0x2: (),
    0x4: ("sw power cap",),
    0x8: ("hw slowdown",),
    0x10: (),
    0x20: ("sw thermal slowdown",),
    0x40: ("hw thermal slowdown",),
    0x80: ("hw power brake slowdown",),
    0x100: (),
    0x48: ("hw slowdown", "hw thermal slowdown"),
    0x200: ("bit 0x200",),
}


def check_parsers(
    read=read_smi, read_tegra=read_tegrastats, spoiled=spoils, read_device_monitor=read_dmon
) -> list[Checked]:
    """Return what is wrong with readers of telemetry, by check: recorded lines, nonsense, throttle bits."""
    rows: list[Checked] = []
    for name, (text, want) in SMI.items():
        rows.append((SMI_READ, _differs(name, read(text), want)))
        again = read(write_smi(want))
        rows.append((SMI_WRITTEN, _differs(name, again, want)))
    for name, (line, want_tegra) in TEGRA.items():
        rows.append((TEGRA_READ, _differs(name, read_tegra(line), (want_tegra,))))
    for name, text in SMI_NONSENSE.items():
        rows.append((SMI_REFUSED, _accepted(name, read, text)))
    for name, text in TEGRA_NONSENSE.items():
        rows.append((TEGRA_REFUSED, _accepted(name, read_tegra, text)))
    for name, (text, want_dmon) in DMON.items():
        rows.append((DMON_READ, _differs(name, read_device_monitor(text), want_dmon)))
    for name, text in DMON_NONSENSE.items():
        rows.append((DMON_REFUSED, _accepted(name, read_device_monitor, text)))
    for mask, names in BITS.items():
        rows.append((THROTTLE, _differs(f"{mask:#x}", spoiled(mask), names)))
    return rows


def check_here() -> list[Checked]:
    """Return what is wrong with what the `nvidia-smi` of this machine prints: one sample a GPU has to be read."""
    for fields in (FIELDS, EVENT_FIELDS):
        command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            found = read_smi(done.stdout)
            return [(SMI_HERE, None if found else f"no sample in {done.stdout!r}")]
    return [(SMI_HERE, f"nvidia-smi takes neither spelling of the query: {done.stdout} {done.stderr}")]


def _differs(name, got, want) -> str | None:
    return None if got == want else f"{name}: got {got!r}, want {want!r}"


def _accepted(name, read, text) -> str | None:
    try:
        got = read(text)
    except InputError:
        return None
    return f"{name}: got {got!r} from {text!r}"
