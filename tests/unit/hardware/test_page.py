"""The page of GPU classes shows the table that is in use."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

import pytest_trt
from pytest_trt import hardware
from pytest_trt.hardware.gpu_class import LOOKED_AT, Figures, GpuClass
from pytest_trt.hardware.smi import SmiSample, write_smi

DOCS = Path(pytest_trt.__file__).parent.parent / "docs"
PAGE = DOCS / "gpu-classes.md"
RATES = ("fp32", "tf32", "fp16", "bf16", "int8")


def row(name: str, device: str, figures: Figures) -> str:
    """Return the row of a product; a dash for what is open."""
    plain = (figures.multiprocessors, figures.memory_gb, figures.bandwidth_gb_s)
    values = (*plain, *(figures.tera.get(rate) for rate in RATES))
    cells = [f"`{name}`", device, *("-" if value is None else f"{value:g}" for value in values)]
    return f"| {' | '.join(cells)} |"


def rows(kind: GpuClass) -> list[str]:
    """Return the rows of a class: its products, or itself where it is one."""
    if not kind.variants:
        return [row(kind.name, kind.title, kind.figures)]
    return [
        row(kind.name, key.rstrip("*"), kind.figures.under(own, kind.precisions))
        for key, own in kind.variants.items()
    ]


def supported(kind: GpuClass) -> str:
    """Return the row of the versions that support a compute capability."""
    cells = []
    for product in LOOKED_AT:
        span = kind.versions.get(product)
        words = (
            "not known"
            if span is None
            else "none"
            if not span
            else span[0] + (" on" if len(span) < 2 else "")
        )
        cells.append(
            words if span is None or len(span) < 2 or span[0] == span[1] else f"{span[0]} to {span[1]}"
        )
    return f"| {kind.capability} | {' | '.join(cells)} |"


def test_every_product_has_its_row() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Figures")[2].splitlines()
    want = [line for name in hardware.names() for line in rows(hardware.get(name))]
    assert [line for line in page if line.startswith("| `")] == want


def test_every_compute_capability_has_its_versions() -> None:
    page = PAGE.read_text(encoding="utf-8")
    numbers = sorted({hardware.get(name).sm for name in hardware.names()})
    for number in numbers:
        assert supported(hardware.get(f"sm{number}")) in page


def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = SmiSample(datetime(2026, 11, 23, 3, 23, 40), 97.0, 1980.0, 3201.0, 400.0, 60.0, 0x4)
    (tmp_path / "gpu.csv").write_text(write_smi([one]), encoding="utf-8")
    blocks = [
        block
        for name in ("gpu-classes.md", "telemetry.md")
        for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "docs", "exec"), {"__name__": "docs"})
