"""`python -m pytest_trt bite`: tiny runs, options, exit statuses."""

from __future__ import annotations

import json

import pytest

from pytest_trt.bite import files, parallel, suites, thresholds
from pytest_trt.bite.records import SuiteRow
from pytest_trt.cli import main
from pytest_trt.emulator.faults import FAULTS, HONEST

TINY = [
    "bite",
    "--pairs",
    "--configurations",
    "2",
    "--contracts",
    "fp32,fp16",
    "--battery",
    "quick",
    "--jobs",
    "1",
]
ONE = ["--fault", "last_input_channel_dropped"]


def test_pairs_are_measured_told_and_written(tmp_path, capsys):
    path = tmp_path / "bite.json"
    assert main([*TINY, *ONE, "--honest", "1", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("pair score 1.0000") and "on the quick battery: 2 of 2" in out
    assert "np.allclose" in out and "no survivors" in out and "suites:" not in out
    made = files.read(path)
    assert len(made.problems) == 2 and made.failures == [] and made.suites == []
    assert made.provenance["seed"] == 0 and made.provenance["battery"] == "quick"
    assert json.loads(path.read_text())["schema"] == 1


def test_one_configuration_is_replayed(capsys):
    assert main([*TINY, *ONE, "--configuration", "fp16:0:1"]) == 0
    assert "1 configurations" in capsys.readouterr().out


def test_a_score_below_its_threshold_fails(monkeypatch, capsys):
    monkeypatch.setattr(thresholds, "SCORES", {"quick": 1.5})
    assert main([*TINY, *ONE]) == 1
    assert "FAILED: score 1.0000 is below 1.5 for the quick battery" in capsys.readouterr().out


def test_a_fault_that_changes_nothing_measures_nothing(capsys):
    outside = next(name for name, entry in FAULTS.items() if not entry.is_pair)
    assert main([*TINY, "--fault", outside]) == 1
    assert "nothing was measured" in capsys.readouterr().out


def fake_suites(monkeypatch, outcomes):
    """Let each run of the suites end as told, the rest caught."""
    asked = []

    def run(task):
        asked.append((task.name, task.honest))
        entry = (HONEST if task.honest else FAULTS)[task.name]
        outcome = outcomes.get(task.name, "passed" if task.honest else "caught")
        return SuiteRow(
            task.name, entry.family, list(entry.mutants), ["fp32"], outcome, ["interval"], "test_x", 1
        )

    monkeypatch.setattr(suites, "run_suites", run)
    return asked


def test_suites_run_once_for_everything(monkeypatch, capsys):
    asked = fake_suites(monkeypatch, {})
    monkeypatch.setattr(thresholds, "MUTANTS", ("M01",))
    assert main(["bite", "--suites", "--jobs", "1"]) == int(bool(thresholds.EXCUSED))
    assert asked == [(name, False) for name in FAULTS] + [(name, True) for name in HONEST]
    assert f"suites: {len(FAULTS)} of {len(FAULTS)} faults caught" in capsys.readouterr().out


@pytest.mark.parametrize("outcome", ["survived", "broken"])
def test_a_survivor_fails(outcome, monkeypatch, capsys):
    fake_suites(monkeypatch, {"last_input_channel_dropped": outcome})
    assert main(["bite", "--suites", *ONE]) == 1
    assert "FAILED: the suites" in capsys.readouterr().out


def test_a_correct_kernel_may_be_asked_for_alone(monkeypatch, capsys):
    name = next(iter(HONEST))
    asked = fake_suites(monkeypatch, {})
    assert main(["bite", "--suites", "--fault", name]) == 0
    assert asked == [(name, True)]
    assert capsys.readouterr().out.strip() == "correct kernels: 1 of 1 pass the suites"
    fake_suites(monkeypatch, {name: "refused"})
    assert main(["bite", "--suites", "--fault", name]) == 1


def test_both_halves_are_the_default(monkeypatch, capsys):
    asked = fake_suites(monkeypatch, {})
    given = [word for word in TINY if word != "--pairs"]
    assert main([*given, *ONE]) == 0
    assert asked == [("last_input_channel_dropped", False)]
    out = capsys.readouterr().out
    assert "pair score" in out and "suites: 1 of 1 faults caught" in out


def test_jobs_default_to_the_cores(monkeypatch):
    seen = []
    monkeypatch.setattr(parallel, "count_cores", lambda: 3)
    monkeypatch.setattr(parallel, "run_all", lambda work, tasks, jobs, label, **_: seen.append(jobs) or [])
    main(["bite", "--pairs", *ONE])
    assert seen == [3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "last_input_chanel_dropped"], "near: last_input_channel_dropped"),
        (["--contracts", "fp64"], "no contract 'fp64'"),
        (["--rungs", "directly"], "no rung 'directly'"),
        (["--configuration", "fp16"], "write CONTRACT:SEED"),
    ],
)
def test_wrong_names_are_refused_in_words(arguments, words, capsys):
    assert main(["bite", "--pairs", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--configurations", "0"], ["--battery", "huge"], ["--honest", "none"], ["--jobs", "x"]]
)
def test_wrong_numbers_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bite", *arguments])
    assert caught.value.code == 2
    assert "usage: python -m pytest_trt bite" in capsys.readouterr().err
