"""`python -m pytest_trt claims`."""

from __future__ import annotations

import json

import pytest

from pytest_trt.cli import main
from pytest_trt.report.claims import Result, store


def keep(folder, name, outcome, words=""):
    result = Result(name, words=words)
    result.tests[outcome] = 1
    result.stand_in = False
    store({name: result}, folder, "TensorRT 11.4 on t4", "2026-01-01T00:00:00+00:00")


def test_the_table_has_a_row_for_each(tmp_path, capsys):
    keep(tmp_path, "faq-7", "passed")
    assert main(["claims", "--cache-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[1] TensorRT 11.4 on t4"
    assert sum(line.startswith(("faq-", "B")) and "  " in line for line in lines) == 18 + 58
    assert next(line for line in lines if line.startswith("faq-7 ")).endswith("holds")


def test_without_results_it_says_how_to_make_them(tmp_path, capsys):
    assert main(["claims", "--cache-dir", str(tmp_path)]) == 0
    assert "pytest suites -m 'faq or bug'" in capsys.readouterr().out


def test_all_about_one(tmp_path, capsys):
    keep(tmp_path, "B01", "failed", "it is back")
    assert main(["claims", "b1", "faq-07", "--cache-dir", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    for words in (
        "https://github.com/NVIDIA/TensorRT/issues/4606",
        "clip_upper_dropped",
        "present on TensorRT 11.4 on t4",
        "it is back",
        "pytest suites --trt-claim=B01",
        "faq-7: workspace limit",
    ):
        assert words in out


def test_json(tmp_path, capsys):
    keep(tmp_path, "B01", "passed")
    assert main(["claims", "B01", "--json", "--cache-dir", str(tmp_path)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "B01" and row["last"]["TensorRT 11.4 on t4"]["outcome"] == "fixed"


@pytest.mark.parametrize("bad", ["faq-19", "B77", "nothing"])
def test_what_is_unknown_is_refused(tmp_path, capsys, bad):
    assert main(["claims", bad, "--cache-dir", str(tmp_path)]) == 2
    assert "faq-1 to faq-18" in capsys.readouterr().err
