"""Wrong readers of telemetry: each check of the suite is broken by one that breaks no other."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from pytest_trt.errors import InputError
from pytest_trt.hardware.smi import read_smi
from pytest_trt.hardware.tegrastats import read_tegrastats
from pytest_trt.hardware.throttle import name_reasons, spoils
from suites import _telemetry as suite


def rereads_nothing(text):
    return () if "[N/A], [N/A], [N/A]" in text else read_smi(text)


def loses_the_clock_of_old_headers(text):
    found = read_smi(text)
    return tuple(replace(s, sm_mhz=0.0) for s in found) if "clocks.current.sm" in text else found


def takes_anything(text):
    try:
        return read_smi(text)
    except InputError:
        return ()


def reads_one_cluster(text):
    return tuple(replace(sample, gpu_mhz=sample.gpu_mhz[:1]) for sample in read_tegrastats(text))


def takes_any_line(text):
    try:
        return read_tegrastats(text)
    except InputError:
        return ()


BROKEN = {
    suite.SMI_READ: {"read": loses_the_clock_of_old_headers},
    suite.SMI_WRITTEN: {"read": rereads_nothing},
    suite.SMI_REFUSED: {"read": takes_anything},
    suite.TEGRA_READ: {"read_tegra": reads_one_cluster},
    suite.TEGRA_REFUSED: {"read_tegra": takes_any_line},
    suite.THROTTLE: {"spoiled": lambda mask: name_reasons(mask & 0x2FE)},
}


def broken(rows):
    return {check for check, wrong in rows if wrong is not None}


def test_good_readers_break_no_check():
    rows = suite.check_parsers(read_smi, read_tegrastats, spoils)
    assert broken(rows) == set() and {check for check, _ in rows} == set(BROKEN)


@pytest.mark.parametrize("check", BROKEN)
def test_each_check_is_broken_by_its_own_reader_alone(check):
    assert broken(suite.check_parsers(**BROKEN[check])) == {check}


@pytest.mark.parametrize(
    ("printed", "code", "wrong"),
    [
        ("2024/05/31 12:00:00.123, 1 %, 2 MHz, 3 MHz, 4 W, 5, 0x1\n", 0, set()),
        ("", 0, {suite.SMI_HERE}),
        ("Field is not a valid field to query.", 2, {suite.SMI_HERE}),
    ],
)
def test_a_machine_whose_smi_tells_nothing_is_seen(monkeypatch, printed, code, wrong):
    done = subprocess.CompletedProcess([], code, printed, "")
    monkeypatch.setattr(suite.subprocess, "run", lambda *args, **keywords: done)
    assert broken(suite.check_here()) == wrong
