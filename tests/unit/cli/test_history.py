"""`python -m pytest_trt history`."""

from __future__ import annotations

import argparse
import json

import pytest

from pytest_trt.cli import history
from pytest_trt.errors import SettingsError
from tests.unit.bench.test_history import bench, keep, noise

GOOD, BAD = {"reliable": True, "variation": 0.01}, {"reliable": False, "reasons": ["the SM clock moved"]}


def run(*arguments):
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)
    return history.run(parser.parse_args([str(word) for word in arguments]))


def fill(folder, values, extra=lambda number: GOOD):
    for number, value in enumerate(values, 1):
        commit = {"id": f"{number:02}{'c' * 10}", "dirty": False}
        when = f"2026-{1 + number // 28:02}-{1 + number % 28:02}T00:00:00+00:00"
        one = bench(seconds=1e-3 * value, extra=extra(number))
        keep(folder, number, one, bench("t.py::test_b", 2e-6), commit_info=commit, when=when)


def row(out, name):
    return next(line for line in out.splitlines() if line.startswith(name))


def test_a_step_is_told_and_fails_where_asked(tmp_path, capsys):
    fill(tmp_path, noise(20) + noise(10, 1.1))
    assert run(tmp_path) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "[1] TensorRT 11.4"
    assert row(out, "t.py::test_a").split()[1:4] == ["[1]", "30", "30/30"]
    assert "% at 2026-01-22 00:00, 20cccccccc..21cccccccc, noticed 6 runs on" in row(out, "t.py::test_a")
    assert " ".join(row(out, "t.py::test_b").split()) == "t.py::test_b [1] 30 30/30 2 us 2.0 % +0.0 % no"
    assert row(out, "slower: t.py::test_a: +")
    assert run(tmp_path, "--fail") == 1
    assert run(tmp_path, "--fail", "--recent=5") == 0
    assert run(tmp_path, "--fail", "--benchmark=test_b") == 0


def test_noise_and_a_speed_up_pass(tmp_path, capsys):
    fill(tmp_path, noise(20) + noise(10, 0.9))
    assert run(tmp_path, "--fail") == 0
    assert "slower" not in capsys.readouterr().out


def test_unreliable_runs_are_shown_and_not_used(tmp_path, capsys):
    fill(tmp_path, noise(20) + noise(10, 1.1), lambda number: BAD if number > 20 else GOOD)
    assert run(tmp_path, "--fail", "--points") == 0
    out = capsys.readouterr().out
    assert row(out, "t.py::test_a").split()[2:4] == ["30", "20/30"]
    assert sum(line.endswith("the SM clock moved") for line in out.splitlines()) == 10


def test_nothing_reliable(tmp_path, capsys):
    fill(tmp_path, noise(3), lambda number: BAD)
    assert run(tmp_path, "--fail") == 0
    out = capsys.readouterr().out
    assert "0/3" in row(out, "t.py::test_a") and "none is reliable" in row(out, "t.py::test_a")


def test_several_steps_and_points(tmp_path, capsys):
    fill(tmp_path, noise(20) + noise(20, 1.2) + noise(20, 1.5))
    assert run(tmp_path, "--points") == 0
    out = capsys.readouterr().out
    assert row(out, "t.py::test_a").endswith("runs on; 1 before")
    assert sum(line.startswith("  2026") and line.endswith("  step") for line in out.splitlines()) == 2


def test_json(tmp_path, capsys):
    fill(tmp_path, noise(20) + noise(10, 1.1), lambda number: BAD if number == 3 else GOOD)
    keep(tmp_path, 99, bench("t.py::test_c", extra=BAD), when="2026-12-01T00:00:00+00:00")
    assert run(tmp_path, "--json", "--fail") == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert first["slower"] and not second["slower"] and third["change"] is None
    assert len(first["points"]) == 30 and first["points"][2]["reasons"] == ["the SM clock moved"]
    (step,) = first["steps"]
    assert step["commits"] == ["20cccccccc", "21cccccccc"] and step["change"] == pytest.approx(0.1, abs=0.02)


def test_without_commits(tmp_path, capsys):
    for number, value in enumerate(noise(20) + noise(8, 1.1), 1):
        keep(tmp_path, number, bench(seconds=value))
    run(tmp_path)
    assert "% at 2026-01-21 00:00, noticed" in row(capsys.readouterr().out, "t.py::test_a")


def test_an_empty_folder_says_how_to_fill_it(tmp_path, capsys):
    (tmp_path / "odd.json").write_text("{")
    assert run(tmp_path, "--fail") == 0
    out = capsys.readouterr().out
    assert "no stored runs: pytest -m bench --benchmark-autosave makes them" in out
    assert "not read: odd.json is no stored run of pytest-benchmark: JSONDecodeError" in out


def test_json_keeps_no_file_quiet_that_could_not_be_read(tmp_path, capsys):
    fill(tmp_path, noise(3))
    (tmp_path / "odd.json").write_text("{")
    assert run(tmp_path, "--json") == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)) == 2
    assert told.err.startswith("not read: odd.json is no stored run of pytest-benchmark: JSONDecodeError")


def test_a_name_that_no_benchmark_has_is_not_taken_for_an_empty_folder(tmp_path, capsys):
    fill(tmp_path, noise(3))
    assert run(tmp_path, "--benchmark=test_z") == 0
    assert capsys.readouterr().out == "no stored run has a benchmark with 'test_z' in its name\n"


@pytest.mark.parametrize(
    ("arguments", "words"), [(["nowhere"], "'nowhere' is no folder"), ([".", "--recent=0"], "--recent=0")]
)
def test_wrong_use(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=words):
        run(*arguments)


def test_the_default_folder_is_that_of_pytest_benchmark():
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)
    assert str(parser.parse_args([]).folder) == ".benchmarks"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.0, "12 s"), (1.2345e-3, "1.234 ms"), (2e-6, "2 us"), (5e-9, "5 ns"), (1e-12, "0.001 ns")],
)
def test_seconds(seconds, text):
    assert history.show_seconds(seconds) == text
