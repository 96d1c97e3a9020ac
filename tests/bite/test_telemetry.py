"""Wrong readers of telemetry: each check of the suite is broken by one that breaks no other."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pytest_trt.errors import InputError
from pytest_trt.hardware import telemetry
from pytest_trt.hardware.dmon import read_dmon
from pytest_trt.hardware.probe import select_visible
from pytest_trt.hardware.samples import Telemetry
from pytest_trt.hardware.smi import read_smi
from pytest_trt.hardware.tegrastats import read_tegrastats
from pytest_trt.hardware.throttle import name_reasons, spoils
from pytest_trt.records import Settings
from pytest_trt.runtime.load import discover
from suites import _telemetry as suite
from suites import _watched as watched
from suites._watched import MIXED, Moment, PlayedNvml


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


def reads_the_load_of_memory(text):
    found = read_dmon(text)
    return {0: tuple(replace(one, sm_mhz=one.memory_mhz) for one in found[0])}


def takes_any_table(text):
    try:
        return read_dmon(text)
    except InputError:
        return {}


BROKEN = {
    suite.SMI_READ: {"read": loses_the_clock_of_old_headers},
    suite.SMI_WRITTEN: {"read": rereads_nothing},
    suite.SMI_REFUSED: {"read": takes_anything},
    suite.TEGRA_READ: {"read_tegra": reads_one_cluster},
    suite.TEGRA_REFUSED: {"read_tegra": takes_any_line},
    suite.DMON_READ: {"read_device_monitor": reads_the_load_of_memory},
    suite.DMON_REFUSED: {"read_device_monitor": takes_any_table},
    suite.THROTTLE: {"spoiled": lambda mask: name_reasons(mask & 0x2FE)},
}


def broken(rows):
    return {check for check, wrong in rows if wrong is not None}


def test_good_readers_break_no_check():
    rows = suite.check_parsers(read_smi, read_tegrastats, spoils, read_dmon)
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


def seen_through(change):
    """Return a watcher whose telemetry is changed by a function."""

    @contextmanager
    def watcher(*args, **keywords):
        with telemetry.watch(*args, **keywords) as one:
            yield SimpleNamespace(take=lambda: change(one.take()))

    return watcher


def told(words, change=lambda found: found, when=lambda found: True):
    """Return a change of telemetry: what it is called is `words` of the true reasons."""

    class Told(Telemetry):
        unreliable = property(lambda self: words(Telemetry.unreliable.fget(self)))

    def make(found):
        found = change(found)
        if not when(found):
            return found
        return Told(found.source, found.title, found.samples, found.why)

    return make


def without(part):
    return lambda reasons: tuple(reason for reason in reasons if part not in reason)


def is_steady(found):
    clocks = {one.sm_mhz for one in found.samples}
    return clocks == {1980} and not found.reasons and not found.why


def with_samples(change):
    return lambda found: replace(found, samples=tuple(change(one) for one in found.samples))


def zero_for_none(one):
    return one if one.power_watts is not None else replace(one, power_watts=0.0)


def is_silent(found):
    return bool(found.samples) and found.sm_mhz is None


WATCHERS = {
    watched.STEADY: told(lambda reasons: ("always",), when=is_steady),
    watched.SAMPLED: with_samples(
        lambda one: one if one.power_watts is None else replace(one, power_watts=1000 * one.power_watts)
    ),
    watched.THROTTLED: told(without("sw power cap")),
    watched.MOVED: told(without("moved")),
    watched.RAMP: told(
        lambda reasons: (*reasons, "moved"), when=lambda found: found.reasons == 1 and found.sm_mhz.low == 345
    ),
    watched.SILENT: with_samples(zero_for_none),
    watched.LOST: told(without("GPU is lost")),
    watched.NOTHING: lambda found: found if found.source else replace(found, why=""),
}


def test_good_watch_breaks_no_check():
    rows = list(watched.check_watch())
    assert broken(rows) == set() and {check for check, _ in rows} == set(WATCHERS)


@pytest.mark.parametrize("check", WATCHERS)
def test_each_check_of_a_watch_is_broken_by_its_own_fault_alone(check):
    assert broken(watched.check_watch(seen_through(WATCHERS[check]))) == {check}


def test_a_gpu_chosen_by_the_order_of_the_bus_is_caught():
    def by_bus(ordinal, gpus, *, pci_bus_id, environ):
        visible = select_visible(gpus, environ.get(watched.SHOW))
        return visible[ordinal] if ordinal < len(visible) else "none"

    assert broken(watched.check_places()) == set()
    assert broken(watched.check_places(by_bus)) == {watched.PLACED}
    wrong = [note for _, note in watched.check_places(by_bus) if note]
    assert len(wrong) == 4 and all(str([gpu.title for gpu in MIXED]) in note for note in wrong)


@pytest.mark.parametrize(
    ("moment", "wrong"),
    [(Moment(), set()), (Moment(sm=0), {watched.RUNNING}), (Moment(celsius=255), {watched.RUNNING})],
)
def test_nonsense_of_a_running_gpu_is_caught(moment, wrong):
    """The network runs on the emulator, and NVML is played: what is told must be what a GPU can tell."""
    rt = discover(Settings(runtime="emulator")).executor

    @contextmanager
    def watcher(ordinal, interval, pci_bus_id=""):
        with telemetry.watch(ordinal, interval, nvml=PlayedNvml([moment])) as one:
            yield one

    seen, rows = watched.check_running(rt, watcher)
    assert seen.source == "nvml" and broken(rows) == wrong
