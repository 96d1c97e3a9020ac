"""A slow-down in stored runs is found by the command that reads them; noise of any kind is not taken for one."""

from __future__ import annotations

import argparse
import random

import pytest

from benchmarks import history_alarm
from pytest_trt.bench import history as series
from pytest_trt.cli import history
from tests.unit.bench.test_history import bench, keep, noise

BIMODAL = history_alarm.two_modes(0.5)


def gate(folder):
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)
    return history.run(parser.parse_args([str(folder), "--fail"]))


def fill(folder, values, reasons=lambda number: ()):
    for number, value in enumerate(values, 1):
        why = list(reasons(number))
        one = bench(seconds=value, extra={"reliable": not why, "reasons": why})
        keep(folder, number, one, when=f"2026-01-01T00:{number:02}:00+00:00")


@pytest.mark.parametrize("size", [0.05, 0.10])
def test_a_planted_slow_down_is_found(tmp_path, size, capsys):
    fill(tmp_path, noise(20) + noise(10, 1 + size))
    assert gate(tmp_path) == 1
    assert "slower: t.py::test_a: +" in capsys.readouterr().out


def test_noise_passes(tmp_path):
    fill(tmp_path, noise(30))
    assert gate(tmp_path) == 0


def test_unreliable_slow_runs_pass(tmp_path):
    fill(tmp_path, noise(20) + noise(10, 1.1), lambda number: ("hot",) if number > 20 else ())
    assert gate(tmp_path) == 0


def test_noise_with_two_modes_passes(tmp_path):
    rng = random.Random(7)
    fill(tmp_path, [BIMODAL(rng) for _ in range(50)])
    assert gate(tmp_path) == 0


@pytest.mark.parametrize("name", list(history_alarm.NOISE))
def test_false_alarms_are_as_rare_as_stated(name):
    alarms = history_alarm.count_alarms(history_alarm.NOISE[name], 150, seed=3)
    assert alarms <= 2 * history_alarm.MOST_ALARMS  # 150 series: the benchmark itself draws 2,000


@pytest.mark.parametrize("before", list(history_alarm.MOST_RUNS))
def test_a_step_is_found_as_soon_as_stated(before):
    _, late, missed = history_alarm.time_detection(0.05, 0.01, before, 60, seed=3)
    assert late <= history_alarm.MOST_RUNS[before] and missed <= 0.1


class TestEachConditionIsNeeded:
    """Without one of them there is a series that is taken for a step, or one that is found too late."""

    def test_a_change_that_does_not_matter(self, monkeypatch):
        values = noise(40, 1.0, 1e-4) + noise(40, 1.01, 1e-4)
        assert not series.find_steps(values)
        monkeypatch.setattr(series, "MATTERS", 0.0)
        assert series.find_steps(values)

    @pytest.mark.parametrize(("name", "value"), [("SURE", 0.0), ("SEPARATED", 0.0)])
    def test_fewer_false_alarms(self, monkeypatch, name, value):
        strict = history_alarm.count_alarms(BIMODAL, 200, seed=1)
        monkeypatch.setattr(series, name, value)
        assert history_alarm.count_alarms(BIMODAL, 200, seed=1) > strict

    def test_the_sum_is_what_waits(self, monkeypatch):
        monkeypatch.setattr(series, "LIMIT", 1e9)
        assert not series.find_steps(noise(20) + noise(20, 1.1))
